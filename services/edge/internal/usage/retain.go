package usage

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
)

const (
	// retainEvery is how often old entries are looked for, and retainPause is left to
	// others between two turns.
	retainEvery = time.Hour
	retainPause = 100 * time.Millisecond
)

// retain forgets single requests that are older than is kept.
func (u *Usage) retain(ctx context.Context) error {
	return lifecycle.Every(ctx, u.d.Clock, retainEvery, nil, func(ctx context.Context) error {
		if err := u.fold(ctx); err != nil && ctx.Err() == nil {
			u.d.Log.WarnContext(ctx, "old entries of usage cannot be folded; it is tried again", telemetry.Err(err))
		}
		return nil
	})
}

func (u *Usage) fold(ctx context.Context) error {
	for {
		n, err := u.store.Fold(ctx, u.d.Clock.Now().Add(-u.cfg.Retention))
		if err != nil || n == 0 {
			return err
		}
		if err := clock.Sleep(ctx, u.d.Clock, retainPause); err != nil {
			return err
		}
	}
}
