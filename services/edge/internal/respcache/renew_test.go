package respcache_test

import (
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// A stale answer is made anew by one at a time, of all edges, and not again at once
// when that came to nothing.
func TestRenewals(t *testing.T) {
	clk := clock.NewFake(time.Unix(1_900_000_000, 0))
	s := newStore()
	here, there := cache(t, clk, s, nil), cache(t, clk, s, nil)
	a := ask(t, here, "k", "", "", "")
	one, ok := here.Renew(a.Key)
	if !ok || !one.Mine(t.Context()) {
		t.Fatal("it is nobody's")
	}
	if _, ok := here.Renew(a.Key); ok {
		t.Error("two of one edge make it")
	}
	other, ok := there.Renew(a.Key)
	if !ok || other.Mine(t.Context()) {
		t.Error("two edges make it")
	}
	other.Done()
	if _, ok := there.Renew(a.Key); ok {
		t.Error("the other edge asks again at once")
	}
	one.Done() // it came to nothing
	if _, ok := here.Renew(a.Key); ok {
		t.Error("what failed is tried again at once")
	}
	clk.Advance(10 * time.Second)
	again, ok := here.Renew(a.Key)
	if !ok {
		t.Fatal("it is never tried again")
	}
	here.Keep(a, entry("new"))
	again.Done()
	if _, ok := here.Renew(a.Key); !ok {
		t.Error("what was made anew is not made anew again")
	}
}

func TestRenewalsAreBounded(t *testing.T) {
	c := cache(t, clock.NewFake(time.Unix(1_900_000_000, 0)), nil, nil)
	var running []*respcache.Renewal
	for i := range 1000 {
		r, ok := c.Renew(respcache.Key{byte(i), byte(i >> 8), 1})
		if !ok {
			break
		}
		running = append(running, r)
	}
	if len(running) != 64 {
		t.Fatalf("%d at once", len(running))
	}
	running[0].Done()
	if _, ok := c.Renew(respcache.Key{2}); !ok {
		t.Error("none begins when one has ended")
	}
}

// A shared store that is away keeps nobody from making an answer anew.
func TestRenewalsWithoutTheStore(t *testing.T) {
	s := newStore()
	s.fail = errAway
	c := cache(t, clock.Real(), s, nil)
	r, ok := c.Renew(respcache.Key{1})
	if !ok || !r.Mine(t.Context()) {
		t.Error("it is not made anew")
	}
	r.Done()
}

// Without a memory of its own an edge has all answers in the shared store, and knows
// all the same that one was made anew.
func TestNothingInMemory(t *testing.T) {
	for backend, want := range map[string]bool{"": false, respcache.BackendRedis: true} {
		cfg := respcache.DefaultConfig()
		cfg.MemoryBytes, cfg.Shared.Backend, cfg.Shared.Addrs = 0, backend, []string{"localhost:6379"}
		var p config.Problems
		cfg.Validate(&p, "cache")
		if err := p.Err(); (err == nil) != want {
			t.Errorf("with the store %q: %v", backend, err)
		}
	}
	s := newStore()
	c := cache(t, clock.Real(), s, func(cfg *respcache.Config) { cfg.MemoryBytes = 0 })
	a := ask(t, c, "k", "", "", "")
	r, ok := c.Renew(a.Key)
	if !ok || !c.Keep(a, entry("a")) {
		t.Fatal("it is not kept")
	}
	r.Done()
	s.only(t)
	if n, bytes := c.InMemory(); n != 0 || bytes != 0 {
		t.Errorf("%d answers of %d bytes are in memory", n, bytes)
	}
	if _, state := c.Find(t.Context(), a); state != respcache.Hit {
		t.Errorf("it is %s", state)
	}
	if _, ok := c.Renew(a.Key); !ok {
		t.Error("what was made anew counts as failed")
	}
}
