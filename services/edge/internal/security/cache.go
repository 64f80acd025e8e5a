package security

import (
	"context"
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/respcache"
	"github.com/poterne/poterne/services/edge/internal/serving"
	"github.com/poterne/poterne/services/edge/internal/sharedsecret"
)

// cacheSecret is the row that holds the key by which shared answers are sealed.
const cacheSecret = "response-cache"

// openCache makes the response cache, where one is configured. It is here since it
// shares the store.
func (s *Security) openCache(ctx context.Context, cfg respcache.Config, d Deps, db *sqldb.DB) error {
	if !cfg.Enabled {
		s.CacheAdmin = respcache.NewServer(respcache.ServerDeps{})
		return nil
	}
	m, err := metrics.NewCache(d.Telemetry.Meter(metrics.Scope))
	if err != nil {
		return err
	}
	secret, err := sharedsecret.Load(ctx, db, d.Random, cacheSecret)
	if err != nil {
		return err
	}
	purges, err := respcache.NewPurges(ctx, respcache.NewSQLStore(db), d.Clock, d.Telemetry.Logger)
	if err != nil {
		return err
	}
	var shared respcache.Shared
	if cfg.Shared.Backend != "" {
		if d.OpenSharedCache == nil {
			return errors.New("cache.shared.backend: this program is built without clients for it; poterne-edge has them")
		}
		if shared, err = d.OpenSharedCache(cfg.Shared); err != nil {
			return fmt.Errorf("cache.shared: %w", err)
		}
	}
	s.Cache, err = respcache.New(ctx, respcache.Deps{
		Config: cfg, Secret: secret, Purges: purges, Metrics: m, Clock: d.Clock, Log: d.Telemetry.Logger, Shared: shared,
	})
	if err != nil {
		return err
	}
	s.close = append(s.close, s.Cache.Close)
	s.CacheAdmin = respcache.NewServer(respcache.ServerDeps{Cache: s.Cache, Keys: s.keys, Model: s.knows, Clock: d.Clock})
	return s.openServing(cfg, d)
}

// openServing has the cache remember for a moment what would answer. What it follows is
// the registry as policies see it.
func (s *Security) openServing(cfg respcache.Config, d Deps) error {
	if cfg.RememberServing <= 0 {
		return nil
	}
	m, err := metrics.NewResolutions(d.Telemetry.Meter(metrics.Scope))
	if err != nil {
		return err
	}
	s.Serving, err = serving.New(serving.Options{Registry: s.models, Clock: d.Clock, For: cfg.RememberServing, Metrics: m})
	return err
}
