package store

import (
	"context"

	"github.com/poterne/poterne/pkg/sqldb"
)

// notifyChannel is where PostgreSQL tells of every commit.
const notifyChannel = "poterne_registry"

// Listen calls wake whenever some process has committed a change; see sqldb.Listen.
// Where it hears nothing, the watchers are left to the poll.
func Listen(ctx context.Context, cfg sqldb.Config, wake func()) error {
	return sqldb.Listen(ctx, cfg, notifyChannel, wake)
}
