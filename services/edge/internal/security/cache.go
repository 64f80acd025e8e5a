package security

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/sqldb"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/respcache"
	"github.com/poterne/poterne/services/edge/internal/serving"
	"github.com/poterne/poterne/services/edge/internal/sharedsecret"
)

// cacheSecret is the row that holds the key by which shared answers are sealed.
const cacheSecret = "response-cache"

// patience is how long a purge waits for what is only said beside it.
const patience = time.Second

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
	s.CacheAdmin = respcache.NewServer(respcache.ServerDeps{Cache: s.Cache, Keys: s.keys, Model: s.knows, Collection: hasCollection(d.Search), Clock: d.Clock})
	return s.openServing(cfg, d)
}

// hasCollection returns what asks the search service whether a tenant has a collection;
// true where it does not say.
func hasCollection(search searchv1.SearchServiceClient) func(ctx context.Context, tenant, id string) bool {
	return func(ctx context.Context, tenant, id string) bool {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		caller, _ := identity.FromContext(ctx)
		caller.Tenant = tenant // the policy lets them purge its answers
		_, err := search.GetCollection(identity.NewContext(ctx, caller), &searchv1.GetCollectionRequest{Collection: id})
		return apierr.ReasonOf(err) != apierr.NotFound
	}
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
