package rebuild

import (
	"context"
	"errors"
	"sync"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/store"
)

// held runs fn with the lease on c's embedding generation, which is renewed
// meanwhile. In this process, too, one at a time works on it.
func (b *Builder) held(ctx context.Context, c store.Collection, fn func(context.Context, store.Lease) error) error {
	turn := b.turn(c.IndexName())
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	lease, err := b.o.Store.Lease(ctx, c, b.o.Holder, b.o.Lease)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		for clock.Sleep(ctx, b.o.Clock, b.o.Lease/3) == nil {
			if _, err := b.o.Store.Lease(ctx, c, b.o.Holder, b.o.Lease); errors.Is(err, store.ErrLeaseLost) {
				cancel(err)
			}
		}
	})
	defer renewing.Wait()
	defer cancel(nil)
	err = fn(ctx, lease)
	if lost := context.Cause(ctx); err != nil && errors.Is(lost, store.ErrLeaseLost) {
		return lost
	}
	return err
}

func (b *Builder) turn(name string) chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.turns[name]
	if t == nil {
		t = make(chan struct{}, 1)
		b.turns[name] = t
	}
	return t
}
