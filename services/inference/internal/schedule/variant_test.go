package schedule_test

import (
	"testing"
	"testing/synctest"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

// formed gives the second worker a smaller form of the version in its place, and
// returns a request that either may serve.
func (s *stage) formed(fallback bool) func() *schedule.Request {
	small := fakes.Digest("m/q4")
	w := s.workers[1]
	w.Set(s.digest, workerv1.ModelState_MODEL_STATE_UNSPECIFIED)
	w.Set(small, ready)
	w.Report(small, 1, 0, 0)
	synctest.Wait()
	return func() *schedule.Request {
		r := s.request("a")
		r.Variants, r.Fallback = []string{s.digest, small}, fallback
		return r
	}
}

func TestTheBestVariantThatIsReadyServes(t *testing.T) {
	bubble(t, 2, 1, func(s *stage) {
		t := s.t
		request := s.formed(false)
		var grants []*schedule.Grant
		for range 2 { // one slot, and the next request at hand
			g := s.place(request())
			if g.Copy().Digest() != s.digest || g.Saturated() {
				t.Fatalf("served by %s", g.Copy().Worker().ID())
			}
			grants = append(grants, g)
		}
		third := s.waiting(t.Context(), request())
		select {
		case o := <-third:
			t.Fatalf("served by a worse variant, which was not allowed: %+v", o)
		default:
		}
		served(grants[0], 1, 0, 1)
		o := <-third
		if o.err != nil || o.grant.Copy().Digest() != s.digest {
			t.Fatalf("%+v", o)
		}
		// A copy that failed the request is no reason to fail it: what is there serves.
		again, err := s.sched.Place(t.Context(), request(), []*fleet.Copy{o.grant.Copy()})
		if err != nil || again.Copy().Digest() == s.digest || again.Saturated() {
			t.Errorf("%+v, %v", again, err)
		}
		s.workers[0].Set(s.digest, workerv1.ModelState_MODEL_STATE_LOADING)
		synctest.Wait()
		if g := s.place(request()); g.Copy().Digest() == s.digest || g.Saturated() {
			t.Error("the only variant that is ready does not serve")
		}
	})
}

func TestAWorseVariantServesUnderSaturation(t *testing.T) {
	bubble(t, 2, 1, func(s *stage) {
		t := s.t
		request := s.formed(true)
		var grants []*schedule.Grant
		for i := range 4 {
			g := s.place(request())
			if worse := i >= 2; (g.Copy().Digest() != s.digest) != worse || g.Saturated() != worse {
				t.Fatalf("request %d: %s, saturated %v", i, g.Copy().Worker().ID(), g.Saturated())
			}
			grants = append(grants, g)
		}
		fifth := s.waiting(t.Context(), request())
		served(grants[2], 1, 0, 1) // the worse variant's
		o := <-fifth
		if o.err != nil || o.grant.Copy().Digest() == s.digest || !o.grant.Saturated() {
			t.Fatalf("%+v", o)
		}
		for _, g := range append(grants, o.grant) {
			served(g, 1, 0, 1)
		}
		if g := s.place(request()); g.Copy().Digest() != s.digest || g.Saturated() {
			t.Error("not served by the best though it has room")
		}
	})
}

func TestWhoWaitsForOneFormKeepsNobodyFromAnother(t *testing.T) {
	bubble(t, 2, 1, func(s *stage) {
		t := s.t
		request := s.formed(true)
		grants := []*schedule.Grant{s.place(request()), s.place(request())} // the version's own weights are full
		exact := request()
		exact.Variants, exact.Fallback = exact.Variants[:1], false
		first := s.waiting(t.Context(), exact)
		if g := s.place(request()); g.Copy().Digest() == s.digest || !g.Saturated() {
			t.Error("not served by what is idle")
		}
		select {
		case o := <-first:
			t.Fatalf("served by what it did not ask for: %+v", o)
		default:
		}
		served(grants[0], 1, 0, 1)
		if o := <-first; o.err != nil || o.grant.Copy().Digest() != s.digest {
			t.Errorf("%+v", o)
		}
	})
}

func TestWhoAsksForOneFormWaitsInTheSameOrder(t *testing.T) {
	bubble(t, 2, 1, func(s *stage) {
		t := s.t
		request := s.formed(true)
		var grants []*schedule.Grant
		for range 4 {
			grants = append(grants, s.place(request()))
		}
		exact := request()
		exact.Variants, exact.Fallback = exact.Variants[1:], false
		first := s.waiting(t.Context(), exact)
		later := s.waiting(t.Context(), request())
		served(grants[2], 1, 0, 1) // of the worse form
		o := <-first
		if o.err != nil || o.grant.Copy().Digest() == s.digest || o.grant.Saturated() {
			t.Fatalf("%+v", o)
		}
		served(grants[0], 1, 0, 1)
		if o := <-later; o.err != nil || o.grant.Copy().Digest() != s.digest {
			t.Errorf("%+v", o)
		}
	})
}
