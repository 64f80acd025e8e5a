package metrics

import (
	"context"
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/pkg/telemetry"
)

// The metrics of limits that replicas share.
const (
	nameLimitAsked    = "poterne.edge.limit.store_calls"
	nameLimitAway     = "poterne.edge.limit.store_away"
	nameLimitReplicas = "poterne.edge.limit.replicas"
	nameLimitRefused  = "poterne.edge.limit.rule_refusals" // by counted_by and unit
)

// Limits counts what limits do. It is safe for concurrent use.
type Limits struct {
	asked   metric.Int64Counter
	refused metric.Int64Counter
	away    metric.Int64Gauge
	among   metric.Int64Gauge
	metrics *Metrics
	log     *slog.Logger
}

// NewLimits makes the instruments.
func NewLimits(m metric.Meter, metrics *Metrics, log *slog.Logger) (*Limits, error) {
	asked, err1 := m.Int64Counter(nameLimitAsked, metric.WithDescription("Requests for which the store that replicas share was asked about limits."))
	away, err2 := m.Int64Gauge(nameLimitAway, metric.WithDescription("Whether that store is away, so that this replica counts its share alone: 1 or 0."))
	among, err4 := m.Int64Gauge(nameLimitReplicas, metric.WithDescription("Replicas that share the limits, as last known; while the store is away each has one part of so many."))
	refused, err3 := m.Int64Counter(nameLimitRefused, metric.WithDescription("Requests over a limit, by what the limit is counted by and what it counts."))
	return &Limits{asked: asked, refused: refused, away: away, among: among, metrics: metrics, log: log}, errors.Join(err1, err2, err3, err4)
}

// Asked counts a request that the shared store was asked about.
func (l *Limits) Asked(ctx context.Context) { l.asked.Add(ctx, 1) }

// Local counts a request that this replica decided about alone.
func (l *Limits) Local(ctx context.Context, err error) {
	l.metrics.LimitLocal(ctx)
	l.log.DebugContext(ctx, "this replica limits alone", telemetry.Err(err))
}

// Away tells whether the shared store is asked at all.
func (l *Limits) Away(ctx context.Context, away bool, err error) {
	if away {
		l.away.Record(ctx, 1)
		l.log.WarnContext(ctx, "the store that replicas share their limits in is away: each counts its share alone", telemetry.Err(err))
		return
	}
	l.away.Record(ctx, 0)
	l.log.InfoContext(ctx, "replicas share their limits again")
}

// Replicas tells how many share the limits.
func (l *Limits) Replicas(ctx context.Context, n int) { l.among.Record(ctx, int64(n)) }

// Refused counts a refusal; by is one of package limitrule's dimensions or all, and
// unit one of package limit's.
func (l *Limits) Refused(ctx context.Context, by, unit string) {
	l.metrics.Limited(ctx, by)
	l.refused.Add(ctx, 1, metric.WithAttributes(attribute.String("counted_by", by), attribute.String("unit", unit)))
}
