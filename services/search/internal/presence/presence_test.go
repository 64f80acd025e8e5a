package presence

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/store"
)

// parts are a store and indexes in memory; they are changed while Run waits.
type parts struct {
	mu               sync.Mutex
	upcoming         []store.Upcoming
	indexed, failing bool
	err              error
	told             []string
}

func (p *parts) Upcoming(context.Context) ([]store.Upcoming, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.upcoming, p.err
}

func (p *parts) Follows(_ context.Context, c store.Collection, process string, indexed bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, fmt.Sprint(process, " ", c.IndexName(), " ", indexed))
	return nil
}

func (p *parts) Indexed(store.Collection) (indexed, failing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.indexed, p.failing
}

func (p *parts) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *parts) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.told = nil }()
	return p.told
}

func TestWhatThereIsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &parts{err: fmt.Errorf("the database is away")}
		a := New(Options{
			Store: p, Indexes: p, Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler),
			Process: "me", Poll: time.Second, Lease: 15 * time.Second,
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		c := store.Collection{UID: "u", EmbeddingGeneration: 2}
		for _, step := range []struct {
			what   string
			change func()
			after  time.Duration
			want   []string
		}{
			{"the store is away", func() {}, 3 * time.Second, nil},
			{"nothing is to serve", func() { p.err = nil }, time.Minute, nil},
			{"one is built", func() { p.upcoming = []store.Upcoming{{Collection: c}} }, time.Second, []string{"me u.g2 false"}},
			{"it is told seldom", func() {}, 4 * time.Second, nil},
			{"and again", func() {}, time.Second, []string{"me u.g2 false"}},
			{"an index from before does not count", func() { p.indexed = true }, time.Second, nil},
			{"it is ready and here", func() { p.upcoming = []store.Upcoming{{Collection: c, Ready: true}} }, time.Second, []string{"me u.g2 true"}},
			{"it cannot be made", func() { p.indexed, p.failing = false, true }, time.Minute, nil},
			{"it can again", func() { p.failing = false }, time.Second, []string{"me u.g2 false"}},
			{"it serves", func() { p.upcoming = nil }, time.Minute, nil},
			{"another try", func() { p.upcoming = []store.Upcoming{{Collection: c}} }, time.Second, []string{"me u.g2 false"}},
		} {
			p.set(step.change)
			<-time.After(step.after + time.Millisecond)
			synctest.Wait()
			if got := p.take(); !reflect.DeepEqual(got, step.want) {
				t.Errorf("%s: told %q, want %q", step.what, got, step.want)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
