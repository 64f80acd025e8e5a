package tlsfiles

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The metrics and log keys. Names are those of sections, so they are bounded.
const (
	scope          = "github.com/poterne/poterne/pkg/tlsfiles"
	metricExpiry   = "poterne.tls.certificate.expiry" // s until the certificate expires, by name
	metricReloads  = "poterne.tls.reloads"
	metricFailures = "poterne.tls.reload.failures"
	keyName        = "name"
	keyNotAfter    = "not_after"
)

func newInstruments(meter metric.Meter, s *Source) (*instruments, error) {
	i := &instruments{name: metric.WithAttributeSet(attribute.NewSet(attribute.String(keyName, s.opts.Name)))}
	var err error
	if i.reloads, err = meter.Int64Counter(metricReloads,
		metric.WithDescription("Certificates and authorities that were read again and taken.")); err != nil {
		return nil, fmt.Errorf("tlsfiles: %w", err)
	}
	if i.failures, err = meter.Int64Counter(metricFailures,
		metric.WithDescription("Looks at files that could not be used; what was read before went on.")); err != nil {
		return nil, fmt.Errorf("tlsfiles: %w", err)
	}
	// Being asked is a look at the files too, for a process that nobody connects to.
	_, err = meter.Float64ObservableGauge(metricExpiry, metric.WithUnit("s"),
		metric.WithDescription("Time until the certificate in use expires; negative afterwards."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			if left, ok := s.expiresIn(); ok { //nolint:contextcheck // it is no part of a request
				o.Observe(left.Seconds(), i.name)
			}
			return nil
		}))
	if err != nil {
		return nil, fmt.Errorf("tlsfiles: %w", err)
	}
	return i, nil
}
