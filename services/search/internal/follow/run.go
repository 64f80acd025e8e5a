package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/store"
)

// State is how far the indexes have followed.
type State struct {
	// Store is why the store cannot be asked what there is to follow.
	Store error
	// Indexes is why a collection is not followed to the present.
	Indexes error
	// Searchable: each collection has an index that answers, be it of an earlier
	// generation.
	Searchable bool
	// Behind is how many generations the indexes have still to follow, over all
	// collections, and Lag how long the oldest of them has been behind.
	Behind int64
	Lag    time.Duration
	// Collections, Documents and Chunks are how many the store has.
	Collections, Documents, Chunks int
}

// Run opens every collection's index and then follows what is written: by this
// process without waiting (Notify), by others within Poll. Each time it calls
// report. It returns when ctx ends.
func (f *Follower) Run(ctx context.Context, report func(State)) error {
	ticker := f.o.Clock.NewTicker(f.o.Poll)
	defer ticker.Stop()
	var lag lag
	for started := false; ; {
		state := f.followAll(ctx, !started)
		if ctx.Err() == nil {
			now := f.o.Clock.Now()
			lag.note(now, state.Behind > 0)
			state.Lag = lag.at(now)
			report(state)
			if err := errors.Join(state.Store, state.Indexes); err != nil {
				f.o.Logger.WarnContext(ctx, "not every collection is followed", telemetry.Err(err))
			}
		}
		started = started || state.Store == nil && state.Indexes == nil
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		case <-f.wake:
		}
	}
}

// lag is since when something has been behind.
type lag struct{ since time.Time }

func (l *lag) note(now time.Time, behind bool) {
	switch {
	case !behind:
		l.since = time.Time{}
	case l.since.IsZero():
		l.since = now
	}
}

func (l *lag) at(now time.Time) time.Duration {
	if l.since.IsZero() {
		return 0
	}
	return now.Sub(l.since)
}

// followAll brings every collection up to the present. What cannot be followed
// now is tried again the next time.
func (f *Follower) followAll(ctx context.Context, clean bool) State {
	all, err := f.o.Store.AllCollections(ctx)
	if err != nil {
		return State{Store: err}
	}
	out := State{Searchable: true, Collections: len(all)}
	var errs []error
	for _, c := range all {
		out.Documents, out.Chunks = out.Documents+c.DocumentCount, out.Chunks+c.ChunkCount
		_, err := f.CatchUp(ctx, c, c.Generation)
		if apierr.ReasonOf(err) == apierr.NotFound {
			continue
		}
		if err != nil {
			errs = append(errs, err)
		}
		at := f.handle(c.UID).sequence()
		out.Searchable = out.Searchable && at > 0
		out.Behind += max(0, c.Generation-at)
		if ctx.Err() != nil {
			out.Indexes = context.Cause(ctx)
			return out
		}
	}
	if clean {
		errs = append(errs, f.dropUnknown(ctx, all))
	}
	out.Indexes = errors.Join(errs...)
	return out
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
