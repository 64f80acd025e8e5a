package limit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/redisscript"
)

func start() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

func TestMemory(t *testing.T) {
	open := func(*testing.T) harness {
		c := clock.NewFake(start())
		return harness{NewMemory(c, 1000), c.Advance}
	}
	testLimiter(t, open)
	testLimiterOverTime(t, open)
}

// openMini returns a Redis in this process and a client of it.
func openMini(t *testing.T) (*miniredis.Miniredis, *redisscript.Client) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redisscript.Open(redisscript.Options{Addr: server.Addr(), Timeout: time.Second})
	t.Cleanup(func() { _ = client.Close() })
	return server, client
}

func TestRedis(t *testing.T) {
	open := func(t *testing.T) harness {
		t.Helper()
		server, client := openMini(t)
		now := start()
		server.SetTime(now)
		return harness{NewRedis(client), func(d time.Duration) {
			now = now.Add(d)
			server.SetTime(now)
			server.FastForward(d)
		}}
	}
	testLimiter(t, open)
	testLimiterOverTime(t, open)
}

func TestRedisIsShared(t *testing.T) {
	server, client := openMini(t)
	server.SetTime(start())
	other := redisscript.Open(redisscript.Options{Addr: server.Addr(), Timeout: time.Second})
	defer other.Close()
	limiters := []Limiter{NewRedis(client), NewRedis(other)}
	if n := rush(t, limiters, PerMinute(100)); n != 100 {
		t.Fatalf("%d admitted, want 100", n)
	}
}

func TestRedisDoesNotSaveUp(t *testing.T) {
	server, client := openMini(t)
	r, l := NewRedis(client), PerMinute(60)
	for i, want := range []bool{true, true, false} {
		// A bucket that Redis has not got around to forgetting.
		server.SetTime(start().Add(time.Duration(min(i, 1)) * time.Hour))
		cost := 60
		if i == 2 {
			cost = 1
		}
		if d, err := r.Allow(t.Context(), "k", cost, l); err != nil || d.Allowed != want {
			t.Fatalf("request %d: %+v, %v", i, d, err)
		}
	}
}

func TestRedisForgetsFullBuckets(t *testing.T) {
	server, client := openMini(t)
	server.SetTime(start())
	if _, err := NewRedis(client).Allow(t.Context(), "k", 1, PerMinute(60)); err != nil {
		t.Fatal(err)
	}
	if keys := server.Keys(); !slices.Equal(keys, []string{"poterne:limit:k"}) {
		t.Fatalf("keys: %v", keys)
	}
	server.FastForward(2 * time.Second)
	if keys := server.Keys(); len(keys) != 0 {
		t.Fatalf("still there: %v", keys)
	}
}

func TestMemoryUnderConcurrency(t *testing.T) {
	m := NewMemory(clock.NewFake(start()), 1000)
	if n := rush(t, []Limiter{m}, PerMinute(100)); n != 100 {
		t.Fatalf("%d admitted, want 100", n)
	}
}

func TestChargeGoesIntoDebt(t *testing.T) {
	c := clock.NewFake(start())
	m, l := NewMemory(c, 1000), PerMinute(60)
	for range 2 {
		if err := m.Charge(t.Context(), "k", 50, l); err != nil {
			t.Fatal(err)
		}
	}
	look := func(cost int) Decision {
		t.Helper()
		d, err := m.Allow(t.Context(), "k", cost, l)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := look(1); d.Allowed || d.Remaining != 0 || d.RetryAfter != 41*time.Second || d.ResetAfter != 100*time.Second {
		t.Fatalf("in debt by 40: %+v", d)
	}
	c.Advance(40 * time.Second)
	if d := look(1); d.Allowed || d.RetryAfter != time.Second {
		t.Fatalf("with the debt just paid: %+v", d)
	}
	c.Advance(time.Second)
	if d := look(1); !d.Allowed {
		t.Fatalf("after waiting as told: %+v", d)
	}
	if err := m.Charge(t.Context(), "k", -1, l); err == nil {
		t.Error("a charge that gives was accepted")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	const most = 320
	m := NewMemory(clock.NewFake(start()), most)
	l := PerMinute(1000)
	ask := func(key string, cost int) Decision {
		d, err := m.Allow(t.Context(), key, cost, l)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	ask("spent", 1000)
	for i := range 20 * most {
		ask(fmt.Sprintf("flood-%d", i), 1)
	}
	if n := m.Len(); n > most {
		t.Fatalf("%d keys are held, at most %d may be", n, most)
	}
	if d := ask("spent", 1); d.Allowed {
		t.Fatal("a flood of keys freed one that had used up its limit")
	}
}

// switchable is a limiter that can be made to fail or to hang.
type switchable struct {
	Limiter
	mode  atomic.Int32 // 0 works, 1 fails, 2 hangs
	calls atomic.Int32
}

func (s *switchable) Allow(ctx context.Context, key string, cost int, l Limit) (Decision, error) {
	s.calls.Add(1)
	switch s.mode.Load() {
	case 1:
		return Decision{}, errors.New("away")
	case 2:
		<-ctx.Done()
		return Decision{}, ctx.Err()
	default:
		return s.Limiter.Allow(ctx, key, cost, l)
	}
}

func TestGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &switchable{Limiter: NewMemory(clock.Real(), 100)}
		var local int
		g := NewGuarded(shared, NewMemory(clock.Real(), 100), 5*time.Millisecond, func(context.Context, error) { local++ })
		ask := func() Decision {
			d, err := g.Allow(t.Context(), "k", 1, PerMinute(100))
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		if d := ask(); d.Local || !d.Allowed {
			t.Fatalf("with the store: %+v", d)
		}
		shared.mode.Store(2)
		before := time.Now()
		if d := ask(); !d.Local || !d.Allowed {
			t.Fatalf("without the store: %+v", d)
		}
		if took := time.Since(before); took > 5*time.Millisecond {
			t.Fatalf("a request waited %v for a store that hangs", took)
		}
		for range 10 {
			ask()
		}
		if n := shared.calls.Load(); n != 1+breakerFailures {
			t.Fatalf("the store was asked %d times, want %d and then a pause", n, 1+breakerFailures)
		}
		if local != 11 {
			t.Fatalf("told of %d local decisions, want 11", local)
		}
		shared.mode.Store(0)
		if err := clock.Sleep(t.Context(), clock.Real(), breakerPause+time.Millisecond); err != nil { // the bubble's time
			t.Fatal(err)
		}
		if d := ask(); d.Local {
			t.Fatalf("the store is back: %+v", d)
		}
	})
}

func TestGuardedCallerGoesAway(t *testing.T) {
	shared := &switchable{Limiter: NewMemory(clock.Real(), 100)}
	shared.mode.Store(2)
	g := NewGuarded(shared, NewMemory(clock.Real(), 100), time.Minute, nil)
	for range 2 * breakerFailures {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := g.Allow(ctx, "k", 1, PerMinute(100)); err != nil {
			t.Fatal(err)
		}
	}
	shared.mode.Store(0)
	if d, err := g.Allow(t.Context(), "k", 1, PerMinute(100)); err != nil || d.Local {
		t.Fatalf("callers that went away closed the store for all: %+v, %v", d, err)
	}
}

func TestRedisThatNeverAnswers(t *testing.T) {
	// A socket that accepts and says nothing, as behind a failing network.
	lis := silent(t)
	client := redisscript.Open(redisscript.Options{Addr: lis, Timeout: 5 * time.Millisecond})
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := NewRedis(client).Allow(ctx, "k", 1, PerMinute(1)); err == nil {
		t.Fatal("a decision out of nothing")
	}
}

func TestHeaders(t *testing.T) {
	l := PerMinute(7)
	d := Decision{Allowed: true, Limit: l, Remaining: 6, ResetAfter: 8571 * time.Millisecond}
	want := []string{
		"ratelimit", `"default";r=6;t=9`, "ratelimit-policy", `"default";q=7;w=60`,
		"x-ratelimit-limit-requests", "7", "x-ratelimit-remaining-requests", "6", "x-ratelimit-reset-requests", "8.571s",
	}
	if got := Headers(d); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	d.Local = true
	if got := Headers(d); got[1] != `"per-replica";r=6;t=9` || got[3] != `"per-replica";q=7;w=60` {
		t.Errorf("a replica that decides alone says %q", got[:4])
	}
}

func BenchmarkMemory(b *testing.B) {
	m := NewMemory(clock.Real(), 65536)
	for b.Loop() {
		if _, err := m.Allow(b.Context(), "k", 1, PerMinute(1000)); err != nil {
			b.Fatal(err)
		}
	}
}
