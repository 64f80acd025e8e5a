package schedule_test

import (
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

// What runs on spare places has none where others could want it, waits for none,
// and gives its own up to the first who has to wait.
func TestSpare(t *testing.T) {
	bubble(t, 1, 4, func(s *stage) {
		t := s.t
		yields := 0
		spare := func() *schedule.Request {
			req := s.request("shadow")
			req.Class, req.Spare, req.Yield = fair.Batch, true, func() { yields++ }
			return req
		}
		busy := s.fill(1)
		one := s.place(spare())
		if one == nil {
			t.Fatal("no place although three of four slots are free")
		}
		if g, err := s.sched.Place(t.Context(), spare(), nil); g != nil || apierr.ReasonOf(err) != apierr.Overloaded {
			t.Fatalf("the second half is given away: %v, %v", g, err)
		}
		if len(s.refused) != 0 || s.sched.Queued(fair.Batch) != 0 {
			t.Errorf("it waits, or counts as refused: %v", s.refused)
		}
		more := s.fill(3) // the rest, and the one at hand
		if yields != 0 {
			t.Fatal("it gave up its place while nobody waited")
		}
		ch := s.waiting(t.Context(), s.request("a"))
		if yields != 1 {
			t.Fatalf("%d gave up their places when somebody had to wait", yields)
		}
		one.End(schedule.Result{Cancelled: true})
		got := <-ch
		if got.err != nil || got.grant == nil {
			t.Fatalf("who waited got %v", got)
		}
		again := s.waiting(t.Context(), s.request("a"))
		if yields != 1 {
			t.Error("one that has ended was asked again")
		}
		if g, err := s.sched.Place(t.Context(), spare(), nil); g != nil || err == nil {
			t.Error("it got a place while others wait")
		}
		for _, g := range append(append(busy, more...), got.grant) {
			served(g, 1, 0, 1)
		}
		served((<-again).grant, 1, 0, 1)
	})
}
