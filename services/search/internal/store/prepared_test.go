package store

import (
	"fmt"
	"slices"
	"testing"
)

func TestListsArePadded(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 1, 2: 2, 3: 4, 5: 8, 8: 8, 1000: 1024} {
		values := make([]int, n)
		for i := range values {
			values[i] = i
		}
		got := padded(values, -1)
		if len(got) != want || n > 0 && slices.ContainsFunc(got[n:], func(v int) bool { return v != -1 }) {
			t.Errorf("%d values became %v", n, got)
		}
	}
}

// statementsAreFew holds that what searches ask is prepared once, whatever is
// asked for and when, and that more texts than are kept are answered all the same.
func statementsAreFew(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "few")
	for n := 1; n < 100; n++ {
		refs := make([]Ref, n)
		for i := range refs {
			refs[i] = Ref{No: int64(i)}
		}
		_, err := s.Passages(t.Context(), c, refs)
		check(t, err)
		_, err = s.Collection(t.Context(), c.Tenant, c.ID)
		check(t, err)
	}
	if n := len(s.often.known); n < 2 || n > 10 {
		t.Errorf("%d statements are kept", n)
	}
	for i := range 2 * maxPrepared {
		var got int
		check(t, s.often.QueryRowContext(t.Context(), fmt.Sprintf("SELECT %d", i)).Scan(&got))
		if got != i {
			t.Fatalf("%d is answered with %d", i, got)
		}
	}
	if len(s.often.known) > maxPrepared {
		t.Errorf("%d statements are kept", len(s.often.known))
	}
}
