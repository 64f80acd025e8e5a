package agent

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/poterne/poterne/services/worker/internal/memory"
)

// tally is a counter that keeps what it is told.
type tally struct {
	noop.Int64Counter

	sum    int64
	labels attribute.Set
}

// Add implements metric.Int64Counter.
func (c *tally) Add(_ context.Context, n int64, options ...metric.AddOption) {
	c.sum += n
	c.labels = metric.NewAddConfig(options).Attributes()
}

// Each answer with counts that cannot be is counted, and the log says it once.
func TestImpossibleCountsAreTold(t *testing.T) {
	var said bytes.Buffer
	counted := &tally{}
	a := &Agent{log: slog.New(slog.NewTextHandler(&said, nil)), metrics: &metrics{impossible: counted}}
	a.parts.Pools = memory.NewPools(nil)
	note := a.candidateOf(&model{name: "m@v1"}).input.Impossible
	for range 3 {
		note(t.Context())
	}
	if model, _ := counted.labels.Value(keyModel); counted.sum != 3 || model.AsString() != "m@v1" || counted.labels.Len() != 1 {
		t.Errorf("counted %d of %v", counted.sum, counted.labels)
	}
	if n := strings.Count(said.String(), "level=WARN"); n != 1 || !strings.Contains(said.String(), "model=m@v1") {
		t.Errorf("said %d times: %s", n, said.String())
	}
}
