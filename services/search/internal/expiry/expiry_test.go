package expiry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/store"
)

// ending is documents by when they end, in two collections.
type ending struct {
	mu    sync.Mutex
	docs  map[string][]time.Time
	most  int
	fails int
}

func (e *ending) Expired(context.Context, int) (out []store.Collection, _ error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fails > 0 {
		e.fails--
		return nil, errors.New("the store is away")
	}
	for uid, list := range e.docs {
		if len(list) > 0 && !list[0].After(time.Now()) {
			out = append(out, store.Collection{UID: uid})
		}
	}
	return out, nil
}

func (e *ending) RemoveExpired(_ context.Context, c store.Collection, limit int) (n int, _ error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for list := e.docs[c.UID]; n < limit && len(list) > 0 && !list[0].After(time.Now()); list = list[1:] {
		n++
		e.docs[c.UID] = list[1:]
	}
	e.most = max(e.most, n)
	return n, nil
}

func (e *ending) left() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.docs["a"]) + len(e.docs["b"])
}

func (e *ending) largest() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.most
}

func TestWhatHasEndedIsRemovedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ending{docs: make(map[string][]time.Time), fails: 1}
		for i := range 25 {
			e.docs["a"] = append(e.docs["a"], time.Now().Add(10*time.Second))
			if i < 3 {
				e.docs["b"] = append(e.docs["b"], time.Now().Add(time.Hour))
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		var told atomic.Int32
		s := New(Options{
			Store: e, Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler), Interval: 2 * time.Second, Batch: 10,
			Removed: func() { told.Add(1) },
		})
		go func() { ended <- s.Run(ctx) }()
		<-time.After(9 * time.Second)
		if e.left() != 28 {
			t.Errorf("%d left before their time", e.left())
		}
		<-time.After(4 * time.Second)
		synctest.Wait()
		if e.left() != 3 || told.Load() != 3 || e.largest() != 10 {
			t.Errorf("%d left, told %d times, %d at a time", e.left(), told.Load(), e.largest())
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if e.left() != 0 {
			t.Errorf("%d left", e.left())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
