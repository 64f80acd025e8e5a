package limit

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// one asks about one bucket.
type one struct{ Buckets }

func (o one) Allow(ctx context.Context, bucket string, cost int, l Limit) (Decision, error) {
	out := make([]Decision, 1)
	_, err := o.Take(ctx, []Ask{{Bucket: bucket, Limit: l, Cost: cost}}, out)
	return out[0], err
}

// harness is a limiter and the way its time passes.
type harness struct {
	limiter Limiter
	advance func(d time.Duration)
}

func ask(t *testing.T, h harness, key string, cost int, l Limit) Decision {
	t.Helper()
	d, err := h.limiter.Allow(t.Context(), key, cost, l)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func perSecond() Limit { return Limit{Amount: 10, Period: time.Second, Burst: 3} }

// testLimiter holds for every implementation; time passes by a tenth of a
// second at most, so that a real store can be waited for.
func testLimiter(t *testing.T, open func(t *testing.T) harness) {
	t.Helper()

	t.Run("a burst and then the rate", func(t *testing.T) {
		h := open(t)
		for i := range 3 {
			d := ask(t, h, "a", 1, perSecond())
			if !d.Allowed || d.Remaining != 2-i || d.RetryAfter != 0 {
				t.Fatalf("request %d: %+v", i, d)
			}
		}
		d := ask(t, h, "a", 1, perSecond())
		if d.Allowed || d.Remaining != 0 || d.RetryAfter <= 0 || d.RetryAfter > 100*time.Millisecond {
			t.Fatalf("over the burst: %+v", d)
		}
		h.advance(d.RetryAfter)
		if d := ask(t, h, "a", 1, perSecond()); !d.Allowed {
			t.Fatalf("after waiting as told: %+v", d)
		}
		if d := ask(t, h, "a", 1, perSecond()); d.Allowed {
			t.Fatalf("one too many: %+v", d)
		}
	})

	t.Run("keys do not share", func(t *testing.T) {
		h := open(t)
		ask(t, h, "a", 3, perSecond())
		if d := ask(t, h, "b", 3, perSecond()); !d.Allowed {
			t.Fatalf("%+v", d)
		}
	})

	t.Run("a refusal takes nothing", func(t *testing.T) {
		h := open(t)
		ask(t, h, "a", 2, perSecond())
		for range 5 {
			if d := ask(t, h, "a", 2, perSecond()); d.Allowed {
				t.Fatalf("%+v", d)
			}
		}
		if d := ask(t, h, "a", 1, perSecond()); !d.Allowed {
			t.Fatalf("%+v", d)
		}
	})

	t.Run("a cost of nothing only looks", func(t *testing.T) {
		h := open(t)
		for range 5 {
			if d := ask(t, h, "a", 0, perSecond()); !d.Allowed || d.Remaining != 3 {
				t.Fatalf("%+v", d)
			}
		}
	})

	t.Run("a limit that makes no sense is an error", func(t *testing.T) {
		h := open(t)
		for _, l := range []Limit{{}, {Amount: 1}, {Amount: -1, Period: 1}, {Amount: 1, Period: 1, Burst: -1}} {
			if _, err := h.limiter.Allow(t.Context(), "a", 1, l); err == nil {
				t.Errorf("%+v was accepted", l)
			}
		}
	})
}

// testLimiterOverTime holds for every implementation whose time is handed in.
func testLimiterOverTime(t *testing.T, open func(t *testing.T) harness) {
	t.Helper()
	t.Run("a cost above the burst is never admitted", func(t *testing.T) {
		h := open(t)
		for range 3 {
			d := ask(t, h, "a", 4, perSecond())
			if d.Allowed || d.RetryAfter != 0 { // waiting does not help
				t.Fatalf("%+v", d)
			}
			h.advance(10 * time.Second)
		}
	})

	t.Run("a rest refills the burst and no more", func(t *testing.T) {
		h := open(t)
		ask(t, h, "a", 3, perSecond())
		h.advance(time.Hour)
		d := ask(t, h, "a", 1, perSecond())
		if !d.Allowed || d.Remaining != 2 {
			t.Fatalf("%+v", d)
		}
	})

	t.Run("never more than burst and rate allow, never less", func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2)) // the same every time
		for range 5 {
			h := open(t)
			l := Limit{Amount: 1 + r.IntN(500), Period: time.Second, Burst: 1 + r.IntN(20)}
			admitted, elapsed := 0, time.Duration(0)
			for range 100 {
				cost := r.IntN(min(3, l.Burst) + 1)
				d := ask(t, h, "k", cost, l)
				if d.Allowed {
					admitted += cost
				} else {
					// As told, but for the microseconds that a store may round to.
					h.advance(d.RetryAfter + time.Microsecond)
					elapsed += d.RetryAfter + time.Microsecond
					if d := ask(t, h, "k", cost, l); !d.Allowed {
						t.Fatalf("%+v: refused after waiting as told: %+v", l, d)
					}
					admitted += cost
				}
				step := time.Duration(r.IntN(5000)) * time.Microsecond
				h.advance(step)
				elapsed += step
				if most := float64(l.Burst) + elapsed.Seconds()*float64(l.Amount) + 0.001; float64(admitted) > most {
					t.Fatalf("%+v: %d admitted in %v, at most %.2f may be", l, admitted, elapsed, most)
				}
			}
		}
	})
}

// rush asks for one key from eight goroutines, 400 times in all, and returns
// how often that was allowed.
func rush(t *testing.T, limiters []Limiter, l Limit) int64 {
	t.Helper()
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				d, err := limiters[i%len(limiters)].Allow(t.Context(), "rush", 1, l)
				if err != nil {
					t.Error(err)
				}
				if d.Allowed {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return admitted.Load()
}
