package follow

import (
	"errors"
	"fmt"
	"testing"
)

// What is read ahead is of the index as it will be; when the index does not get
// there, it is read again from where the index is.
func TestWhatWasReadAheadIsNotGivenToAnIndexThatIsElsewhere(t *testing.T) {
	f, x, s, c := setup(t)
	f.page = 20
	ic, err := f.Collection(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range f.page + 5 {
		ids = append(ids, fmt.Sprint("d", i))
	}
	g := write(t, s, c, ids...)
	next := &ahead{f: f, c: c}
	x.set(errors.New("disk full"))
	if _, err := f.step(t.Context(), ic, next, g); err == nil {
		t.Fatal("it was taken")
	}
	if next.begun == nil {
		t.Fatal("nothing is read ahead")
	}
	x.set(nil)
	x.colls["uid"].failed = false // it takes changes again, as an index may
	for ic.Sequence() < g {
		if _, err := f.step(t.Context(), ic, next, g); err != nil {
			t.Fatal(err)
		}
	}
	if held := len(x.colls["uid"].held); held != len(ids) || x.anew != 1 {
		t.Errorf("%d held, made anew %d times", held, x.anew)
	}
	if next.begun != nil {
		t.Error("more is read than there is to follow")
	}
}
