package lexical

import (
	"path/filepath"
	"testing"
)

// A large segment that is new has the lists of what was searched for before
// anybody searches it.
func TestLargeSegmentsArePrepared(t *testing.T) {
	x := open(t, filepath.Join(t.TempDir(), "x"))
	defer x.Close()
	put(t, x, "one word", "another")
	old, err := x.View()
	if err != nil {
		t.Fatal(err)
	}
	search(t, x, "word", Stats{Passages: 2, Terms: 3}, rowsByNo())
	large := make([]Entry, preparedSegment)
	for i := range large {
		large[i] = Entry{Key: Key{No: int64(100 + i)}, Text: "word other"}
	}
	if err := x.Write(large, nil); err != nil {
		t.Fatal(err)
	}
	v, err := x.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Prepare(rowsByNo()); err != nil {
		t.Fatal(err)
	}
	s := v.segments[0].segment
	if e := s.entries["word"]; e == nil || len(e.list.places) < preparedSegment || s.entries["other"] != nil {
		t.Errorf("there are the lists %v", s.entries)
	}
	if n := s.numbers.Load(); n == nil || len(n.rows) != len(s.lengths) {
		t.Error("its rows are not known")
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
}
