package conversation

import (
	"context"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
)

// The pace of forgetting.
const (
	purgeInterval = time.Minute
	purgeBatch    = 1000
)

// Component forgets what has expired, and ends the summaries in the making with the
// process.
func (m *Memory) Component() lifecycle.Component {
	return lifecycle.Component{Name: "edge: conversations", Run: func(ctx context.Context) error {
		ends := make(chan struct{})
		m.ends.Store(&ends)
		defer m.wait.Wait()
		defer close(ends)
		return lifecycle.Every(ctx, m.Clock, purgeInterval, nil, func(ctx context.Context) error {
			m.purge(ctx)
			return nil
		})
	}}
}

func (m *Memory) purge(ctx context.Context) {
	for {
		n, err := m.Store.Purge(ctx, m.Clock.Now(), purgeBatch)
		if err != nil && ctx.Err() == nil {
			m.Log.WarnContext(ctx, "expired conversations could not be forgotten", telemetry.Err(err), slog.Int("count", n))
		}
		if err != nil || n < purgeBatch {
			return
		}
	}
}
