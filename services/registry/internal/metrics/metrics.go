// Package metrics holds the names of everything that the registry counts and
// logs, and the instruments. It knows no other package of the service; start
// reading at New.
package metrics

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Scope is the name of the meter.
const Scope = "github.com/poterne/poterne/services/registry"

// The metrics. The kind of a change is one of a few that the store names.
const (
	nameChanges  = "poterne.registry.changes"
	nameRevision = "poterne.registry.revision"
	nameWatchers = "poterne.registry.watchers"
	nameTries    = "poterne.registry.webhook.tries"

	nameRollouts  = "poterne.registry.rollouts"
	nameDecisions = "poterne.registry.rollout.decisions"

	nameUploaded      = "poterne.registry.artifacts.uploaded"
	nameKept          = "poterne.registry.uploads.received"
	nameSwept         = "poterne.registry.artifacts.deleted"
	nameArtifacts     = "poterne.registry.artifacts"
	nameArtifactBytes = "poterne.registry.artifacts.size"
	nameUploads       = "poterne.registry.uploads"
	nameUploadBytes   = "poterne.registry.uploads.size"
)

// The labels, which are also the keys of log records.
const (
	KeyKind     = "kind"
	KeyModel    = "model"
	KeyRevision = "revision"
	KeyActor    = "actor"
	KeyError    = "error"

	KeyRollout  = "rollout"
	KeyState    = "state"
	KeyStep     = "step"
	KeyWords    = "words"
	KeyDecision = "decision"
)

// Metrics counts. It is safe for concurrent use.
type Metrics struct {
	meter     metric.Meter
	changes   metric.Int64Counter
	tries     metric.Int64Counter
	decisions metric.Int64Counter

	uploaded, kept, swept metric.Int64Counter
	artifacts             atomic.Pointer[Artifacts]
}

// New makes the instruments on meter.
func New(meter metric.Meter) (*Metrics, error) {
	changes, err := meter.Int64Counter(nameChanges, metric.WithDescription("Changes that this process committed, by kind."))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	decisions, err := newDecisions(meter)
	if err != nil {
		return nil, err
	}
	tries, err := meter.Int64Counter(nameTries,
		metric.WithDescription("Tries to deliver a message to a webhook, by what became of the message: pending, delivered or dead."))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	m := &Metrics{meter: meter, changes: changes, tries: tries, decisions: decisions}
	err = m.newArtifacts()
	return m, err
}

// Changed counts a committed change.
func (m *Metrics) Changed(ctx context.Context, kind string) {
	m.changes.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyKind, kind)))
}

// Tried counts a try to deliver a message to a webhook.
func (m *Metrics) Tried(ctx context.Context, state registryv1.DeliveryState) {
	name := strings.ToLower(strings.TrimPrefix(state.String(), "DELIVERY_STATE_"))
	m.tries.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyState, name)))
}

// Observe reports the newest revision that this process has seen and how many
// watch it, until stop is called.
func (m *Metrics) Observe(revision, watchers func() int64) (stop func() error, err error) {
	rev, err := m.meter.Int64ObservableGauge(nameRevision,
		metric.WithDescription("The newest revision that this process has seen."))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	watch, err := m.meter.Int64ObservableGauge(nameWatchers, metric.WithDescription("Open watch streams."))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	reg, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(rev, revision())
		o.ObserveInt64(watch, watchers())
		return nil
	}, rev, watch)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return reg.Unregister, nil
}
