package sim

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

func TestPrefixCache(t *testing.T) {
	r := newRig(t, nil)
	system := strings.Repeat("You are a gate. ", 20) // 80 tokens
	ask := func(q string) chatAnswer {
		_, body := r.post("/v1/chat/completions", `{"messages":[{"role":"system","content":"`+system+`"},{"role":"user","content":"`+q+`"}],"max_tokens":2}`)
		var a chatAnswer
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	if n := ask("one").Usage.Details.Cached; n != 0 {
		t.Errorf("a new prompt had %d tokens in the cache", n)
	}
	if n := ask("two").Usage.Details.Cached; n < 64 || n > 80 {
		t.Errorf("a shared beginning had %d tokens in the cache", n)
	}
	metrics := r.get("/metrics")
	for _, name := range []string{metricHits, metricQueries, metricPrompt, metricGeneration, metricRunning, metricWaiting, metricMemory, metricAborted} {
		if !strings.Contains(metrics, "\n"+name+`{model_name="sim/m@v1",engine="0"} `) {
			t.Errorf("no %s in %s", name, metrics)
		}
	}
}

func TestPrefixCacheForgets(t *testing.T) {
	c := newPrefixCache(10 * blockTokens)
	long := strings.Repeat("abcdefgh", 64) // eight blocks
	if c.visit(long, 1000) != 0 || c.visit(long, 1000) != 128 {
		t.Fatal("what was seen is not there")
	}
	c.visit(strings.Repeat("12345678", 64), 1000)
	if n := c.visit(long, 1000); n > 32 {
		t.Errorf("%d tokens are there that there is no room for", n)
	}
	if len(c.seen) > 10 {
		t.Errorf("%d blocks of 10", len(c.seen))
	}
}

// Requests wait for slots and for memory, first come first served, and those
// whose client leaves make room.
func TestScheduler(t *testing.T) {
	s := newScheduler(2, 100, 2)
	ctx := t.Context()
	for range 2 {
		if err := s.acquire(ctx, 30); err != nil {
			t.Fatal(err)
		}
	}
	gone, leave := context.WithCancel(ctx)
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- s.acquire(gone, 90) }()
	waitFor(t, s, 1)
	go func() { second <- s.acquire(ctx, 40) }()
	waitFor(t, s, 2)
	if err := s.acquire(ctx, 1); err == nil {
		t.Error("more wait than may")
	}
	s.release(30)
	if _, waiting, _ := s.usage(); waiting != 2 {
		t.Error("a small request overtook a large one")
	}
	leave()
	if err := <-first; err == nil {
		t.Error("a request whose client has gone was given a slot")
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	if running, waiting, memory := s.usage(); running != 2 || waiting != 0 || math.Abs(memory-0.7) > 1e-9 {
		t.Errorf("running %d, waiting %d, memory %v", running, waiting, memory)
	}
	s.release(30)
	s.release(40)
	if err := s.acquire(ctx, 1_000_000); err != nil {
		t.Error("a request larger than everything does not even run alone")
	}
}

func waitFor(t *testing.T, s *scheduler, waiting int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, n, _ := s.usage(); n == waiting {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal("nobody waits")
		}
	}
}
