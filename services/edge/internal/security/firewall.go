package security

import (
	"context"
	"errors"
	"log/slog"

	"github.com/poterne/poterne/services/edge/internal/firewall"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// openFirewall compiles the rules, once, before anything listens: a fraction of a
// second and some megabytes, and nothing at all while it is off.
func openFirewall(ctx context.Context, cfg firewall.Config, d Deps) (*firewall.Firewall, error) {
	if cfg.Mode == firewall.Off {
		return nil, nil //nolint:nilnil // a nil firewall is one that is off
	}
	if d.OpenRules == nil {
		return nil, errors.New("waf.mode: this program is built without the firewall's rules; poterne-edge has them")
	}
	began := d.Clock.Now()
	engine, err := d.OpenRules(cfg)
	if err != nil {
		return nil, err
	}
	m, err := metrics.NewFirewall(d.Telemetry.Meter(metrics.Scope))
	if err != nil {
		return nil, err
	}
	d.Telemetry.Logger.InfoContext(ctx, "the firewall's rules are compiled", slog.String("mode", string(cfg.Mode)),
		slog.Int("paranoia", cfg.Paranoia), slog.Float64(metrics.KeyDuration, float64(d.Clock.Now().Sub(began).Microseconds())/1000))
	return firewall.New(cfg, engine, m)
}
