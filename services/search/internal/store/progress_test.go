package store

import (
	"fmt"
	"testing"
	"time"
)

func progressIsOfWhatIsBuilt(f fixture) {
	t, s := f.t, f.s
	want := func(want string) {
		t.Helper()
		p, err := s.Progress(t.Context())
		check(t, err)
		if got := fmt.Sprintf("%v %d/%d failed %d rate %g", p.Generations, p.Done, p.Total, p.Failed, p.Rate); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	want("map[] 0/0 failed 0 rate 0")
	c, other := newCollection(t, s, "c"), newCollection(t, s, "other")
	upsert(t, s, c, version("a", "x"), version("b", "y"), version("d", "z"))
	upsert(t, s, other, version("a", "x"))
	want("map[serving:2] 0/0 failed 0 rate 0")
	for _, of := range []Collection{c, other} {
		_, err := s.CreateEmbeddingGeneration(t.Context(), of, EmbeddingGeneration{EmbeddingModel: "m", Analyser: 1})
		check(t, err)
	}
	want("map[building:2 serving:2] 0/4 failed 0 rate 0")
	l := lease(t, s, c.At(2))
	next, err := s.Unembedded(t.Context(), c.At(2), 2, 1<<20)
	check(t, err)
	e := Embedded{Digest: "d2", Dimensions: 2, Through: next.Through, Rate: 1.5, Failed: map[int64]string{next.Documents[1].No: "no"}}
	e.Versions = []Version{{Document: next.Documents[0].Document, Chunks: []Chunk{{Vector: []float32{1, 2}}}}}
	check(t, s.Embed(t.Context(), l, e))
	want("map[building:2 serving:2] 1/4 failed 1 rate 1.5")
}

func lease(t *testing.T, s *Store, c Collection) Lease {
	t.Helper()
	l, err := s.Lease(t.Context(), c, "me", time.Minute)
	check(t, err)
	return l
}
