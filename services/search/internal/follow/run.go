package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

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
	all, err := f.o.Store.AllCollections(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range all {
		if _, err := f.CatchUp(ctx, c, c.Generation); err != nil && apierr.ReasonOf(err) != apierr.NotFound {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if clean {
		errs = append(errs, f.dropUnknown(ctx, all))
	}
	return errors.Join(errs...)
}

// dropUnknown removes indexes of collections that are gone: a process may have
// ended between the two.
func (f *Follower) dropUnknown(ctx context.Context, known []store.Collection) error {
	names, err := f.o.Index.Names(ctx)
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	keep := make(map[string]bool, len(known))
	for _, c := range known {
		keep[c.UID] = true
	}
	for _, name := range names {
		if keep[name] {
			continue
		}
		// A collection may have been created since the list was read.
		fresh, err := f.o.Store.AllCollections(ctx)
		if err != nil {
			return err
		}
		for _, c := range fresh {
			keep[c.UID] = true
		}
		if keep[name] {
			continue
		}
		f.o.Logger.InfoContext(ctx, "an index without a collection is removed", slog.String("collection", name))
		if err := f.Drop(ctx, store.Collection{UID: name}); err != nil {
			return fmt.Errorf("follow: %w", err)
		}
	}
	return nil
}
