package metrics

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// nameBans is by cause.
const nameBans = "poterne.edge.bans.imposed"

// Bans counts bans. It is safe for concurrent use, and a nil one counts nothing.
type Bans struct{ imposed metric.Int64Counter }

// NewBans makes the instruments.
func NewBans(m metric.Meter) (*Bans, error) {
	imposed, err := m.Int64Counter(nameBans, metric.WithDescription("Addresses that this edge banned on its own, by cause."))
	return &Bans{imposed: imposed}, err
}

// Banned counts an address that is banned; cause is one of package ban's.
func (b *Bans) Banned(ctx context.Context, cause string) {
	if b != nil {
		b.imposed.Add(ctx, 1, metric.WithAttributes(attribute.String("cause", cause)))
	}
}
