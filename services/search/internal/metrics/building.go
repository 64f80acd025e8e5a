package metrics

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The metrics of embedding generations. States are a list of the contract.
const (
	nameGenerations     = "poterne.search.embedding_generations"
	nameBuildingDone    = "poterne.search.embedding_documents_done"
	nameBuildingAll     = "poterne.search.embedding_documents_all"
	nameBuildingFailed  = "poterne.search.embedding_documents_failed"
	nameBuildingRate    = "poterne.search.embedding_documents_rate" // documents a second
	nameBuildingSuspend = "poterne.search.embedding_suspensions"
)

// KeyState is the label of an embedding generation's state.
const KeyState = "state"

// building are the instruments of embedding generations.
type building struct {
	generations, done, all, failed metric.Int64Gauge
	rate                           metric.Float64Gauge
	suspensions                    metric.Int64Counter
}

func newBuilding(meter metric.Meter) (building, error) {
	var b building
	var errs [6]error
	b.generations, errs[0] = meter.Int64Gauge(nameGenerations, metric.WithDescription("Embedding generations of all collections, by state."))
	b.done, errs[1] = meter.Int64Gauge(nameBuildingDone,
		metric.WithDescription("Documents that the embedding generations which are being built have already."))
	b.all, errs[2] = meter.Int64Gauge(nameBuildingAll,
		metric.WithDescription("Documents that the embedding generations which are being built are to have."))
	b.failed, errs[3] = meter.Int64Gauge(nameBuildingFailed,
		metric.WithDescription("Documents that could not be embedded for an embedding generation."))
	b.rate, errs[4] = meter.Float64Gauge(nameBuildingRate,
		metric.WithDescription("Documents a second that are embedded for embedding generations which are being built."))
	b.suspensions, errs[5] = meter.Int64Counter(nameBuildingSuspend,
		metric.WithDescription("How often work on an embedding generation was suspended after a failure, to be tried again."))
	if err := errors.Join(errs[:]...); err != nil {
		return building{}, fmt.Errorf("metrics of embedding generations: %w", err)
	}
	return b, nil
}

// Building is how far the building of embedding generations is.
type Building struct {
	// Generations counts them by state; each state must be there, be it with 0.
	Generations       map[string]int
	Done, All, Failed int
	// Rate is documents a second.
	Rate float64
}

// Built notes how far the building of embedding generations is.
func (m *Metrics) Built(ctx context.Context, now Building) {
	for state, n := range now.Generations {
		m.building.generations.Record(ctx, int64(n), metric.WithAttributes(attribute.String(KeyState, state)))
	}
	m.building.done.Record(ctx, int64(now.Done))
	m.building.all.Record(ctx, int64(now.All))
	m.building.failed.Record(ctx, int64(now.Failed))
	m.building.rate.Record(ctx, now.Rate)
}

// BuildingSuspended counts a failure after which the building rests.
func (m *Metrics) BuildingSuspended(ctx context.Context) { m.building.suspensions.Add(ctx, 1) }
