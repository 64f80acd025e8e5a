// Package lease lets one process among several do what only one may do at a time.
// The lease lies in the database; every write of its holder shows a fence, which
// the store refuses once somebody else holds the lease, so that a holder that
// slept through its loss does no harm. Start reading at Keeper.
package lease

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/registry/internal/metrics"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Store is where leases lie.
type Store interface {
	Lease(ctx context.Context, name string) (store.Lease, error)
	TakeLease(ctx context.Context, name, holder string, seen store.Lease) (store.Lease, error)
	RenewLease(ctx context.Context, f store.Fence) error
	ReleaseLease(ctx context.Context, f store.Fence) error
}

// Keeper tries to hold one lease.
type Keeper struct {
	Store Store
	// Name is the lease's, Holder this process's.
	Name, Holder string
	Clock        clock.Clock
	Logger       *slog.Logger
	// Beat is the time between two signs of life. A holder that gave none for five
	// beats has lost the lease: no clock but that of who watches is asked.
	Beat time.Duration
}

// patience is how many beats a silent holder keeps its lease.
const patience = 5

// Run calls work whenever this process holds the lease, with a context that ends
// when it is lost, until ctx ends. work must return then.
func (k Keeper) Run(ctx context.Context, work func(ctx context.Context, f store.Fence) error) error {
	var (
		seen  store.Lease
		since = k.Clock.Now()
		first = true
	)
	for ctx.Err() == nil {
		now, err := k.Store.Lease(ctx, k.Name)
		switch {
		case err != nil:
			// While nobody can be asked, nobody's silence counts.
			first = true
		case first || now != seen:
			seen, since, first = now, k.Clock.Now(), false
		}
		if err == nil && (now.Holder == "" || k.Clock.Now().Sub(since) >= patience*k.Beat) {
			if taken, err := k.Store.TakeLease(ctx, k.Name, k.Holder, now); err == nil {
				k.hold(ctx, store.Fence{Name: k.Name, Token: taken.Token}, work)
				first = true
			}
		}
		_ = clock.Sleep(ctx, k.Clock, k.Beat) // the loop sees why it ended early
	}
	return nil
}

// hold works while the lease is renewed, and gives it back.
func (k Keeper) hold(ctx context.Context, f store.Fence, work func(ctx context.Context, f store.Fence) error) {
	k.Logger.InfoContext(ctx, "holds the lease", slog.String("lease", k.Name), slog.Int64("token", f.Token))
	working, cancel := context.WithCancel(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		defer cancel()
		k.renew(working, f)
	})
	err := work(working, f)
	cancel()
	renewing.Wait()
	if err != nil && ctx.Err() == nil {
		k.Logger.WarnContext(ctx, "no longer works under the lease", slog.String("lease", k.Name), slog.Any(metrics.KeyError, err))
	}
	// Also when the process ends: the next one need not wait then.
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := k.Store.ReleaseLease(leaving, f); err != nil && apierr.ReasonOf(err) != apierr.Conflict {
		k.Logger.WarnContext(ctx, "the lease is not given back", slog.String("lease", k.Name), slog.Any(metrics.KeyError, err))
	}
}

// renew returns once the lease is lost, or may be.
func (k Keeper) renew(ctx context.Context, f store.Fence) {
	last := k.Clock.Now()
	for clock.Sleep(ctx, k.Clock, k.Beat) == nil {
		err := k.Store.RenewLease(ctx, f)
		switch {
		case err == nil:
			last = k.Clock.Now()
		case errors.Is(err, context.Canceled), apierr.ReasonOf(err) == apierr.Conflict,
			k.Clock.Now().Sub(last) >= (patience-1)*k.Beat:
			return
		}
	}
}
