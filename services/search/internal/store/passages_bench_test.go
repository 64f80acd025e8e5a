package store

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
)

// BenchmarkPassages reads the passages of an answer from SQLite.
func BenchmarkPassages(b *testing.B) {
	db, err := sqldb.Open(b.Context(), sqldb.DefaultConfig("sqlite://"+filepath.Join(b.TempDir(), "truth.db")))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	s, err := New(b.Context(), db, clock.Real(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	c, err := s.CreateCollection(b.Context(), Collection{Tenant: "acme", ID: "c", UID: "uid", EmbeddingModel: "m", Analyser: 1}, 10)
	if err != nil {
		b.Fatal(err)
	}
	const batches, batch, width = 40, 500, 384
	var nos []int64
	for i := range batches {
		w := Write{By: Rights{All: true}, Digest: "d", Dimensions: width, MaxChunks: 1 << 30}
		for j := range batch {
			v := Version{
				Document:   Document{ID: fmt.Sprintf("doc-%d-%d", i, j), Title: "T", Text: strings.Repeat("some words ", 50), Metadata: []byte(`{"a":1}`), ContentHash: "h", TextHash: "t"},
				Principals: []string{"tenant:acme"},
				Chunks:     []Chunk{{Text: strings.Repeat("some words ", 50), Terms: 100, Vector: make([]float32, width)}},
			}
			for k := range v.Chunks[0].Vector {
				v.Chunks[0].Vector[k] = rand.Float32()
			}
			w.Documents = append(w.Documents, v)
		}
		_, g, err := s.Upsert(b.Context(), c, w)
		if err != nil {
			b.Fatal(err)
		}
		ch, err := s.Changes(b.Context(), c, g-batch, batch)
		if err != nil {
			b.Fatal(err)
		}
		for _, v := range ch.Versions {
			nos = append(nos, v.No)
		}
	}
	c, err = s.Collection(b.Context(), c.Tenant, c.ID)
	if err != nil {
		b.Fatal(err)
	}
	for _, hits := range []int{10, 100} {
		b.Run(fmt.Sprintf("%d hits", hits), func(b *testing.B) {
			for b.Loop() {
				refs := make([]Ref, hits)
				for i := range refs {
					refs[i] = Ref{No: nos[rand.IntN(len(nos))]}
				}
				out, err := s.Passages(b.Context(), c, refs)
				if err != nil || len(out) < hits-5 {
					b.Fatal(len(out), err)
				}
			}
		})
	}
}
