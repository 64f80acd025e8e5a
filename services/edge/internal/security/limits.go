package security

import (
	"context"
	"errors"

	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
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
	follower, err := limitrule.NewFollower(ctx, limitrule.NewSQLStore(db), cfg.Limits.Rules, s.limits.engine, d.Clock, d.Telemetry.Logger)
	if err != nil {
		return err
	}
	s.limits.components = append(s.limits.components, follower.Component())
	s.Meters = append(s.Meters, limitrule.NewMeter(s.limits.engine))
	return nil
}

// openBuckets counts in this process, or where replicas share their limits.
func (s *Security) openBuckets(cfg middleware.Config, d Deps, count limit.Observer) (limit.Buckets, *limit.Slots, error) {
	if cfg.Redis.Addr == "" {
		return limit.NewMemory(d.Clock, cfg.MaxBuckets), limit.NewSlots(limit.SlotsOptions{Clock: d.Clock}), nil
	}
	if d.OpenRedis == nil {
		return nil, nil, errors.New("limits.redis.addr: this program is built without a Redis client; poterne-edge has one")
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
	return leased, slots, nil
}
