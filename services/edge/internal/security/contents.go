package security

import (
	"context"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/auditcontent"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// openContents opens what keeps calls' contents; the trail must be there.
func (s *Security) openContents(ctx context.Context, cfg Config, d Deps, db *sqldb.DB) error {
	store := auditcontent.NewSQLStore(db)
	if cfg.Audit.Content.Key != "" {
		m, err := metrics.NewContents(d.Telemetry.Meter(metrics.Scope))
		if err != nil {
			return err
		}
		s.Contents, err = auditcontent.New(ctx, auditcontent.Deps{
			Config: cfg.Audit.Content, Store: store, Room: s.trail, Codec: jsoncodec.New(jsoncodec.Options{}),
			Clock: d.Clock, Log: d.Telemetry.Logger, Metrics: m,
		})
		if err != nil {
			return err
		}
	}
	var trail auditcontent.Trail
	if s.proof.listed {
		trail = s.trail.Contents(s.proof.sink)
	}
	s.ContentAdmin = auditcontent.NewServer(s.Contents, store, trail, d.Clock.Now, d.Telemetry.Logger)
	return nil
}
