package store

import (
	"maps"
	"slices"
	"time"
)

// readableVersions is a test of the suite.
func readableVersions(f fixture) {
	t, s := f.t, f.s
	c, other := newCollection(t, s, "c"), newCollection(t, s, "other")
	open := upsert(t, s, c, version("open", "one"))
	hidden := upsert(t, s, c, version("hidden", "two", "group:board"))
	gone := upsert(t, s, c, version("gone", "three"))
	upsert(t, s, c, version("gone", "four"))
	elsewhere := upsert(t, s, other, version("a", "one"))
	past := version("ended", "five")
	past.ExpireTime = time.Unix(1, 0)
	ended := upsert(t, s, c, past)
	all := []int64{open, hidden, gone, elsewhere, ended, 1 << 40, -1}
	for who, want := range map[string]map[int64]bool{
		"tenant:acme": {open: true}, "group:board": {hidden: true}, "user:eve": {},
	} {
		if got, err := s.Readable(t.Context(), c, []string{who}, all); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", who, got, err, want)
		}
	}
	if got, err := s.Readable(t.Context(), c, nil, all); err != nil || len(got) != 0 {
		t.Errorf("nobody: %v, %v", got, err)
	}
	if got, err := s.Readable(t.Context(), c, []string{"tenant:acme"}, nil); err != nil || len(got) != 0 {
		t.Errorf("nothing: %v, %v", got, err)
	}
}

// vectorsOfChunks is a test of the suite.
func vectorsOfChunks(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	g := upsert(t, s, c, version("a", "one"))
	many := make([]Ref, 1001)
	for i := range 1000 {
		many[i] = Ref{g, i}
	}
	many[1000] = Ref{g + 1, 0}
	got, err := s.Vectors(t.Context(), c, many)
	if err != nil || len(got) != 1 || !slices.Equal(got[Ref{g, 0}], []float32{1, -2.5}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := s.Vectors(t.Context(), c, nil); err != nil || len(got) != 0 {
		t.Errorf("nothing: %v, %v", got, err)
	}
}
