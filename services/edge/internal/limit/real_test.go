//go:build real

package limit

import (
	"strconv"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/edge/internal/redisscript"
)

func TestRealRedis(t *testing.T) {
	server := testkit.Redis(t)
	n := 0
	testLimiter(t, func(t *testing.T) harness {
		t.Helper()
		n++ // a database for each, so that they share no keys
		client := redisscript.Open(redisscript.Options{Addr: server.Addr, DB: n % 16, Timeout: time.Second})
		t.Cleanup(func() { _ = client.Close() })
		return harness{NewRedis(client), func(d time.Duration) {
			if err := clock.Sleep(t.Context(), clock.Real(), d+time.Millisecond); err != nil {
				t.Error(err)
			}
		}}
	})
}

func TestRealRedisIsShared(t *testing.T) {
	server := testkit.Redis(t)
	var limiters []Limiter
	for range 2 {
		client := redisscript.Open(redisscript.Options{Addr: server.Addr, Timeout: time.Second})
		t.Cleanup(func() { _ = client.Close() })
		limiters = append(limiters, NewRedis(client))
	}
	// So slow a rate that none comes back while the test runs.
	l := Limit{Requests: 1, Period: time.Hour, Burst: 100}
	if got := rush(t, limiters, l); got != 100 {
		t.Fatalf("%d admitted, want 100", got)
	}
}

func TestRealRedisGoesAwayAndComesBack(t *testing.T) {
	server := testkit.Redis(t)
	client := redisscript.Open(redisscript.Options{Addr: server.Addr, Timeout: 50 * time.Millisecond})
	defer client.Close()
	g := NewGuarded(NewRedis(client), NewMemory(clock.Real(), 100), 50*time.Millisecond, nil)
	ask := func() Decision {
		d, err := g.Allow(t.Context(), "k", 1, PerMinute(10000))
		if err != nil || !d.Allowed {
			t.Fatalf("%+v, %v", d, err)
		}
		return d
	}
	if d := ask(); d.Local {
		t.Fatal("Redis is there and was not asked")
	}
	server.Kill()
	for i := range 20 {
		if d := ask(); !d.Local {
			t.Fatalf("request %s was decided by a Redis that is not there", strconv.Itoa(i))
		}
	}
	server.Restart()
	for d := ask(); d.Local; d = ask() {
		if err := clock.Sleep(t.Context(), clock.Real(), 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}
