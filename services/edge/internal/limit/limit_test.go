package limit

import (
	"fmt"
	"slices"
	"testing"
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
	testBuckets(t, func(*testing.T) (Buckets, func(time.Duration)) {
		c := clock.NewFake(start())
		return NewMemory(c, 1000), c.Advance
	})
}

// openMini returns a Redis in this process and a client of it.
func openMini(t *testing.T) (*miniredis.Miniredis, *redisscript.Client) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redisscript.Open(redisscript.Options{Addrs: []string{server.Addr()}})
	t.Cleanup(func() { _ = client.Close() })
	return server, client
}

// leasedOn returns buckets on scripts that wait for them as long as a busy machine may
// need.
func leasedOn(scripts Scripts, c clock.Clock, name string) *Leased {
	return NewLeased(LeasedOptions{
		Scripts: scripts, Clock: c, Name: name, Timeout: 10 * time.Second, MaxBuckets: 1000, Observe: unobserved{},
	})
}

func openLeased(t *testing.T) (Buckets, func(time.Duration)) {
	t.Helper()
	server, client := openMini(t)
	now, c := start(), clock.NewFake(start())
	server.SetTime(now)
	l := leasedOn(client, c, "one")
	return l, func(d time.Duration) {
		if err := l.flush(t.Context()); err != nil {
			t.Error(err)
		}
		now = now.Add(d)
		server.SetTime(now)
		server.FastForward(d)
		c.Advance(d)
	}
}

func TestLeased(t *testing.T) {
	open := func(t *testing.T) harness {
		t.Helper()
		b, advance := openLeased(t)
		return harness{one{b}, advance}
	}
	testLimiter(t, open)
	testLimiterOverTime(t, open)
	testBuckets(t, openLeased)
}

func TestRedisIsShared(t *testing.T) {
	server, client := openMini(t)
	server.SetTime(start())
	c := clock.NewFake(start())
	limiters := []Limiter{one{leasedOn(client, c, "one")}, one{leasedOn(client, c, "two")}}
	if n := rush(t, limiters, PerMinute(100)); n != 100 {
		t.Fatalf("%d admitted, want 100", n)
	}
}

func TestRedisDoesNotSaveUp(t *testing.T) {
	server, client := openMini(t)
	c := clock.NewFake(start())
	r, l := one{leasedOn(client, c, "one")}, PerMinute(60)
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
	if _, err := (one{leasedOn(client, clock.NewFake(start()), "one")}).Allow(t.Context(), "k", 1, PerMinute(60)); err != nil {
		t.Fatal(err)
	}
	if keys := server.Keys(); !slices.Equal(keys, []string{"poterne:{limit}:k"}) {
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

func TestRedisThatNeverAnswers(t *testing.T) {
	// A socket that accepts and says nothing, as behind a failing network.
	client := redisscript.Open(redisscript.Options{Addrs: []string{silent(t)}})
	defer client.Close()
	l := NewLeased(LeasedOptions{
		Scripts: client, Clock: clock.Real(), Name: "one", Timeout: 5 * time.Millisecond, MaxBuckets: 10, Observe: unobserved{},
	})
	if d, err := (one{l}).Allow(t.Context(), "k", 1, PerMinute(1)); err != nil || !d.Allowed || !d.Local {
		t.Fatalf("%+v, %v", d, err)
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
