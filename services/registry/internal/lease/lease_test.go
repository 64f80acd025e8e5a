package lease

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// table holds one lease, and can be away.
type table struct {
	mu    sync.Mutex
	lease store.Lease
	away  bool
}

func (t *table) do(fn func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away {
		return errors.New("away")
	}
	return fn()
}

func (t *table) Lease(context.Context, string) (l store.Lease, err error) {
	err = t.do(func() error { l = t.lease; return nil })
	return l, err
}

func (t *table) TakeLease(_ context.Context, _, holder string, seen store.Lease) (l store.Lease, err error) {
	err = t.do(func() error {
		if t.lease != seen {
			return apierr.New(apierr.Conflict, "taken")
		}
		t.lease = store.Lease{Holder: holder, Token: seen.Token + 1}
		l = t.lease
		return nil
	})
	return l, err
}

func (t *table) RenewLease(_ context.Context, f store.Fence) error {
	return t.do(func() error {
		if t.lease.Token != f.Token {
			return apierr.New(apierr.Conflict, "taken")
		}
		t.lease.Beat++
		return nil
	})
}

func (t *table) ReleaseLease(_ context.Context, f store.Fence) error {
	return t.do(func() error {
		if t.lease.Token == f.Token {
			t.lease.Holder = ""
			t.lease.Beat++
		}
		return nil
	})
}

// holders notes who works.
type holders struct {
	mu      sync.Mutex
	working map[string]bool
	most    int
	tokens  []int64
}

func (h *holders) work(name string) func(context.Context, store.Fence) error {
	return func(ctx context.Context, f store.Fence) error {
		h.set(name, true)
		defer h.set(name, false)
		h.mu.Lock()
		h.tokens = append(h.tokens, f.Token)
		h.mu.Unlock()
		<-ctx.Done()
		return ctx.Err()
	}
}

func (h *holders) set(name string, on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if on {
		h.working[name] = true
	} else {
		delete(h.working, name)
	}
	h.most = max(h.most, len(h.working))
}

func (h *holders) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.working)
}

func keeper(s Store, name string) Keeper {
	return Keeper{Store: s, Name: "l", Holder: name, Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler), Beat: time.Second}
}

// Of several one works at a time; when it ends the next one need not wait, and when
// it dies without a word the next one works after its silence.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := &table{}, &holders{working: map[string]bool{}}
		// One that died long ago.
		s.lease = store.Lease{Holder: "dead", Token: 7, Beat: 3}
		var all sync.WaitGroup
		defer all.Wait()
		cancels := make(map[string]context.CancelFunc)
		for _, name := range []string{"a", "b", "c"} {
			ctx, cancel := context.WithCancel(t.Context())
			t.Cleanup(cancel)
			cancels[name] = cancel
			all.Go(func() { _ = keeper(s, name).Run(ctx, h.work(name)) })
		}
		<-time.After(4 * time.Second)
		if h.count() != 0 {
			t.Fatal("somebody works while the holder may be alive")
		}
		<-time.After(4 * time.Second)
		for range 3 {
			if h.count() != 1 {
				t.Fatalf("%d work, want one", h.count())
			}
			now, err := s.Lease(t.Context(), "l")
			if err != nil {
				t.Fatal(err)
			}
			cancels[now.Holder]()
			<-time.After(1100 * time.Millisecond)
		}
		all.Wait()
		if h.most != 1 || h.count() != 0 {
			t.Errorf("%d worked at once, %d in the end", h.most, h.count())
		}
		for i, token := range h.tokens {
			if token != int64(8+i) {
				t.Errorf("tokens %v do not grow by one", h.tokens)
			}
		}
	})
}

// A holder that cannot renew stops before another may begin, and begins again once
// the store is back.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := &table{}, &holders{working: map[string]bool{}}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = keeper(s, "a").Run(ctx, h.work("a")) })
		<-time.After(2 * time.Second)
		away := func(on bool) { s.mu.Lock(); s.away = on; s.mu.Unlock() }
		away(true)
		<-time.After(patience * time.Second)
		if h.count() != 0 {
			t.Error("works on with a lease that it may have lost")
		}
		away(false)
		<-time.After((patience + 2) * time.Second)
		if h.count() != 1 {
			t.Error("does not work again")
		}
		cancel()
		all.Wait()
	})
}
