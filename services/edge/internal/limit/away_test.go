package limit

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
)

const waitsFor = 5 * time.Millisecond

// counting counts what it is told.
type counting struct {
	asked, local atomic.Int32
	replicas     atomic.Int64
	away         atomic.Bool
}

func (c *counting) Asked(context.Context)                      { c.asked.Add(1) }
func (c *counting) Local(context.Context, error)               { c.local.Add(1) }
func (c *counting) Replicas(_ context.Context, n int)          { c.replicas.Store(int64(n)) }
func (c *counting) Away(_ context.Context, away bool, _ error) { c.away.Store(away) }

// running returns buckets over m whose components run until the test ends.
func running(t *testing.T, m *model, seen Observer) *Leased {
	t.Helper()
	return runningOn(t, m, waitsFor, seen)
}

// born counts replicas: each has another name.
var born atomic.Int64 //nolint:gochecknoglobals // of a test's

func runningOn(t *testing.T, scripts Scripts, most time.Duration, seen Observer) *Leased {
	t.Helper()
	l := NewLeased(LeasedOptions{Scripts: scripts, Clock: clock.Real(), Name: strconv.FormatInt(born.Add(1), 10), Timeout: most, MaxBuckets: 1000, Observe: seen})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, lifecycle.Options{}, l.Components()...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

func sleep(t *testing.T, d time.Duration) {
	t.Helper()
	if err := clock.Sleep(t.Context(), clock.Real(), d); err != nil {
		t.Fatal(err)
	}
}

func askOnce(t *testing.T, l *Leased, bucket string, cost int, limit Limit, away Away) (Decision, time.Duration) {
	t.Helper()
	out := make([]Decision, 1)
	before := time.Now()
	if _, err := l.Take(t.Context(), []Ask{{Bucket: bucket, Limit: limit, Cost: cost, Away: away}}, out); err != nil {
		t.Fatal(err)
	}
	return out[0], time.Since(before)
}

func TestNoRequestWaitsLongForRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, seen := newModel(clock.Real()), new(counting)
		m.edges = 2
		l := running(t, m, seen)
		sleep(t, time.Second)
		if d, _ := askOnce(t, l, "k", 1, PerMinute(100), AwayLocal); d.Local || !d.Allowed || d.Remaining != 99 {
			t.Fatalf("with Redis: %+v", d)
		}
		m.set(hangs)
		var group sync.WaitGroup
		for range 64 {
			group.Go(func() {
				for range 5 {
					if _, took := askOnce(t, l, "other", 1, PerMinute(1000), AwayLocal); took > waitsFor {
						t.Errorf("a request waited %v for Redis", took)
					}
				}
			})
		}
		group.Wait()
		if !seen.away.Load() || !l.Away() || seen.local.Load() < 64 {
			t.Errorf("away: %v, %d decided alone", seen.away.Load(), seen.local.Load())
		}
		// The share of two is half; one was used before, which is half a one of it.
		admitted := 0
		for range 100 {
			d, took := askOnce(t, l, "k", 1, PerMinute(100), AwayLocal)
			if took > 0 || !d.Local {
				t.Fatalf("%+v after %v", d, took)
			}
			if d.Allowed {
				admitted++
			}
		}
		if admitted < 49 || admitted > 50 {
			t.Errorf("alone, %d of 100 were admitted, want half", admitted)
		}
		if d, _ := askOnce(t, l, "k", 1, PerMinute(100), AwayAllow); !d.Allowed {
			t.Error("what allows everything refused")
		}
		if d, _ := askOnce(t, l, "fresh", 1, PerMinute(100), AwayRefuse); d.Allowed || d.RetryAfter == 0 {
			t.Errorf("what refuses everything did not: %+v", d)
		}
		m.set(works)
		sleep(t, 2*time.Second)
		if l.Away() || seen.away.Load() {
			t.Fatal("Redis is back")
		}
		if d, _ := askOnce(t, l, "fresh", 1, PerMinute(100), AwayLocal); d.Local {
			t.Errorf("%+v", d)
		}
	})
}

// What is taken alone counts when Redis is back.
func TestNothingIsHadTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(clock.Real())
		m.edges = 2
		one, two := running(t, m, unobserved{}), running(t, m, unobserved{})
		sleep(t, time.Second)
		l := Limit{Amount: 100, Period: time.Hour}
		take := func(b *Leased) int {
			n := 0
			for range 200 {
				if d, _ := askOnce(t, b, "k", 1, l, AwayLocal); d.Allowed {
					n++
				}
			}
			return n
		}
		for range 20 { // before
			askOnce(t, one, "k", 1, l, AwayLocal)
			askOnce(t, two, "k", 1, l, AwayLocal)
		}
		m.set(fails)
		for !one.Away() || !two.Away() {
			sleep(t, 100*time.Millisecond)
		}
		alone := take(one) + take(two)
		if alone < 58 || alone > 60 {
			t.Errorf("alone, %d of the 60 left were admitted", alone)
		}
		m.set(works)
		for one.Away() || two.Away() {
			sleep(t, 100*time.Millisecond)
		}
		if after := take(one) + take(two); after > 2 {
			t.Errorf("then %d more", after)
		}
	})
}

func TestSlowRedisDoesNotFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, seen := newModel(clock.Real()), new(counting)
		l := running(t, m, seen)
		sleep(t, time.Second)
		m.set(hangs) // as long as anybody waits
		for range 3 {
			askOnce(t, l, "k", 1, PerMinute(100), AwayLocal)
		}
		asked := seen.asked.Load()
		for range 300 {
			sleep(t, 100*time.Millisecond)
			if _, took := askOnce(t, l, "k", 1, PerMinute(100), AwayLocal); took > 0 || !l.Away() {
				t.Fatalf("a request waited %v", took)
			}
		}
		if got := seen.asked.Load(); got != asked {
			t.Errorf("requests asked %d times more", got-asked)
		}
	})
}

func TestCallerThatGoesAway(t *testing.T) {
	m := newModel(clock.Real())
	l := leasedOn(m, clock.Real(), "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := make([]Decision, 1)
	for range 10 {
		if _, err := l.Take(ctx, []Ask{{Bucket: "k", Limit: PerMinute(100), Cost: 1}}, out); err != nil || out[0].Local {
			t.Fatalf("callers that went away closed the store for all: %+v, %v", out[0], err)
		}
	}
}

// Without Redis a share is by how many replicas discovery knows. That they are fewer
// holds only once it has been so for a time.
func TestSharesByDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, seen := newModel(clock.Real()), new(counting)
		m.edges = 2
		l := running(t, m, seen)
		sleep(t, time.Second)
		l.Found(4)
		shares := func(want int) {
			t.Helper()
			sleep(t, 2*tendInterval)
			synctest.Wait()
			d, _ := askOnce(t, l, "k", 0, PerMinute(120), AwayLocal)
			if got := d.Limit.AtOnce(); got != want || seen.replicas.Load() != int64(120/want) {
				t.Errorf("a share is %d, want %d; %d replicas were told", got, want, seen.replicas.Load())
			}
		}
		if d, _ := askOnce(t, l, "k", 0, PerMinute(120), AwayLocal); d.Local || seen.replicas.Load() != 2 {
			t.Errorf("with Redis: %+v, %d replicas", d, seen.replicas.Load())
		}
		m.set(fails)
		for !l.Away() {
			askOnce(t, l, "other", 1, PerMinute(120), AwayLocal)
		}
		shares(30)
		l.Found(1)
		sleep(t, fewerAfter/2)
		l.Found(2)
		shares(30)
		l.Found(1)
		sleep(t, fewerAfter/2)
		shares(60)
		l.Found(3)
		shares(40)
		l.Found(2)
		sleep(t, fewerAfter/2)
		l.Found(3) // it was only lost for a moment
		sleep(t, fewerAfter)
		shares(40)
	})
}
