//go:build real

package feed_test

import (
	"context"
	"testing"

	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// The replicas know of each other only through PostgreSQL.
func TestRealWatchersAgreeOnPostgres(t *testing.T) {
	cfg := storetest.Postgres(t)(t)
	watchersAgree(t, cfg, func(ctx context.Context, wake func()) error { return store.Listen(ctx, cfg, wake) })
}
