package security

import (
	"context"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/usage"
)

// openUsage has what models do be billed, unless that is off.
func (s *Security) openUsage(ctx context.Context, cfg Config, d Deps, db *sqldb.DB) error {
	notices, err := s.openWebhooks(cfg, d, db)
	if err != nil {
		return err
	}
	if cfg.Usage.Enabled {
		m, err := metrics.NewUsage(d.Telemetry)
		if err != nil {
			return err
		}
		if s.usage, err = usage.Open(ctx, cfg.Usage, usage.Deps{
			DB: db, DataDir: d.DataDir, Clock: d.Clock, IDs: d.IDs, Log: d.Telemetry.Logger, Metrics: m, Notices: notices,
		}); err != nil {
			return err
		}
		s.close = append(s.close, s.usage.Close)
		s.Meters = append(s.Meters, s.usage.Meter)
	}
	s.Usage = usage.NewServer(s.usage, usage.ServerDeps{
		Authorizer: s.deps.Authorizer, Keys: s.keys, Log: d.Telemetry.Logger,
		Task: s.task(cfg.Authz.PlatformTenant),
	})
	return nil
}
