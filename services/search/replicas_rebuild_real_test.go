//go:build real

package search_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// rebuildGoesOn kills the process that builds an embedding generation, while both
// are written to and read from.
func (r *replicas) rebuildGoesOn(l *ledger) {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.as)
	defer stop()
	var busy sync.WaitGroup
	for i, one := range r.both {
		busy.Go(func() { r.keepWriting(ctx, one, i, l) })
		busy.Go(func() { r.keepReading(ctx, one) })
	}
	_, err := r.both[0].client.CreateEmbeddingGeneration(r.as, &searchv1.CreateEmbeddingGenerationRequest{
		Collection: "c", Chunking: &searchv1.Chunking{MaxWords: 20},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	var builder, other *replica
	r.eventually("one builds", func() string {
		for i, one := range r.both {
			if one.built.Load() >= 20 {
				builder, other = one, r.both[1-i]
				return ""
			}
		}
		return "nobody does"
	})
	if g := other.generation(r.as); g.GetState() != "building" || other.built.Load() > 0 {
		r.t.Fatalf("both build, or it is done: %v", g)
	}
	r.killed.Store(builder)
	builder.process.Kill()
	r.eventually("the other goes on", func() string {
		if other.built.Load() == 0 {
			return "it does not"
		}
		return ""
	})
	builder.process = builder.start()
	r.killed.Store(nil)
	r.eventually("the new one serves", func() string {
		for _, one := range r.both {
			if g := one.generation(r.as); g.GetState() != "serving" {
				return g.String()
			}
		}
		return ""
	})
	<-time.After(time.Second) // written and read a little longer
	stop()
	busy.Wait()
	r.alike(l)
	r.eventually("what served before is gone", func() string { return r.leftOf(1) })
}

// keepWriting writes until ctx ends, also when the process dies meanwhile.
func (r *replicas) keepWriting(ctx context.Context, by *replica, writer int, l *ledger) {
	for round := 1; ctx.Err() == nil; round++ {
		id := fmt.Sprintf("w%dd%d", writer, round%20)
		l.note(id, round, false)
		resp, err := by.client.BatchUpsertDocuments(ctx, &searchv1.BatchUpsertDocumentsRequest{
			Collection: "c", Documents: []*searchv1.Document{doc(id, textOf(id, round))},
		})
		switch {
		case err == nil && resp.GetSucceeded() == 1:
			l.note(id, round, true)
		case ctx.Err() == nil && r.killed.Load() != by && err != nil:
			r.unless(by, "a write: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// keepReading looks for a document that stays as it is, which every search finds
// once, and times the searches.
func (r *replicas) keepReading(ctx context.Context, by *replica) {
	var longest time.Duration
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprint("import", n%40)
		words := strings.Fields(textOf(id, 1))
		began := time.Now()
		for _, mode := range []string{"lexical", "vector", "hybrid"} {
			resp, err := by.client.Search(ctx, &searchv1.SearchRequest{
				Collection: "c", Query: words[len(words)-1], Mode: mode, TopK: 100,
			})
			if err != nil {
				if ctx.Err() == nil {
					r.unless(by, "a search: %v", err)
				}
				continue
			}
			seen := make(map[string]int)
			for _, h := range resp.GetHits() {
				seen[h.GetDocumentId()]++
			}
			if seen[id] != 1 {
				r.t.Errorf("%s is found %d times by %s", id, seen[id], resp.GetMode())
			}
			for other, n := range seen {
				if n > 1 {
					r.t.Errorf("%s is found %d times by %s", other, n, resp.GetMode())
				}
			}
		}
		if took := time.Since(began); r.killed.Load() != by {
			longest = max(longest, took)
		}
	}
	r.t.Logf("the longest three searches took %v", longest)
}

// unless fails the test unless that process is being killed.
func (r *replicas) unless(by *replica, format string, args ...any) {
	select {
	case <-by.process.Done():
	default:
		if r.killed.Load() != by {
			r.t.Errorf(format, args...)
		}
	}
}

// leftOf tells what is left of an embedding generation, in the store and in the
// indexes.
func (r *replicas) leftOf(number int) string {
	for _, table := range []string{"search_chunks", "search_embedding_failures"} {
		if n := r.rows(fmt.Sprintf(`SELECT count(*) FROM %s WHERE embedding_generation = %d`, table, number))[0]; n > 0 {
			return fmt.Sprint(n, " rows of ", table)
		}
	}
	if left := r.rows(`SELECT number FROM search_embedding_generations`); !slices.Equal(left, []int64{2}) {
		return fmt.Sprint("the generations ", left)
	}
	for _, one := range r.both {
		if left := one.indexes(); len(left) != 1 {
			return fmt.Sprint("the indexes ", left)
		}
	}
	return ""
}

// indexes returns the names of the indexes that a process keeps.
func (r *replica) indexes() (out []string) {
	if r.cluster != "" {
		return aliases(r.t, r.cluster+"/_alias")
	}
	entries, err := os.ReadDir(filepath.Join(filepath.Dir(r.config), "index"))
	if err != nil {
		r.t.Error(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
