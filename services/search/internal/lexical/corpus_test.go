package lexical

import (
	"cmp"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/topk"
)

// corpus is what an index must hold, and what its searches must find.
type corpus struct {
	rng    *rand.Rand
	index  *Index
	next   int64
	having map[string]map[Key]int // how often passages have a word
	length map[Key]int            // of those that are there
	rows   map[Key]uint32
	keys   []Key // by row
	ids    []string
	layout *int
}

func newCorpus(t *testing.T, seed uint64, cache int64) *corpus {
	t.Helper()
	x, err := Open(filepath.Join(t.TempDir(), "x"), NewCache(cache))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return &corpus{
		rng: rand.New(rand.NewPCG(seed, 1)), index: x, layout: new(int),
		having: map[string]map[Key]int{}, length: map[Key]int{}, rows: map[Key]uint32{},
	}
}

// word returns one of few words, the first ones far more often.
func (c *corpus) word() string {
	n := 200
	for range 3 {
		n = 1 + c.rng.IntN(n)
	}
	return fmt.Sprint("w", n)
}

func (c *corpus) text() string {
	words := make([]string, 1+c.rng.IntN(12))
	switch c.rng.IntN(50) {
	case 0: // longer than usual
		words = make([]string, 600+c.rng.IntN(20))
	case 1: // one word more often than fits in a byte
		words = make([]string, 254+c.rng.IntN(60))
		w := c.word()
		for i := range words {
			words[i] = w
		}
		return strings.Join(words, " ")
	}
	for i := range words {
		words[i] = c.word()
	}
	return strings.Join(words, " ")
}

// change adds passages and removes some of those that are there.
func (c *corpus) change(t *testing.T, add, remove int) {
	t.Helper()
	var gone []Key
	for k := range c.length {
		if len(gone) == remove {
			break
		}
		gone = append(gone, k)
	}
	for _, k := range gone {
		delete(c.length, k)
		delete(c.rows, k)
		for _, having := range c.having {
			delete(having, k)
		}
	}
	var entries []Entry
	for range add {
		c.next++
		e := Entry{Key: Key{No: c.next, Chunk: uint32(c.rng.IntN(3))}, Text: c.text()}
		for _, term := range analysis.Analyze(e.Text) {
			if c.having[term] == nil {
				c.having[term] = map[Key]int{}
			}
			c.having[term][e.Key]++
			c.length[e.Key]++
		}
		c.rows[e.Key] = uint32(len(c.keys))
		c.keys = append(c.keys, e.Key)
		c.ids = append(c.ids, fmt.Sprintf("%03d-%d", c.rng.IntN(1000), c.next))
		entries = append(entries, e)
	}
	if err := c.index.Write(entries, gone); err != nil {
		t.Fatal(err)
	}
}

// renumber gives the passages other rows.
func (c *corpus) renumber() {
	keys, ids := c.keys, c.ids
	c.keys, c.ids, c.layout = nil, nil, new(int)
	for _, at := range c.rng.Perm(len(keys)) {
		if _, ok := c.length[keys[at]]; ok {
			c.rows[keys[at]] = uint32(len(c.keys))
			c.keys, c.ids = append(c.keys, keys[at]), append(c.ids, ids[at])
		}
	}
}

func (c *corpus) stats() (s Stats) {
	for _, n := range c.length {
		s.Passages++
		s.Terms += int64(n)
	}
	return s
}

func (c *corpus) query() []analysis.Term {
	terms := make([]analysis.Term, 1+c.rng.IntN(8))
	if c.rng.IntN(10) == 0 {
		terms = make([]analysis.Term, maxPartition+10)
	}
	for i := range terms {
		terms[i] = analysis.Term{Variants: []string{c.word()}, Count: 1 + c.rng.IntN(3)/2}
		if other := c.word(); c.rng.IntN(3) == 0 && other != terms[i].Variants[0] {
			terms[i].Variants = append(terms[i].Variants, other)
		}
	}
	return terms
}

// exhaustive scores every passage that is allowed by itself.
func (c *corpus) exhaustive(terms []analysis.Term, allowed func(uint32) bool, limit int) []topk.Item {
	stats := c.stats()
	var m model
	m.set(stats)
	scores := map[uint32]float64{}
	for _, t := range terms {
		found := uint64(0)
		for _, v := range t.Variants {
			found = max(found, uint64(len(c.having[v])))
		}
		weight := float64(t.Count) * stats.idf(found)
		for _, v := range t.Variants {
			for k, freq := range c.having[v] {
				if row := c.rows[k]; allowed(row) {
					scores[row] += part(weight, float64(freq), m.compute(kept(uint32(c.length[k]))))
				}
			}
		}
	}
	var out []topk.Item
	for row, s := range scores {
		out = append(out, topk.Item{Key: row, Score: s})
	}
	slices.SortFunc(out, func(a, b topk.Item) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(c.ids[a.Key], c.ids[b.Key]))
	})
	return out[:min(limit, len(out))]
}

// all lets every passage be found.
func (c *corpus) all() Rows {
	return Rows{
		Layout: c.layout,
		Row:    func(k Key) (uint32, bool) { row, ok := c.rows[k]; return row, ok },
		Order:  topk.ByID(func(row uint32) string { return c.ids[row] }),
	}
}

// check compares searches with what they must find, ties included.
func (c *corpus) check(t *testing.T, v *View, queries int) {
	t.Helper()
	stats := c.stats()
	for range queries {
		terms, limit := c.query(), 1+c.rng.IntN(30)
		seed, part := c.rng.Uint32(), []uint32{1, 2, 10, 50, 400}[c.rng.IntN(5)]
		allowed := func(row uint32) bool { return (row*2654435761^seed)%part == 0 }
		rows := c.all()
		if part > 1 {
			rows.Allowed = allowed
		}
		if part > 2 && c.rng.IntN(3) > 0 {
			rows.Few = few(len(c.keys), allowed)
		}
		want := c.exhaustive(terms, allowed, limit)
		got, err := v.Search(t.Context(), terms, stats, rows, limit)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v, one in %d, few %v, limit %d:\ngot  %v\nwant %v", terms, part, rows.Few != nil, limit, got, want)
		}
	}
}

func few(n int, allowed func(uint32) bool) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for row := range uint32(n) {
			if allowed(row) && !yield(row) {
				return
			}
		}
	}
}
