package security

import (
	"context"
	"errors"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
	"github.com/poterne/poterne/services/edge/internal/limitserver"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/middleware"
)

// limits is what lets requests in.
type limits struct {
	engine     *limitrule.Engine
	components []lifecycle.Component
}

// openLimits puts the limits into force, and their meter of tokens among the meters.
func (s *Security) openLimits(ctx context.Context, cfg Config, d Deps, db *sqldb.DB, m *metrics.Metrics) error {
	count, err := metrics.NewLimits(d.Telemetry.Meter(metrics.Scope), m, d.Telemetry.Logger)
	if err != nil {
		return err
	}
	buckets, slots, err := s.openBuckets(cfg.Limits, d, count)
	if err != nil {
		return err
	}
	s.limits.engine = limitrule.New(buckets, slots, func(ctx context.Context, by limitrule.Dimension, unit limit.Unit) {
		count.Refused(ctx, string(by), string(unit))
	})
	store := limitrule.NewSQLStore(db)
	follower, err := limitrule.NewFollower(ctx, store, cfg.Limits.Rules, s.limits.engine, d.Clock, d.Telemetry.Logger)
	if err != nil {
		return err
	}
	s.limits.components = append(s.limits.components, follower.Component())
	s.LimitAdmin = limitserver.New(limitserver.Deps{
		Store: store, Follower: follower, Engine: s.limits.engine, Platform: cfg.Authz.PlatformTenant, Clock: d.Clock, Log: d.Telemetry.Logger,
		PerMinute: s.perMinute(cfg.Limits.RequestsPerMinute), Classes: limit.Table(),
		Keys: s.keys, Model: s.knows, AnyModel: s.models.Any,
	})
	s.Meters = append(s.Meters, limitrule.NewMeter(s.limits.engine))
	return nil
}

// perMinute returns how the limits of a tenant's keys are looked up.
func (s *Security) perMinute(standard int) func(ctx context.Context, tenant, keyID string) (int, bool, error) {
	return func(ctx context.Context, tenant, keyID string) (int, bool, error) {
		if keyID == "" {
			return standard, true, nil
		}
		r, err := s.keys.Get(ctx, keyID)
		switch {
		case errors.Is(err, apikey.ErrNotFound) || err == nil && r.Tenant != tenant:
			return 0, false, nil
		case err != nil:
			return 0, false, apierr.Wrap(apierr.Unavailable, err, "the store of API keys does not answer")
		case r.RequestsPerMinute > 0:
			return int(r.RequestsPerMinute), true, nil
		default:
			return standard, true, nil
		}
	}
}

// openBuckets counts in this process, or where replicas share their limits.
func (s *Security) openBuckets(cfg middleware.Config, d Deps, count limit.Observer) (limit.Buckets, *limit.Slots, error) {
	if !cfg.Redis.Shared() {
		return limit.NewMemory(d.Clock, cfg.MaxBuckets), limit.NewSlots(limit.SlotsOptions{Clock: d.Clock}), nil
	}
	if d.OpenRedis == nil {
		return nil, nil, errors.New("limits.redis: this program is built without a Redis client; poterne-edge has one")
	}
	scripts := d.OpenRedis(cfg.Redis)
	s.close = append(s.close, scripts.Close)
	name := d.IDs.New()
	leased := limit.NewLeased(limit.LeasedOptions{
		Scripts: scripts, Clock: d.Clock, Name: name, Timeout: cfg.Redis.Timeout, MaxBuckets: cfg.MaxBuckets, Observe: count,
	})
	slots := limit.NewSlots(limit.SlotsOptions{
		Clock: d.Clock, Scripts: scripts, Name: name, Timeout: cfg.Redis.Timeout, Edges: leased.Edges, Away: leased.Away, Observe: count,
	})
	s.limits.components = append(s.limits.components, leased.Components()...)
	s.limits.components = append(s.limits.components, slots.Components()...)
	if d.Edges != nil {
		s.limits.components = append(s.limits.components, lifecycle.Component{Name: "limits: replicas", Run: func(ctx context.Context) error {
			for n := range d.Edges(ctx) {
				leased.Found(n)
			}
			return nil
		}})
	}
	return leased, slots, nil
}
