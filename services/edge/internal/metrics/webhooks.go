package metrics

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const nameWebhookAttempts = "poterne.edge.webhook.attempts" // by outcome: delivered, failed or dead

// Webhooks counts what comes of telling webhooks. It is safe for concurrent use.
type Webhooks struct{ attempts metric.Int64Counter }

// NewWebhooks makes the instruments.
func NewWebhooks(m metric.Meter) (*Webhooks, error) {
	attempts, err := m.Int64Counter(nameWebhookAttempts, metric.WithDescription("Attempts to tell a webhook an event, by outcome; of a dead one nothing is tried again."))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return &Webhooks{attempts}, nil
}

// Attempted counts an attempt.
func (w *Webhooks) Attempted(ctx context.Context, outcome string) {
	w.attempts.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}
