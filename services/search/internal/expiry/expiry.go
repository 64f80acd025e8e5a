// Package expiry removes documents that have ended, from the truth and so from
// every index. Nobody is shown them from the moment they end; this frees what they
// take. Start reading at Sweeper.Run.
package expiry

import (
	"context"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Store is where documents end; *store.Store is one.
type Store interface {
	// Expired returns collections, at most limit, with documents that have ended.
	Expired(ctx context.Context, limit int) ([]store.Collection, error)
	// RemoveExpired removes at most limit of them and returns how many.
	RemoveExpired(ctx context.Context, c store.Collection, limit int) (int, error)
}

// Options is what a sweeper needs.
type Options struct {
	Store  Store
	Clock  clock.Clock
	Logger *slog.Logger
	// Interval is how long a document may be there that has ended.
	Interval time.Duration
	// Batch is how many are removed as one change, and between two of which others
	// write.
	Batch int
	// Removed is told after each change, so that indexes follow.
	Removed func()
}

// Sweeper removes documents that have ended.
type Sweeper struct{ o Options }

// New returns a sweeper.
func New(o Options) *Sweeper { return &Sweeper{o: o} }

// sweepCollections is how many collections one round looks at.
const sweepCollections = 100

// Run sweeps until ctx ends. What fails is tried again in the next round.
func (s *Sweeper) Run(ctx context.Context) error {
	ticker := s.o.Clock.NewTicker(s.o.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.o.Logger.WarnContext(ctx, "documents that have ended are not removed", telemetry.Err(err))
		}
	}
}

// sweep removes what has ended: a batch of each collection in turn, so that a
// large one does not keep the others waiting.
func (s *Sweeper) sweep(ctx context.Context) error {
	for {
		pending, err := s.o.Store.Expired(ctx, sweepCollections)
		if err != nil {
			return err
		}
		removed := 0
		for _, c := range pending {
			n, err := s.o.Store.RemoveExpired(ctx, c, s.o.Batch)
			if err != nil {
				return err
			}
			if removed += n; n > 0 {
				s.o.Removed()
			}
		}
		if removed == 0 {
			return nil
		}
	}
}
