package security

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/usage"
	"github.com/poterne/poterne/services/edge/internal/webhook"
)

// openWebhooks has tenants be told of what happens to their budgets, where there is a
// key for webhooks' secrets; else it returns nil.
func (s *Security) openWebhooks(cfg Config, d Deps, db *sqldb.DB) (usage.Notices, error) {
	c, store, log := cfg.Webhooks, webhook.NewSQLStore(db), d.Telemetry.Logger
	if c.Key == "" || !cfg.Usage.Enabled {
		s.Webhooks = webhook.NewServer(webhook.ServerDeps{Store: store, Clock: d.Clock, IDs: d.IDs, Log: log})
		return nil, nil //nolint:nilnil // nobody is told
	}
	zone, err := time.LoadLocation(cfg.Usage.Timezone)
	if err != nil {
		return nil, fmt.Errorf("usage.timezone: %w", err)
	}
	sender, err := webhook.NewSender(c, d.Clock)
	if err != nil {
		return nil, err
	}
	counted, err := metrics.NewWebhooks(d.Telemetry.Meter(metrics.Scope))
	if err != nil {
		return nil, err
	}
	s.Webhooks = webhook.NewServer(webhook.ServerDeps{Store: store, Sender: sender, Clock: d.Clock, IDs: d.IDs, Log: log})
	notices := webhook.NewNotices(webhook.NoticesDeps{DB: db, Zone: zone, Clock: d.Clock, IDs: d.IDs, Log: log})
	deliverer := webhook.NewDeliverer(webhook.DelivererDeps{
		Config: c, Store: store, Sender: sender, Clock: d.Clock, Random: rand.Float64, Attempted: counted.Attempted, Log: log,
	})
	s.hooks = append(deliverer.Components(), notices.Component())
	return notices, nil
}
