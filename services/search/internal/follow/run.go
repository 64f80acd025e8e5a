package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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
	all, err := f.targets(ctx)
	if err != nil {
		return State{Store: err}
	}
	out := State{Searchable: true}
	var errs []error
	for _, t := range all {
		c := t.collection
		_, err := f.CatchUp(ctx, c, t.to)
		if apierr.ReasonOf(err) == apierr.NotFound || Superseded(err) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
		}
		if t.serves {
			at := f.handle(c.IndexName()).sequence()
			out.Searchable = out.Searchable && at > 0
			out.Behind += max(0, t.to-at)
			out.Collections++
			out.Documents, out.Chunks = out.Documents+c.DocumentCount, out.Chunks+c.ChunkCount
		}
		if ctx.Err() != nil {
			out.Indexes = context.Cause(ctx)
			return out
		}
		f.renew(ctx, t.collection)
	}
	f.show(ctx, all)
	errs = append(errs, f.dropUnknown(ctx, all, clean))
	out.Indexes = errors.Join(errs...)
	return out
}

// target is an index and the generation that it is to follow to.
type target struct {
	collection store.Collection
	to         int64
	serves     bool
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
		out = append(out, target{c, c.Generation, true})
	}
	live, err := f.o.Store.LiveOf(ctx, all)
	if err != nil {
		return nil, err
	}
	for _, l := range live {
		if l.State == store.Ready || l.State == store.Retired {
			out = append(out, target{l.Collection, l.Through, false})
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
