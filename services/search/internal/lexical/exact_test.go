package lexical

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/topk"
)

// Searches leave out what cannot be among the best; what they find, its scores
// and its order are those of scoring everything: while passages come and go,
// segments are merged, and lists are given up because the cache is small.
func TestSearchesFindWhatScoringEverythingFinds(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cache int64
	}{{"room", DefaultCacheBytes}, {"little room", 1 << 14}} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCorpus(t, uint64(tc.cache), tc.cache)
			var old *View
			for round := range 8 {
				add, remove := 1+c.rng.IntN(200), c.rng.IntN(100)
				if round == 4 {
					add, remove = 900, 20
				}
				c.change(t, add, remove)
				v, err := c.index.View()
				if err != nil {
					t.Fatal(err)
				}
				if old != nil { // what the new view shares with it is kept
					if err := old.Close(); err != nil {
						t.Fatal(err)
					}
				}
				old = v
				c.check(t, v, 6)
				if round%3 == 2 {
					c.renumber()
				}
				if err := v.Prepare(c.all()); err != nil {
					t.Fatal(err)
				}
				c.check(t, v, 6)
				if got := c.index.cache.size; got > tc.cache {
					t.Errorf("the cache has %d bytes, of %d", got, tc.cache)
				}
			}
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			if n, m := len(c.index.segments), c.index.cache.size; n != 0 || m != 0 {
				t.Errorf("%d segments and %d bytes are kept without a view", n, m)
			}
		})
	}
}

// Passages that score alike are found in the order of ids, however many there
// are and wherever they lie.
func TestTiesOfMany(t *testing.T) {
	c := newCorpus(t, 3, DefaultCacheBytes)
	x := c.index
	const passages = 5 * blockDocs
	entries := make([]Entry, passages)
	ids := c.rng.Perm(passages)
	for i := range entries {
		entries[i] = Entry{Key: Key{No: int64(i)}, Text: "two words"}
	}
	if err := x.Write(entries, nil); err != nil {
		t.Fatal(err)
	}
	rows := Rows{
		Layout: 1,
		Row:    func(k Key) (uint32, bool) { return uint32(k.No), true },
		Order:  func(a, b uint32) int { return cmp.Compare(ids[a], ids[b]) },
	}
	for _, query := range []string{"two", "two words"} {
		for i, it := range search(t, x, query, Stats{Passages: passages, Terms: 2 * passages}, rows) {
			if ids[it.Key] != i {
				t.Errorf("%q: the hit %d is %d", query, i, ids[it.Key])
			}
		}
	}
}

// Searches side by side share lists that are read and given up meanwhile.
func TestSearchesSideBySide(t *testing.T) {
	c := newCorpus(t, 7, 1<<14)
	c.change(t, 400, 0)
	c.change(t, 400, 50)
	v, err := c.index.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	rows, stats := c.all(), c.stats()
	var wg sync.WaitGroup
	for range 3 {
		queries := [][]analysis.Term{c.query(), c.query(), c.query()}
		var want [][]topk.Item
		for _, q := range queries {
			want = append(want, c.exhaustive(q, func(uint32) bool { return true }, 10))
		}
		wg.Go(func() {
			for i := range 30 {
				got, err := v.Search(t.Context(), queries[i%3], stats, rows, 10)
				if err != nil || !slices.Equal(got, want[i%3]) {
					t.Errorf("%v: got %v, %v, want %v", queries[i%3], got, err, want[i%3])
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestSearchesThatAreCalledOffEnd(t *testing.T) {
	c := newCorpus(t, 1, DefaultCacheBytes)
	c.change(t, 500, 0)
	v, err := c.index.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = v.Search(ctx, c.query(), c.stats(), Rows{Order: cmp.Compare[uint32]}, 10)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
