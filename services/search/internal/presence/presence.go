// Package presence tells the processes that share a store which embedding
// generations this one has indexes of. The one that builds waits for the others
// before it switches: their searches would otherwise have to wait until they have
// made theirs. Start reading at Announcer.Run.
package presence

import (
	"context"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Store is where it is told; *store.Store is one.
type Store interface {
	Upcoming(ctx context.Context) ([]store.Upcoming, error)
	Follows(ctx context.Context, c store.Collection, process string, indexed bool) error
}

// Indexes knows what this process has; *follow.Follower is one.
type Indexes interface {
	// Indexed reports whether there is an index that answers, and whether the last
	// attempt to make it failed.
	Indexed(c store.Collection) (indexed, failing bool)
}

// Options is what an announcer needs.
type Options struct {
	Store   Store
	Indexes Indexes
	Clock   clock.Clock
	Logger  *slog.Logger
	// Process names this process among those that share the store.
	Process string
	// Poll is how often it is looked at what there is to tell, and Lease after how
	// long nobody waits any more for a process that has told nothing.
	Poll, Lease time.Duration
}

// Announcer tells. It is used by one goroutine.
type Announcer struct {
	o    Options
	told map[string]told // by index name
}

// told is what was told last of an embedding generation, and when.
type told struct {
	at      time.Time
	indexed bool
}

// New returns an announcer. Run does its work.
func New(o Options) *Announcer { return &Announcer{o: o, told: make(map[string]told)} }

// Run tells until ctx ends. While no embedding generation is to serve it writes
// nothing.
func (a *Announcer) Run(ctx context.Context) error {
	ticker := a.o.Clock.NewTicker(a.o.Poll)
	defer ticker.Stop()
	for {
		if err := a.round(ctx); err != nil && ctx.Err() == nil {
			a.o.Logger.WarnContext(ctx, "others are not told which indexes there are", telemetry.Err(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

func (a *Announcer) round(ctx context.Context) error {
	upcoming, err := a.o.Store.Upcoming(ctx)
	if err != nil {
		return err
	}
	known := a.told
	a.told = make(map[string]told, len(upcoming))
	for _, u := range upcoming {
		name, now := u.Collection.IndexName(), a.o.Clock.Now()
		indexed, failing := a.o.Indexes.Indexed(u.Collection)
		// An embedding generation that is tried again may have one from before.
		indexed = indexed && u.Ready
		last, before := known[name]
		if before {
			a.told[name] = last
		}
		switch {
		case !indexed && failing:
			continue // nobody is to wait for what may never be
		case before && last.indexed == indexed && now.Sub(last.at) < a.o.Lease/3:
			continue
		}
		if err := a.o.Store.Follows(ctx, u.Collection, a.o.Process, indexed); err != nil {
			return err
		}
		a.told[name] = told{now, indexed}
	}
	return nil
}
