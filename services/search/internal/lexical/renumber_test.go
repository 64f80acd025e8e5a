package lexical

import (
	"path/filepath"
	"testing"

	"github.com/poterne/poterne/services/search/internal/analysis"
)

// Rows that have got other numbers are known without being looked up, from the
// moment on that they count and not before; those that are gone are not found.
func TestRenumberedRowsAreNotLookedUp(t *testing.T) {
	x := open(t, filepath.Join(t.TempDir(), "x"))
	defer x.Close()
	put(t, x, "word", "word", "word")
	v, err := x.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	before, after := new(int), new(int)
	old := rowsByNo()
	old.Layout = before
	if err := v.Prepare(old); err != nil {
		t.Fatal(err)
	}
	found := func(rows Rows) map[uint32]bool {
		got, err := v.Search(t.Context(), analysis.Query("word"), Stats{Passages: 3, Terms: 3}, rows, 10)
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[uint32]bool)
		for _, it := range got {
			out[it.Key] = true
		}
		return out
	}
	done := v.Renumber(before, after, func(row uint32) (uint32, bool) { return row + 10, row != 2 })
	old.Row = func(k Key) (uint32, bool) { t.Errorf("%v is looked up", k); return 0, false }
	if got := found(old); len(got) != 3 || !got[1] || !got[2] || !got[3] {
		t.Errorf("before: %v", got)
	}
	done()
	moved := old
	moved.Layout = after
	if got := found(moved); len(got) != 2 || !got[11] || !got[13] {
		t.Errorf("afterwards: %v", got)
	}
}
