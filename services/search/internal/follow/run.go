package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Run opens every collection's index and then follows what is written: by this
// process without waiting (Notify), by others within Poll. Each time it calls
// report: with nil when every collection is followed, else with why one is not.
// It returns when ctx ends.
func (f *Follower) Run(ctx context.Context, report func(error)) error {
	ticker := f.o.Clock.NewTicker(f.o.Poll)
	defer ticker.Stop()
	for started := false; ; {
		err := f.followAll(ctx, !started)
		if ctx.Err() == nil {
			report(err)
			if err != nil {
				f.o.Logger.WarnContext(ctx, "not every collection is followed", telemetry.Err(err))
			}
		}
		started = started || err == nil
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		case <-f.wake:
		}
	}
}

// followAll brings every collection up to the present. What cannot be followed
// now is tried again the next time.
func (f *Follower) followAll(ctx context.Context, clean bool) error {
	all, err := f.targets(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range all {
		if _, err := f.CatchUp(ctx, t.collection, t.to); err != nil && apierr.ReasonOf(err) != apierr.NotFound && !Superseded(err) {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f.renew(ctx, t.collection)
	}
	f.show(ctx, all)
	errs = append(errs, f.dropUnknown(ctx, all, clean))
	return errors.Join(errs...)
}

// target is an index and the generation that it is to follow to.
type target struct {
	collection store.Collection
	to         int64
}

// targets returns what is followed: of every collection the embedding generation
// that serves, and those that may serve next.
func (f *Follower) targets(ctx context.Context) ([]target, error) {
	all, err := f.o.Store.AllCollections(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]target, 0, len(all))
	for _, c := range all {
		out = append(out, target{c, c.Generation})
	}
	live, err := f.o.Store.Live(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range live {
		if l.State == store.Ready || l.State == store.Retired {
			out = append(out, target{l.Collection, l.Through})
		}
	}
	return out, nil
}

// dropUnknown removes indexes of collections and embedding generations that are
// gone: of those that are open, and at the start of all, for a process may have
// ended between the two.
func (f *Follower) dropUnknown(ctx context.Context, known []target, start bool) error {
	names := f.open()
	var errs []error
	if start {
		kept, err := f.o.Index.Names(ctx)
		if err != nil {
			return fmt.Errorf("follow: %w", err)
		}
		for _, name := range kept {
			names = append(names, base(name))
			errs = append(errs, f.dropOutdated(ctx, name))
		}
	}
	keep := make(map[string]bool, len(known))
	for _, t := range known {
		keep[t.collection.IndexName()] = true
	}
	for _, name := range names {
		if keep[name] {
			continue
		}
		// It may have been created since the list was read.
		fresh, err := f.targets(ctx)
		if err != nil {
			return err
		}
		for _, t := range fresh {
			keep[t.collection.IndexName()] = true
		}
		if keep[name] {
			continue
		}
		f.o.Logger.InfoContext(ctx, "an index without a collection is removed", slog.String("index", name))
		if err := f.Drop(ctx, name); err != nil {
			return fmt.Errorf("follow: %w", err)
		}
		keep[name] = true // once
	}
	return errors.Join(errs...)
}

// open returns the names of the indexes that are open.
func (f *Follower) open() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.handles))
}
