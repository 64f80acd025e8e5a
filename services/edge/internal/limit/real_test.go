//go:build real

package limit

import (
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/edge/internal/redisscript"
)

func realRedis(t *testing.T, addr string, db int) *redisscript.Client {
	t.Helper()
	client := redisscript.Open(redisscript.Options{Addrs: []string{addr}, DB: db})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestRealRedis(t *testing.T) {
	server := testkit.Redis(t)
	n := 0
	testLimiter(t, func(t *testing.T) harness {
		t.Helper()
		n++ // a database for each, so that they share no keys
		l := leasedOn(realRedis(t, server.Addr, n%16), clock.Real(), "one")
		return harness{one{l}, func(d time.Duration) { sleep(t, d+time.Millisecond) }}
	})
	testSlots(t, slotsOn(realRedis(t, server.Addr, 0), clock.Real(), "one"), slotsOn(realRedis(t, server.Addr, 0), clock.Real(), "two"))
}

func TestRealRedisIsShared(t *testing.T) {
	server := testkit.Redis(t)
	var limiters []Limiter
	for _, name := range []string{"one", "two"} {
		limiters = append(limiters, one{leasedOn(realRedis(t, server.Addr, 0), clock.Real(), name)})
	}
	// So slow a rate that none comes back while the test runs.
	l := Limit{Amount: 1, Period: time.Hour, Burst: 100}
	if got := rush(t, limiters, l); got != 100 {
		t.Fatalf("%d admitted, want 100", got)
	}
}

// TestRealRedisGoesAwayAndComesBack has it killed, and stopped so that it takes
// connections and says nothing.
func TestRealRedisGoesAwayAndComesBack(t *testing.T) {
	server := testkit.Redis(t)
	const most = 50 * time.Millisecond
	client := redisscript.Open(redisscript.Options{Addrs: []string{server.Addr}})
	defer client.Close()
	seen := new(counting)
	l := runningOn(t, client, most, seen)
	ask := func() Decision {
		d, took := askOnce(t, l, "k", 1, PerMinute(10000), AwayLocal)
		if !d.Allowed || took > most+500*time.Millisecond { // a busy machine's own delay
			t.Fatalf("%+v after %v", d, took)
		}
		return d
	}
	for what, away := range map[string]func() (back func()){
		"killed": func() func() {
			server.Kill()
			return func() { server = server.Restart() }
		},
		"stopped": func() func() {
			server.Signal(syscall.SIGSTOP)
			return func() { server.Signal(syscall.SIGCONT) }
		},
	} {
		for d := ask(); d.Local; d = ask() {
			sleep(t, 20*time.Millisecond)
		}
		back := away()
		for i := range 20 {
			if d := ask(); !d.Local {
				t.Errorf("%s: request %d was decided by a Redis that is not there", what, i)
			}
		}
		if !seen.away.Load() {
			t.Errorf("%s: nobody was told", what)
		}
		back()
		for d := ask(); d.Local; d = ask() {
			sleep(t, 20*time.Millisecond)
		}
	}
}

// One slot of a cluster has all keys, so that a script works on several buckets.
func TestRealRedisClusterAndSentinel(t *testing.T) {
	cluster, sentinel := testkit.RedisCluster(t), testkit.RedisSentinel(t)
	for what, o := range map[string]redisscript.Options{
		"cluster":  {Addrs: cluster.Addrs[:2], Cluster: true},
		"sentinel": {Addrs: []string{sentinel.Addr}, Master: sentinel.Name},
	} {
		t.Run(what, func(t *testing.T) {
			client := redisscript.Open(o)
			t.Cleanup(func() { _ = client.Close() })
			a, b := leasedOn(client, clock.Real(), "a"), leasedOn(client, clock.Real(), "b")
			l := Limit{Amount: 1, Period: time.Hour, Burst: 100}
			if got := rush(t, []Limiter{one{a}, one{b}}, l); got != 100 {
				t.Errorf("%d admitted, want 100", got)
			}
			asks, out := []Ask{{Bucket: "other", Limit: l, Cost: 40}, {Bucket: "rush", Limit: l, Cost: 1}}, make([]Decision, 2)
			if refused, err := a.Take(t.Context(), asks, out); err != nil || refused != 1 || out[0].Local || out[0].Remaining != 100 {
				t.Errorf("refused %d, %v: %+v", refused, err, out)
			}
			if err := a.Settle(t.Context(), []Ask{{Bucket: "rush", Limit: l, Cost: -10}}); err != nil {
				t.Error(err)
			}
			if err := a.flush(t.Context()); err != nil {
				t.Error(err)
			}
			if err := b.Look(t.Context(), asks[1:], out[:1]); err != nil || out[0].Remaining != 10 {
				t.Errorf("%+v, %v", out[0], err)
			}
			if n, err := (shared{client}).edges(t.Context(), "a", time.Second); err != nil || n != 1 {
				t.Errorf("%d replicas, %v", n, err)
			}
			testSlots(t, slotsOn(client, clock.Real(), "one"), slotsOn(client, clock.Real(), "two"))
		})
	}
}
