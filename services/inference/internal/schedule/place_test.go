package schedule_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

// fill takes every place: with one slot a copy takes two requests, so that the
// engine has the next one at hand.
func (s *stage) fill(n int) []*schedule.Grant {
	var out []*schedule.Grant
	for range n {
		out = append(out, s.place(s.request("filler")))
	}
	return out
}

func TestWhatFindsNoRoomWaitsForItsTurn(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		t := s.t
		running := s.fill(2)
		a1 := s.waiting(t.Context(), s.request("a"))
		a2 := s.waiting(t.Context(), s.request("a"))
		b1 := s.waiting(t.Context(), s.request("b"))
		if n := s.sched.Queued(fair.Standard); n != 3 {
			t.Fatalf("%d wait", n)
		}
		order := ""
		next := func(g *schedule.Grant) *schedule.Grant {
			served(g, 10, 0, 10)
			synctest.Wait()
			for name, ch := range map[string]<-chan outcome{"a1 ": a1, "a2 ": a2, "b1 ": b1} {
				select {
				case o := <-ch:
					order += name
					if o.err != nil {
						t.Fatal(o.err)
					}
					return o.grant
				default:
				}
			}
			return nil
		}
		g := next(running[0])
		g = next(g)
		g = next(g)
		if order != "a1 b1 a2 " {
			t.Errorf("served %s", order)
		}
		served(g, 1, 0, 1)
		served(running[1], 1, 0, 1)
		s.idle()
	})
}

func TestClassesComeInOrder(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		running := s.fill(2)
		of := func(c fair.Class) <-chan outcome {
			r := s.request("t")
			r.Class = c
			return s.waiting(s.t.Context(), r)
		}
		batch, standard, interactive := of(fair.Batch), of(fair.Standard), of(fair.Interactive)
		for i, ch := range []<-chan outcome{interactive, standard} {
			served(running[0], 1, 0, 1)
			running[0] = nil
			synctest.Wait()
			select {
			case o := <-ch:
				running[0] = o.grant
			default:
				s.t.Fatalf("turn %d went to another class", i)
			}
		}
		// Batch does not take what is left beside a request that was just here.
		served(running[0], 1, 0, 1)
		synctest.Wait()
		if s.sched.Queued(fair.Batch) != 1 {
			s.t.Fatal("a batch request took the last place beside another")
		}
		served(running[1], 1, 0, 1)
		served((<-batch).grant, 1, 0, 1)
		s.idle()
	})
}

func TestAWaitThatIsGivenUpLeavesNothing(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		running := s.fill(2)
		ctx, cancel := context.WithCancel(s.t.Context())
		ch := s.waiting(ctx, s.request("a"))
		cancel()
		if o := <-ch; o.grant != nil || o.err != context.Canceled { //nolint:errorlint // the cause itself
			s.t.Errorf("%v, %v", o.grant, o.err)
		}
		for _, g := range running {
			served(g, 1, 0, 1)
			served(g, 1, 0, 1) // a second end counts for nothing
		}
		s.idle()
	})
}

func TestRefusedAtOnceWhenTooLate(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		t := s.t
		// A request takes four seconds.
		g := s.place(s.request("a"))
		pass(4 * time.Second)
		served(g, 10, 0, 10)
		running := s.fill(2)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := s.sched.Place(ctx, s.request("a"), nil)
		e := apierr.From(err)
		if e.Reason != apierr.Overloaded || time.Since(start) != 0 {
			t.Errorf("it cannot be served in time: %v after %v", err, time.Since(start))
		}
		// Two ahead... one waits for one of two: 4 s / 2 = 2 s, and 1 s is left of
		// the deadline beside its own 4 s.
		if e.RetryAfter != time.Second {
			t.Errorf("retry after %v", e.RetryAfter)
		}
		if s.refused[schedule.RefusedLate] != 1 {
			t.Errorf("refused: %v", s.refused)
		}
		for _, g := range running {
			served(g, 1, 0, 1)
		}
		s.idle()
	})
}

func TestWaitsNoLongerThanItsClass(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		running := s.fill(2)
		start := time.Now()
		_, err := s.sched.Place(s.t.Context(), s.request("a"), nil)
		if e := apierr.From(err); e.Reason != apierr.Overloaded || e.RetryAfter <= 0 || time.Since(start) != time.Minute {
			s.t.Errorf("%v after %v", err, time.Since(start))
		}
		for _, g := range running {
			served(g, 1, 0, 1)
		}
		s.idle()
	})
}

func TestAFloodDoesNotLockOthersOut(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		running := s.fill(2)
		var flood []<-chan outcome
		for range 100 {
			flood = append(flood, s.waiting(s.t.Context(), s.request("flood")))
		}
		if _, err := s.sched.Place(s.t.Context(), s.request("flood"), nil); apierr.ReasonOf(err) != apierr.Overloaded {
			s.t.Errorf("one too many: %v", err)
		}
		other := s.waiting(s.t.Context(), s.request("other"))
		if o := <-flood[99]; apierr.ReasonOf(o.err) != apierr.Overloaded {
			s.t.Errorf("the flood's last one: %v", o.err)
		}
		if s.refused[schedule.RefusedFull] != 1 || s.refused[schedule.RefusedDisplaced] != 1 {
			s.t.Errorf("refused: %v", s.refused)
		}
		served(running[0], 1, 0, 1)
		served(running[1], 1, 0, 1)
		first := (<-flood[0]).grant
		if o := <-other; o.err != nil {
			s.t.Error(o.err)
		} else {
			served(o.grant, 1, 0, 1)
		}
		served(first, 1, 0, 1)
		for _, ch := range flood[1:99] {
			served((<-ch).grant, 1, 0, 1)
		}
		s.idle()
	})
}

func TestLoadOfOtherReplicasCounts(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		s.workers[0].Report(s.digest, 1, 1, 1) // another replica's two
		synctest.Wait()
		ch := s.waiting(s.t.Context(), s.request("a"))
		if s.sched.Queued(fair.Standard) != 1 {
			s.t.Fatal("the copy was overfilled")
		}
		s.workers[0].Report(s.digest, 1, 1, 0)
		served((<-ch).grant, 1, 0, 1) // nothing ended here: the watch saw it
		s.workers[0].Report(s.digest, 1, 0, 0)
		synctest.Wait()
		s.idle()
	})
}

func TestWhenTheCopiesVanish(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		running := s.fill(2)
		ch := s.waiting(s.t.Context(), s.request("a"))
		s.workers[0].Set(s.digest, workerv1.ModelState_MODEL_STATE_FAILED)
		if o := <-ch; o.grant != nil || o.err != nil {
			s.t.Errorf("%v, %v", o.grant, o.err)
		}
		if g, err := s.sched.Place(s.t.Context(), s.request("a"), nil); g != nil || err != nil {
			s.t.Errorf("%v, %v", g, err)
		}
		for _, g := range running {
			g.End(schedule.Result{})
		}
		s.workers[0].Set(s.digest, ready)
		synctest.Wait()
		s.idle()
	})
}

func TestAnotherTryWaitsForNobody(t *testing.T) {
	bubble(t, 2, 1, func(s *stage) {
		running := s.fill(4)
		tried := []*fleet.Copy{running[0].Copy()}
		g, err := s.sched.Place(s.t.Context(), s.request("a"), tried)
		if err != nil || g == nil || g.Copy() == tried[0] {
			s.t.Fatalf("%v, %v", g, err)
		}
		tried = append(tried, g.Copy())
		if g, err := s.sched.Place(s.t.Context(), s.request("a"), tried); g != nil || err != nil {
			s.t.Errorf("all were tried: %v, %v", g, err)
		}
		for _, g := range append(running, g) {
			served(g, 1, 0, 1)
		}
		s.idle()
	})
}

func TestLightRequestsTakeNoRoom(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		light := s.request("a")
		light.Light = true
		var open []*schedule.Grant
		for range 5 {
			open = append(open, s.place(light))
		}
		running := s.fill(2) // at once, or the test would hang in the bubble
		for _, g := range append(open, running...) {
			served(g, 1, 0, 1)
		}
		s.idle()
	})
}

// What a caller gives up stays charged: others come first.
func TestGivingUpIsNotFree(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		running := s.fill(2)
		for range 5 {
			gone := s.waiting(s.t.Context(), s.request("flood"))
			running[0].End(schedule.Result{Cancelled: true})
			running[0] = (<-gone).grant
		}
		flood := s.waiting(s.t.Context(), s.request("flood"))
		other := s.waiting(s.t.Context(), s.request("other"))
		running[0].End(schedule.Result{Cancelled: true})
		synctest.Wait()
		select {
		case o := <-other:
			served(o.grant, 1, 0, 1)
		default:
			s.t.Error("the one who gives up comes first again")
		}
		served(running[1], 1, 0, 1)
		served((<-flood).grant, 1, 0, 1)
		s.idle()
	})
}

// A copy that turned out to be dead does not swallow those who wait.
func TestASuspendedCopyGetsNothing(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		running := s.fill(2)
		ch := s.waiting(s.t.Context(), s.request("a"))
		for _, g := range running {
			g.Copy().Suspend()
			g.End(schedule.Result{})
		}
		synctest.Wait()
		if s.sched.Queued(fair.Standard) != 1 {
			s.t.Fatal("a request was given to a copy that serves nobody")
		}
		served((<-ch).grant, 1, 0, 1) // after two more reports
		s.idle()
	})
}
