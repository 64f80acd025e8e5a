package backlog_test

import (
	"slices"
	"testing"

	"github.com/poterne/poterne/services/edge/internal/backlog"
)

func TestValuesComeOutInTheirOrder(t *testing.T) {
	var q backlog.Queue[int]
	next, want := 0, 0
	add := func(n int) {
		for range n {
			if got := *q.Append(&next); got != next {
				t.Fatalf("%d, not %d", got, next)
			}
			next++
		}
	}
	for round := range 50 {
		add(round % 7 * 10)
		first := q.First(20)
		seen := slices.Clone(first)
		add(round * 40) // the list grows while somebody reads
		if !slices.Equal(first, seen) {
			t.Fatal("what was read has changed")
		}
		q.Remove(len(first))
		for _, v := range seen {
			if v != want {
				t.Fatalf("%d, not %d", v, want)
			}
			want++
		}
		if q.Len() != next-want {
			t.Fatalf("%d are left, not %d", q.Len(), next-want)
		}
	}
	if rest := q.First(q.Len()); len(rest) != next-want || rest[0] != want || rest[len(rest)-1] != next-1 {
		t.Error("the rest is not what is left")
	}
}

// What was removed is not held, and what comes and goes allocates nothing.
func TestNothingIsHeld(t *testing.T) {
	var q backlog.Queue[*int]
	v := new(int)
	add := func(n int) {
		for range n {
			q.Append(&v)
		}
	}
	add(100)
	first := q.First(60)
	q.Remove(60)
	for _, p := range first {
		if p != nil {
			t.Fatal("a value is held that was removed")
		}
	}
	if allocs := testing.AllocsPerRun(100, func() { add(60); q.Remove(60) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	add(100_000)
	long := q.First(1)
	q.Remove(q.Len())
	if add(1); &q.First(1)[0] == &long[0] {
		t.Error("a long list is kept")
	}
	q.Remove(1)
	if add(1); &q.First(1)[0] == &long[0] {
		t.Error("a long list is kept as the spare one")
	}
}
