package batches

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// A tenant with a thousand lines that wait does not keep another one from its turn.
func TestTenantsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2)
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		begin := func(tenant string) {
			all.Go(func() {
				if err := s.acquire(t.Context(), tenant); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, tenant)
				mu.Unlock()
				<-time.After(time.Second)
				s.release()
			})
		}
		for range 100 {
			begin("many")
		}
		synctest.Wait()
		for range 3 {
			begin("few")
		}
		all.Wait()
		last := 0
		for i, tenant := range order {
			if tenant == "few" {
				last = i
			}
		}
		if last > 2+2*3+1 {
			t.Errorf("the last of the few is number %d", last)
		}
		if s.free != 2 || len(s.turns) != 0 || len(s.waiting) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWhoLeavesTheQueueTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		if err := s.acquire(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if s.acquire(ctx, "b") == nil {
					s.release()
				}
			})
		}
		synctest.Wait()
		all.Go(cancel)
		all.Go(s.release) // at once: some get it, and give it back
		all.Wait()
		if s.free != 1 || len(s.turns) != 0 || len(s.waiting) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(16)
		for range 200 {
			w.answered()
		}
		if w.size < 15.9 || w.size > 16 {
			t.Errorf("it grew to %v", w.size)
		}
		now := time.Now()
		for range 5 { // one second's worth of refusals are one
			w.crowded(now)
		}
		if w.size != 8 {
			t.Errorf("it shrank to %v", w.size)
		}
		for range 10 {
			now = now.Add(time.Second)
			w.crowded(now)
		}
		if w.size != 1 {
			t.Errorf("it shrank to %v", w.size)
		}
		if err := w.enter(t.Context(), clock.Real()); err != nil {
			t.Fatal(err)
		}
		entered := make(chan error)
		go func() { entered <- w.enter(t.Context(), clock.Real()) }()
		synctest.Wait()
		select {
		case err := <-entered:
			t.Errorf("there was no room: %v", err)
		default:
		}
		w.leave()
		if err := <-entered; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if w.enter(ctx, clock.Real()) == nil {
			t.Error("there was no room")
		}
		w.leave()
		began := time.Now()
		w.hold(began.Add(time.Minute))
		w.hold(began.Add(time.Second)) // the longer one holds
		if err := w.enter(t.Context(), clock.Real()); err != nil || time.Since(began) != time.Minute {
			t.Errorf("it entered after %v: %v", time.Since(began), err)
		}
	})
}

// A batch leaves half of its maker's limits to requests that somebody waits for.
func TestHalfOfALimitIsSpared(t *testing.T) {
	for _, c := range []struct {
		limit, remaining, reset, tokens string // of tokens: remaining of 1000, in a minute
		want                            time.Duration
	}{
		{"", "", "", "", 0},
		{"600", "600", "0s", "", 0},
		{"600", "300", "30s", "", 0},
		{"600", "200", "40s", "", 10 * time.Second},
		{"600", "0", "1m0s", "", 30 * time.Second},
		{"600", "200", "40s", "0", 30 * time.Second},
		{"600", "200", "40s", "900", 10 * time.Second},
		{"0", "0", "1m0s", "", 0},
		{"x", "0", "1m0s", "", 0},
		{"600", "-1", "1m0s", "", 0},
		{"600", "0", "-1m", "", 0},
		{"600", "0", "1000h", "", maxSpare},
	} {
		h := make(http.Header)
		set := func(key, value string) {
			if value != "" {
				h.Set(key, value)
			}
		}
		set("X-Ratelimit-Limit-Requests", c.limit)
		set("X-Ratelimit-Remaining-Requests", c.remaining)
		set("X-Ratelimit-Reset-Requests", c.reset)
		if c.tokens != "" {
			set("X-Ratelimit-Limit-Tokens", "1000")
			set("X-Ratelimit-Remaining-Tokens", c.tokens)
			set("X-Ratelimit-Reset-Tokens", "1m0s")
		}
		if got := spare(h); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
