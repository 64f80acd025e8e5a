package grpcclient

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/pkg/telemetry"
)

// The metric of calls that may go past HTTP/2. Methods are those that this program names.
const (
	metricCalls = "poterne.rpc.client.calls" // by method and way
	keyMethod   = "method"
	keyWay      = "way"
	wayDirect   = "direct"
	wayOrdinary = "grpc"
)

// ways counts which way the calls of one method went.
type ways struct {
	calls        metric.Int64Counter
	by, byDirect metric.MeasurementOption
}

func newWays(tel *telemetry.Telemetry, methods []string) (map[string]ways, error) {
	calls, err := tel.Meter(scope).Int64Counter(metricCalls,
		metric.WithDescription("Calls that may go on connections of their own, by the way they went; those that did are counted at their end."))
	if err != nil {
		return nil, fmt.Errorf("grpcclient: %w", err)
	}
	all := make(map[string]ways, len(methods))
	for _, m := range methods {
		name := attribute.String(keyMethod, strings.TrimPrefix(m, "/"))
		all[m] = ways{
			calls:    calls,
			by:       metric.WithAttributeSet(attribute.NewSet(name, attribute.String(keyWay, wayOrdinary))),
			byDirect: metric.WithAttributeSet(attribute.NewSet(name, attribute.String(keyWay, wayDirect))),
		}
	}
	return all, nil
}

func (w ways) direct(ctx context.Context)   { w.calls.Add(ctx, 1, w.byDirect) }
func (w ways) ordinary(ctx context.Context) { w.calls.Add(ctx, 1, w.by) }
