// Package indextest is the behaviour that every implementation of index.Index
// must show. Start reading at Run.
package indextest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/search/internal/index"
)

// Open opens the index that is kept in dir, which is the test's own. Opening
// it again after Close gives what a process finds after a restart.
type Open func(t *testing.T, dir string) index.Index

// Run runs every test of the contract.
func Run(t *testing.T, open Open) {
	t.Helper()
	for name, test := range map[string]func(*fixture){
		"both legs find what was put":                  findsWhatWasPut,
		"ties are ordered by chunk id":                 ordersTiesByChunkID,
		"what may not be read takes nobody's place":    accessIsPartOfTheQuery,
		"what does not pass the filter takes no place": filterIsPartOfTheQuery,
		"an update replaces every chunk":               updateReplacesEveryChunk,
		"a new access list holds at once":              newAccessListHolds,
		"a restart finds the same":                     restartFindsTheSame,
		"replace agrees with the truth":                replaceAgreesWithTheTruth,
		"many updates leave nothing behind":            manyUpdatesLeaveNothing,
		"a failed change is noticed":                   failedChangeIsNoticed,
		"a failed change is made again":                aFailedChangeIsMadeAgain,
		"what has ended takes no place":                whatHasEndedTakesNoPlace,
		"what is removed is in no leg":                 whatIsRemovedIsInNoLeg,
		"drop forgets":                                 dropForgets,
		"searches see whole changes":                   searchesSeeWholeChanges,
		"phrases are hard conditions":                  phrasesAreConditions,
		"facets count documents":                       facetsCountDocuments,
		"facets count what may be read":                facetsCountWhatMayBeRead,
		"values come back as they went in":             valuesComeBack,
		"orders hold over everything that matches":     ordersHold,
		"terms are near as the caller may read them":   termsAreNear,
		"moments and places are compared":              momentsAndPlaces,
		"scores are those of the metric":               scoresAreTheMetrics,
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			f := &fixture{t: t, dir: t.TempDir(), open: open}
			f.start()
			t.Cleanup(func() {
				if err := f.index.Close(); err != nil {
					t.Error(err)
				}
			})
			test(f)
		})
	}
}

// fixture is one index with one collection.
type fixture struct {
	t     *testing.T
	dir   string
	open  Open
	index index.Index
	c     index.Collection
}

func (f *fixture) start() {
	f.t.Helper()
	f.index = f.open(f.t, f.dir)
	var err error
	if f.c, err = f.index.Open(f.t.Context(), "books"); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) restart() {
	f.t.Helper()
	if err := f.index.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.start()
}

func (f *fixture) replace(through int64, docs ...doc) {
	f.t.Helper()
	if err := f.c.Replace(f.t.Context(), through, sequence(build(f.t, docs...))); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) apply(through int64, remove []int64, docs ...doc) {
	f.t.Helper()
	if err := f.c.Apply(f.t.Context(), index.Changes{Through: through, Remove: remove, Put: build(f.t, docs...)}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) search(q index.Query) index.Legs {
	f.t.Helper()
	legs, err := f.c.Search(f.t.Context(), q)
	if err != nil {
		f.t.Fatal(err)
	}
	return legs
}

func (f *fixture) want(q index.Query, lexical, vector string) {
	f.t.Helper()
	legs := f.search(q)
	if got := strings.Join(chunkIDs(legs.Lexical), " "); got != lexical {
		f.t.Errorf("lexical leg: got %q, want %q", got, lexical)
	}
	if got := strings.Join(chunkIDs(legs.Vector), " "); got != vector {
		f.t.Errorf("vector leg: got %q, want %q", got, vector)
	}
}

func findsWhatWasPut(f *fixture) {
	t := f.t
	f.replace(1)
	f.want(query("boundary layer", 10), "", "")
	f.apply(3, nil,
		doc{no: 2, id: "a", texts: []string{"the boundary layer of a wing", "heat of a cylinder"}},
		doc{no: 3, id: "b", texts: []string{"layer"}},
	)
	legs := f.search(query("boundary layer", 10))
	if got := chunkIDs(legs.Lexical); !slices.Equal(got, []string{"a#0", "b#0"}) {
		t.Errorf("lexical leg: %v", got)
	}
	if got := chunkIDs(legs.Vector); len(got) != 3 || got[2] != "a#1" {
		t.Errorf("vector leg: %v", got)
	}
	if legs.Sequence != 3 || f.c.Sequence() != 3 {
		t.Errorf("generation %d, %d", legs.Sequence, f.c.Sequence())
	}
	if h := legs.Lexical[0]; h.No != 2 || h.Chunk != 0 || h.Score <= legs.Lexical[1].Score {
		t.Errorf("first hit %+v", h)
	}
	words := query("boundary", 1)
	words.Vector = nil
	f.want(words, "a#0", "")
	meaning := query("cylinder heat", 1)
	meaning.Terms = nil
	f.want(meaning, "", "a#1")
}

func ordersTiesByChunkID(f *fixture) {
	f.replace(1)
	var docs []doc
	for i := range 30 {
		docs = append(docs, doc{no: int64(i + 2), id: fmt.Sprintf("d%02d", 29-i), texts: []string{"same words"}})
	}
	f.apply(31, nil, docs...)
	f.want(query("same words", 3), "d00#0 d01#0 d02#0", "d00#0 d01#0 d02#0")
}

func accessIsPartOfTheQuery(f *fixture) {
	t := f.t
	docs := []doc{{no: 1, id: "nobody", texts: []string{"secret plan"}, principals: []string{}}}
	for i := range 300 {
		d := doc{no: int64(i + 2), id: fmt.Sprintf("d%03d", i), texts: []string{"secret plan"}, principals: []string{"group:board"}}
		if i%10 == 9 { // fewer and worse matches
			d.texts = []string{"plan of the garden with many other words in it"}
			d.principals = []string{"group:garden", "user:zoe"}
		}
		docs = append(docs, d)
	}
	f.replace(400, docs...)
	for _, tc := range []struct {
		principals []string
		count      int
		readable   func(i int) bool
	}{
		{[]string{"user:zoe"}, 20, func(i int) bool { return i%10 == 9 }},
		{[]string{"group:garden", "group:other"}, 20, func(i int) bool { return i%10 == 9 }},
		{[]string{"group:board"}, 20, func(i int) bool { return i%10 != 9 }},
		{[]string{"group:boar", "group:board2", ""}, 0, nil},
		{nil, 0, nil},
	} {
		q := query("secret plan", 20)
		q.Principals = tc.principals
		legs := f.search(q)
		for leg, hits := range map[string][]index.Hit{"lexical": legs.Lexical, "vector": legs.Vector} {
			if len(hits) != tc.count {
				t.Errorf("%v: %s leg has %d hits, want %d", tc.principals, leg, len(hits), tc.count)
			}
			for _, h := range hits {
				if h.No == 1 || !tc.readable(int(h.No-2)) {
					t.Errorf("%v: %s leg finds %s", tc.principals, leg, h.ChunkID)
				}
			}
		}
	}
}

func filterIsPartOfTheQuery(f *fixture) {
	t := f.t
	var docs []doc
	for i := range 300 {
		docs = append(docs, doc{
			no: int64(i + 1), id: fmt.Sprintf("d%03d", i), texts: []string{"flow"},
			metadata: map[string]any{"year": float64(1900 + i), "tags": []any{fmt.Sprint("t", i%3)}},
		})
	}
	docs[299].principals = []string{"user:other"}
	f.replace(300, docs...)
	q := query("flow", 5)
	q.Filter = mustParse(t, `year >= 2190 AND tags:t2`)
	f.want(q, "d290#0 d293#0 d296#0", "d290#0 d293#0 d296#0")
	q.Filter = mustParse(t, `year = 1`)
	f.want(q, "", "")
}

func updateReplacesEveryChunk(f *fixture) {
	f.replace(1)
	f.apply(2, nil, doc{no: 2, id: "a", texts: []string{"old one", "old two", "old three"}})
	f.apply(3, []int64{2}, doc{no: 3, id: "a", texts: []string{"fresh one"}})
	f.want(query("old", 10), "", "a#0")
	f.want(query("fresh", 10), "a#0", "a#0")
	f.apply(4, []int64{3, 77})
	f.want(query("fresh one old", 10), "", "")
}

func newAccessListHolds(f *fixture) {
	f.replace(1)
	f.apply(2, nil, doc{no: 2, id: "a", texts: []string{"plan"}})
	f.want(query("plan", 10), "a#0", "a#0")
	f.apply(3, []int64{2}, doc{no: 3, id: "a", texts: []string{"plan"}, principals: []string{"user:x"}})
	f.want(query("plan", 10), "", "")
}

func restartFindsTheSame(f *fixture) {
	t := f.t
	docs := []doc{
		{no: 1, id: "a", texts: []string{"alpha beta", "beta gamma"}},
		{no: 2, id: "b", texts: []string{"gamma gamma delta"}},
		{no: 5, id: "c", texts: []string{"alpha delta delta"}, metadata: map[string]any{"n": 1.0}},
	}
	f.replace(1)
	f.apply(5, nil, docs...)
	before := f.search(query("alpha gamma", 10))
	f.restart()
	if f.c.Sequence() == 0 {
		f.replace(5, docs...)
	}
	after := f.search(query("alpha gamma", 10))
	after.LexicalTook, after.VectorTook = before.LexicalTook, before.VectorTook
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("before %v\nafter %v", before, after)
	}
}

func replaceAgreesWithTheTruth(f *fixture) {
	f.replace(1)
	f.apply(3, nil, doc{no: 2, id: "gone", texts: []string{"ghost"}}, doc{no: 3, id: "kept", texts: []string{"body"}})
	f.restart()
	f.replace(9, doc{no: 3, id: "kept", texts: []string{"body"}}, doc{no: 9, id: "new", texts: []string{"spirit"}})
	f.want(query("ghost body spirit", 10), "kept#0 new#0", "kept#0 new#0")
}

func manyUpdatesLeaveNothing(f *fixture) {
	f.replace(1)
	no := int64(1)
	var last int64
	for round := range 30 {
		var docs []doc
		var remove []int64
		for i := range 400 {
			no++
			if round > 0 {
				remove = append(remove, no-400)
			}
			docs = append(docs, doc{no: no, id: fmt.Sprintf("d%03d", i), texts: []string{fmt.Sprintf("round%d item%d", round, i)}})
		}
		last = no
		f.apply(last, remove, docs...)
	}
	f.want(query("round29 item7", 1), "d007#0", "d007#0")
	for round := range 29 {
		q := query(fmt.Sprintf("round%d", round), 10)
		q.Vector = nil
		f.want(q, "", "")
	}
}

func failedChangeIsNoticed(f *fixture) {
	t := f.t
	f.replace(1, doc{no: 1, id: "old", texts: []string{"x"}})
	wrong := build(t, doc{no: 2, id: "a", texts: []string{"x"}}, doc{no: 3, id: "b", texts: []string{"y"}})
	wrong[1].Chunks[0].Vector = []float32{1, 2}
	if err := f.c.Apply(t.Context(), index.Changes{Through: 3, Put: wrong, Remove: []int64{1}}); err == nil {
		t.Fatal("vectors of two widths are accepted")
	}
	// Nothing of the change is seen: what there was is, unless it must be made anew.
	if s := f.c.Sequence(); s == 1 {
		f.want(query("x", 10), "old#0", "old#0")
	} else if s != 0 {
		t.Errorf("generation %d", s)
	}
	before := f.c.Sequence()
	broken := errors.New("the store went away")
	err := f.c.Replace(t.Context(), 4, func(yield func(index.Document, error) bool) { yield(index.Document{}, broken) })
	if !errors.Is(err, broken) || f.c.Sequence() != before {
		t.Errorf("got %v, generation %d", err, f.c.Sequence())
	}
	f.replace(5, doc{no: 2, id: "a", texts: []string{"x"}})
	f.want(query("x", 10), "a#0", "a#0")
	q := query("x", 10)
	q.Vector = []float32{1}
	if _, err := f.c.Search(t.Context(), q); err == nil {
		t.Error("a query of another width is answered")
	}
}

// aFailedChangeIsMadeAgain holds that what a change has left in part is neither
// seen nor in the way of the next.
func aFailedChangeIsMadeAgain(f *fixture) {
	t := f.t
	f.replace(1, doc{no: 1, id: "old", texts: []string{"word"}})
	wrong := build(t, doc{no: 2, id: "never", texts: []string{"word ghost"}}, doc{no: 3, id: "b", texts: []string{"word"}})
	wrong[1].Chunks[0].Vector = []float32{1, 2}
	if err := f.c.Apply(t.Context(), index.Changes{Through: 3, Put: wrong}); err == nil {
		t.Fatal("vectors of two widths are accepted")
	}
	// Version 2 was removed meanwhile: what is put of it must not come up.
	next := index.Changes{Through: 5, Put: build(t, doc{no: 3, id: "b", texts: []string{"word"}}), Remove: []int64{2}}
	err := f.c.Apply(t.Context(), next)
	if errors.Is(err, index.ErrReplace) {
		f.replace(5, doc{no: 1, id: "old", texts: []string{"word"}}, doc{no: 3, id: "b", texts: []string{"word"}})
	} else if err != nil {
		t.Fatal(err)
	}
	if f.c.Sequence() != 5 {
		t.Errorf("generation %d", f.c.Sequence())
	}
	q := query("ghost", 10)
	q.Vector = nil
	f.want(q, "", "")
	f.want(query("word", 10), "b#0 old#0", "b#0 old#0")
	if err := f.c.Apply(t.Context(), next); err != nil { // its answer may have been lost
		t.Errorf("a change that was made already: %v", err)
	}
	f.want(query("word", 10), "b#0 old#0", "b#0 old#0")
}

func dropForgets(f *fixture) {
	t := f.t
	f.replace(2, doc{no: 1, id: "a", texts: []string{"word"}})
	if names, err := f.index.Names(t.Context()); err != nil || !slices.Equal(names, []string{"books"}) {
		t.Errorf("names %v, %v", names, err)
	}
	if err := f.index.Drop(t.Context(), "books"); err != nil {
		t.Fatal(err)
	}
	if err := f.index.Drop(t.Context(), "books"); err != nil {
		t.Errorf("dropping twice: %v", err)
	}
	if names, err := f.index.Names(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("names %v, %v", names, err)
	}
	if _, err := f.c.Search(t.Context(), query("word", 1)); err == nil {
		t.Error("a dropped collection answers")
	}
	c, err := f.index.Open(t.Context(), "books")
	if err != nil || c.Sequence() != 0 {
		t.Fatalf("generation %d, %v", c.Sequence(), err)
	}
	f.c = c
	f.replace(1)
	f.want(query("word", 10), "", "")
}
