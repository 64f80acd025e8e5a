package apikey

import (
	"context"
	"fmt"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/follow"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// newCache remembers keys of a store by their ids, so that verifying costs no read.
func newCache(cfg Config, store Store, c clock.Clock, m *metrics.Metrics) (*follow.Cache[Record], error) {
	cache, err := follow.New(store, follow.Options[Record]{
		Name: func(r Record) string { return r.ID }, Revision: func(r Record) int64 { return r.Revision }, NotFound: ErrNotFound,
		Size: cfg.CacheSize, Poll: cfg.PollInterval, StaleFor: cfg.StaleFor, Clock: c,
		Failed: func(ctx context.Context) { m.KeyStoreFailure(ctx) },
	})
	if err != nil {
		return nil, fmt.Errorf("apikey: %w", err)
	}
	return cache, nil
}
