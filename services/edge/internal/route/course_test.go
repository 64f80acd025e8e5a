package route

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// However attempts fail, a course ends, and within its bounds: no model more often than
// the route says, none twice.
func TestEveryCourseEnds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	all := append(Reasons(), Other, Unfit, Open)
	some := func() (out []Reason) {
		for _, r := range Reasons() {
			if random.IntN(2) == 0 {
				out = append(out, r)
			}
		}
		return out
	}
	for range 500 {
		r := testRouter(t, DefaultConfig())
		route := Route{Name: "r", Retry: Retry{Attempts: 1 + random.IntN(MaxAttempts), On: some(), Backoff: time.Millisecond, MaxBackoff: time.Second}}
		route.Fallback.Models = []string{"m", "a", "b", "c", "d"}[:random.IntN(6)]
		route.Fallback.On = some()
		c := r.Begin(&route, "acme", "m", random.IntN(4) > 0)
		asked, attempts := map[string]int{"m": 1}, 1
		for {
			if c.Open() {
				if !c.Skip() {
					t.Fatal("the last model was passed over")
				}
				asked[c.Model()]++
				continue
			}
			next := c.Failed(t.Context(), all[random.IntN(len(all))])
			if next.Step == Stop {
				break
			}
			attempts++
			if next.Step == Fall {
				asked[next.Model]++
			}
			if next.Model != c.Model() || next.Wait < 0 || next.Wait > route.Retry.MaxBackoff {
				t.Fatalf("%+v", next)
			}
		}
		if most := route.Retry.Attempts * (1 + len(route.Fallback.Models)); attempts > most {
			t.Fatalf("%d attempts, at most %d", attempts, most)
		}
		for model, n := range asked {
			if n > 1 {
				t.Fatalf("%s was begun with %d times", model, n)
			}
		}
	}
}

func TestWhatComesAfterAFailure(t *testing.T) {
	r := testRouter(t, DefaultConfig())
	route := Route{Name: "r", Retry: Retry{Attempts: 3, On: []Reason{Timeout}, Backoff: 40 * time.Millisecond, MaxBackoff: 60 * time.Millisecond}, Fallback: Fallback{Models: []string{"a", "b"}, On: []Reason{Timeout}}}
	c := r.Begin(&route, "acme", "m", true)
	for i, want := range []Next{
		{Step: Again, Model: "m", Wait: 30 * time.Millisecond},
		{Step: Again, Model: "m", Wait: 45 * time.Millisecond},
		{Step: Fall, Model: "a"},
		{Step: Again, Model: "a", Wait: 30 * time.Millisecond},
	} {
		if got := c.Failed(t.Context(), Timeout); got != want {
			t.Fatalf("%d: %+v, want %+v", i, got, want)
		}
	}
	if got := c.Failed(t.Context(), EngineFailed); got.Step != Stop || got.Why == "" {
		t.Errorf("%+v", got)
	}
}

// In no window there are more retries than the budget has.
func TestTheBudgetIsNeverExceeded(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	c := clock.NewFake(time.Unix(1_800_000_000, 0))
	cfg := BudgetConfig{Percent: 20, MinPerSecond: 0.5, Window: 10 * time.Second}
	b := NewBudget(cfg, c)
	type event struct {
		at    time.Time
		retry bool
	}
	var events []event
	for range 4000 {
		c.Advance(time.Duration(random.IntN(40)) * time.Millisecond)
		if random.IntN(3) > 0 {
			b.Deposit("acme")
			events = append(events, event{c.Now(), false})
		}
		if b.Withdraw("acme") {
			events = append(events, event{c.Now(), true})
			requests, retries := 0.0, 0.0
			for i := len(events) - 1; i >= 0 && c.Now().Sub(events[i].at) < cfg.Window; i-- {
				if events[i].retry && c.Now().Sub(events[i].at) < cfg.Window*9/10 { // whole slots leave at once
					retries++
				} else if !events[i].retry {
					requests++
				}
			}
			if most := requests*0.2 + 5; retries > most {
				t.Fatalf("%v retries in a window of %v requests", retries, requests)
			}
		}
	}
	spent := 0
	for _, e := range events {
		if e.retry {
			spent++
		}
	}
	if spent < len(events)/10 {
		t.Errorf("only %d of %d could be made again", spent, len(events))
	}
	for i := range 3 * maxTenants {
		if tenant := string(rune('a'+i%26)) + time.Duration(i).String(); !b.Withdraw(tenant) && i < maxTenants/2 {
			t.Errorf("%s has no budget", tenant)
		}
	}
	if len(b.tenants) > maxTenants {
		t.Errorf("%d tenants", len(b.tenants))
	}
}

func TestAModelThatFailsIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Breaker = BreakerConfig{ConsecutiveFailures: 2, OpenFor: 10 * time.Second}
		r := testRouter(t, cfg)
		route := Route{Name: "r", Retry: Retry{Attempts: 1}, Fallback: Fallback{Models: []string{"a"}, On: []Reason{EngineFailed}}}
		begin := func() *Course { return r.Begin(&route, "acme", "m", true) }
		for range 2 {
			c := begin()
			if c.Open() {
				t.Fatal("it is open before it failed")
			}
			c.Failed(t.Context(), EngineFailed)
		}
		if !begin().Open() {
			t.Fatal("it is not passed over")
		}
		if r.Begin(&route, "acme", "m", false).Open() {
			t.Error("it is passed over although there is no other")
		}
		<-time.After(11 * time.Second)
		begin().End() // of one that tries nothing
		probe := begin()
		if begin().Passed() || probe.Open() || !begin().Open() || !begin().Passed() {
			t.Fatal("one tries, and the others do not")
		}
		// Others that ended for reasons of their own say nothing of who tries.
		other := begin()
		other.Failed(t.Context(), Other)
		if !begin().Open() {
			t.Error("two try at once")
		}
		probe.End()
		probe.End()
		if probe = begin(); probe.Open() {
			t.Error("who tried came to nothing, and nobody tries for as long as it was passed over")
		}
		probe.Failed(t.Context(), EngineFailed)
		if !begin().Open() {
			t.Error("the one that tried failed")
		}
		<-time.After(11 * time.Second)
		probe = begin()
		probe.Open()
		probe.Answers()
		if begin().Open() {
			t.Error("it answers, which takes long")
		}
		probe.End()
		if begin().Open() {
			t.Error("an answer that broke off says nothing of the next one's beginning")
		}
	})
}

func TestHedges(t *testing.T) {
	slow := func(first, second time.Duration) (func(ctx context.Context, who int) (int, error), *atomic.Int32) {
		calls := new(atomic.Int32)
		return func(ctx context.Context, who int) (int, error) {
			wait := first
			if calls.Add(1); who == 2 {
				wait = second
			}
			return who, clock.Sleep(ctx, clock.Real(), wait)
		}, calls
	}
	yes, no := func() bool { return true }, func() bool { return false }
	for name, c := range map[string]struct {
		first, second time.Duration
		spend         func() bool
		won, calls    int
		took          time.Duration
	}{
		"the first is soon":      {50 * time.Millisecond, 0, yes, 1, 1, 50 * time.Millisecond},
		"the second wins":        {time.Second, 10 * time.Millisecond, yes, 2, 2, 110 * time.Millisecond},
		"the first wins":         {150 * time.Millisecond, time.Second, yes, 1, 2, 150 * time.Millisecond},
		"the budget has nothing": {time.Second, 0, no, 1, 1, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			do, calls := slow(c.first, c.second)
			begin := time.Now()
			var lost []error
			out, won, err := Hedged(t.Context(), clock.Real(), 100*time.Millisecond, c.spend, do, func(n int, err error) {
				if n == c.won {
					t.Errorf("%s: the one that won is told as lost", name)
				}
				lost = append(lost, err)
			})
			if took := time.Since(begin); err != nil || won != c.won || out != c.won || int(calls.Load()) != c.calls || took != c.took {
				t.Errorf("%s: %d won, %d calls, %v, %v", name, won, calls.Load(), took, err)
			}
			if synctest.Wait(); len(lost) != c.calls-1 || len(lost) == 1 && !errors.Is(lost[0], context.Canceled) {
				t.Errorf("%s: lost are %v", name, lost)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		var n atomic.Int32
		lost := 0
		_, won, err := Hedged(t.Context(), clock.Real(), 100*time.Millisecond, yes, func(ctx context.Context, _ int) (int, error) {
			n.Add(1)
			return 0, errors.Join(broken, clock.Sleep(ctx, clock.Real(), 200*time.Millisecond))
		}, func(int, error) { lost++ })
		if !errors.Is(err, broken) || n.Load() != 2 || won != 2 || lost != 1 {
			t.Errorf("%v of %d after %d, %d lost", err, won, n.Load(), lost)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a second one that is not done after all
		broken := errors.New("broken")
		for name, c := range map[string]struct {
			first, second time.Duration // when they end
			fails         error         // how the first does
		}{
			"the first answers":                  {300 * time.Millisecond, 10 * time.Millisecond, nil},
			"… before that is known":             {150 * time.Millisecond, time.Second, nil},
			"the first fails":                    {300 * time.Millisecond, 10 * time.Millisecond, broken},
			"the first fails before it is known": {150 * time.Millisecond, time.Second, broken},
		} {
			out, won, err := Hedged(t.Context(), clock.Real(), 100*time.Millisecond, yes, func(_ context.Context, who int) (int, error) {
				if who == 1 {
					<-time.After(c.first)
					return 1, c.fails
				}
				<-time.After(c.second)
				return 2, ErrNotDone
			}, func(n int, err error) { t.Errorf("%s: %d is lost, %v", name, n, err) })
			if out != 1 || won != 1 || !errors.Is(err, c.fails) {
				t.Errorf("%s: %d, %d, %v", name, out, won, err)
			}
			<-time.After(time.Second)
		}
	})
	synctest.Test(t, func(t *testing.T) { // an answer that comes all the same
		var lost atomic.Int32
		out, _, err := Hedged(t.Context(), clock.Real(), 100*time.Millisecond, yes, func(_ context.Context, who int) (int, error) {
			return who, clock.Sleep(context.WithoutCancel(t.Context()), clock.Real(), 150*time.Millisecond)
		}, func(n int, err error) {
			if err == nil {
				lost.Store(int32(n))
			}
		})
		if synctest.Wait(); out != 1 || err != nil || lost.Load() != 0 {
			t.Errorf("%d, %v; %d lost before it ended", out, err, lost.Load())
		}
		<-time.After(time.Second)
		if synctest.Wait(); lost.Load() != 2 {
			t.Errorf("%d lost, and not the second", lost.Load())
		}
	})
}

// A model that failed too often is asked all the same where none of the others can be,
// and not where one was and failed.
func TestAModelIsAskedWhereNoOtherCanBe(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Breaker = BreakerConfig{ConsecutiveFailures: 1, OpenFor: time.Minute}
	for why, back := range map[Reason]bool{ModelNotFound: true, Unfit: true, EngineFailed: false} {
		r := testRouter(t, cfg)
		route := Route{Name: "r", Retry: Retry{Attempts: 1}, Fallback: Fallback{Models: []string{"a"}, On: []Reason{EngineFailed}}}
		if r.Begin(&route, "acme", "m", true).Failed(t.Context(), EngineFailed).Step != Fall {
			t.Fatal("it does not fall")
		}
		c := r.Begin(&route, "acme", "m", true)
		if !c.Open() || !c.Skip() || c.Open() {
			t.Fatal("it is not passed over")
		}
		if next := c.Failed(t.Context(), why); next.Step != Stop {
			t.Fatalf("%+v", next)
		}
		if c.Back() != back {
			t.Errorf("%s: it is asked: %v", why, !back)
		}
		if back && (c.Model() != "m" || c.Fallen() || c.Open() || c.Skip() || c.Failed(t.Context(), Other).Step != Stop || c.Back()) {
			t.Errorf("%s: it is not the last", why)
		}
	}
}
