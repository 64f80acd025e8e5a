package embedded

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/index"
)

// worded gives a document's passages words: one that all have, one that its
// number tells, and one of the passage alone.
func worded(d index.Document) index.Document {
	for i := range d.Chunks {
		text := fmt.Sprintf("common seventh%d passage%dof%d", d.No%7, i, d.No)
		d.Chunks[i].Text, d.Chunks[i].Terms = text, analysis.Count(text)
	}
	return d
}

// changeWords is change for documents with words.
func (w *world) changeWords(rng *rand.Rand, share float64, add int) {
	w.t.Helper()
	var ch index.Changes
	for _, no := range slices.Sorted(maps.Keys(w.docs)) {
		if rng.Float64() < share {
			ch.Remove = append(ch.Remove, no)
			delete(w.docs, no)
		}
	}
	for range add {
		w.no++
		d := worded(numbered(w.model, w.no))
		w.docs[d.No] = d
		ch.Put = append(ch.Put, d)
	}
	w.no++
	ch.Through = w.no
	if err := w.c.Apply(w.t.Context(), ch); err != nil {
		w.t.Fatal(err)
	}
}

// wordsOf returns the chunks that a search for a text finds, sorted.
func (w *world) wordsOf(ctx context.Context, text, principal string) ([]string, error) {
	legs, err := w.c.Search(ctx, index.Query{Terms: analysis.Query(text), Principals: []string{principal}, Limit: 100_000})
	var out []string
	for _, h := range legs.Lexical {
		out = append(out, h.ChunkID)
	}
	slices.Sort(out)
	return out, err
}

func (w *world) checkWords() {
	w.t.Helper()
	for _, principal := range []string{"all", "tens", "hundreds"} {
		for _, word := range []string{"common", "seventh3"} {
			var want []string
			for _, d := range w.docs {
				if !slices.Contains(d.Principals, principal) || word == "seventh3" && d.No%7 != 3 {
					continue
				}
				for i := range d.Chunks {
					want = append(want, fmt.Sprintf("%s#%d", d.ID, i))
				}
			}
			slices.Sort(want)
			got, err := w.wordsOf(w.t.Context(), word, principal)
			if err != nil || !slices.Equal(got, want) {
				w.t.Fatalf("%s for %s: %d found, want %d (%v)", word, principal, len(got), len(want), err)
			}
		}
	}
}

// Merges of vectors give passages other rows while words are searched by them:
// each passage is found by its own words all the same, and both legs find what
// the truth has.
func TestWordsAreFoundWhileRowsMove(t *testing.T) {
	w := newWorld(t, withLimits(limits{seal: 2 << 10, merge: 16 << 10}))
	w.replace()
	rng := rand.New(rand.NewPCG(9, 9))
	w.changeWords(rng, 0, 150)
	stays := w.docs[slices.Min(slices.Collect(maps.Keys(w.docs)))] // never removed below
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var searching sync.WaitGroup
	for i, principal := range []string{"all", "tens"} {
		searching.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				word := fmt.Sprintf("passage%dof%d", i, stays.No)
				if principal == "all" {
					got, err := w.wordsOf(t.Context(), word, principal)
					if err != nil || len(got) != 1 || got[0] != fmt.Sprintf("%s#%d", stays.ID, i) {
						t.Errorf("%s: %v, %v", word, got, err)
						return
					}
				}
				seventh := n % 7
				legs, err := w.c.Search(t.Context(), index.Query{Terms: analysis.Query(fmt.Sprintf("seventh%d", seventh)), Principals: []string{principal}, Limit: 1000})
				for _, h := range legs.Lexical {
					if h.No%7 != int64(seventh) || principal == "tens" && h.No%10 != 0 || !strings.HasPrefix(h.ChunkID, fmt.Sprintf("d%06d#", h.No)) {
						t.Errorf("seventh%d for %s finds %+v", seventh, principal, h)
						return
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	moved := 0
	var last *layout
	for i := range 20 {
		delete(w.docs, stays.No) // so that it is not removed
		w.changeWords(rng, 0.25, 30)
		w.docs[stays.No] = stays
		if i%3 == 0 {
			w.settle()
		}
		w.check()
		w.checkWords()
		w.c.writing.Lock()
		if now := w.c.memory.layout; now != last {
			last, moved = now, moved+1
		}
		w.c.writing.Unlock()
	}
	cancel()
	searching.Wait()
	w.settle()
	w.check()
	w.checkWords()
	if moved < 10 {
		t.Errorf("rows moved %d times only", moved)
	}
}
