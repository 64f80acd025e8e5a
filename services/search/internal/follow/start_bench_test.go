package follow_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/vectortest"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/index/embedded"
	"github.com/poterne/poterne/services/search/internal/store"
)

// BenchmarkStart reports how long a start takes, by the clock and in processor
// time, of a collection of a hundred thousand passages: one that finds its
// files, and one whose vectors were removed, so that they come from the truth.
func BenchmarkStart(b *testing.B) {
	const documents, batch = 100_000, 500
	dir := b.TempDir()
	log := slog.New(slog.DiscardHandler)
	db, err := sqldb.Open(b.Context(), sqldb.DefaultConfig("sqlite://"+filepath.Join(dir, "truth.db")))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s, err := store.New(b.Context(), db, clock.Real(), log)
	if err != nil {
		b.Fatal(err)
	}
	c, err := s.CreateCollection(b.Context(), store.Collection{Tenant: "acme", ID: "c", UID: "uid", EmbeddingModel: "m"}, 1)
	if err != nil {
		b.Fatal(err)
	}
	model := vectortest.New(rand.New(rand.NewPCG(1, 1)), 384)
	text := strings.Repeat("some words of a passage ", 40)
	for at := 0; at < documents; at += batch {
		w := store.Write{By: store.Rights{All: true}, Digest: "d", Dimensions: 384}
		for i := range batch {
			w.Documents = append(w.Documents, store.Version{
				Document:   store.Document{ID: fmt.Sprint("d", at+i), Text: text, Metadata: []byte(`{"year":2020}`)},
				Principals: []string{"tenant:acme"},
				Chunks:     []store.Chunk{{End: len(text), Terms: 200, Text: text, Vector: model.Next()}},
			})
		}
		if _, _, err := s.Upsert(b.Context(), c, w); err != nil {
			b.Fatal(err)
		}
	}
	start := func(name string) {
		x, err := embedded.New(filepath.Join(dir, "index"))
		if err != nil {
			b.Fatal(err)
		}
		f := follow.New(follow.Options{Store: s, Index: x, Clock: clock.Real(), Logger: log, Poll: time.Hour})
		began, used := time.Now(), processorTime(b)
		if _, err := f.Collection(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		b.Logf("%s: %v, %v of a processor", name, time.Since(began).Round(time.Millisecond), (processorTime(b) - used).Round(time.Millisecond))
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
	start("the first")
	for b.Loop() {
		start("finds its files")
		if err := os.RemoveAll(filepath.Join(dir, "index", "uid", "vectors")); err != nil {
			b.Fatal(err)
		}
		start("reads vectors from the truth")
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
