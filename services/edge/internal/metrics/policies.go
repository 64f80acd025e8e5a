package metrics

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	namePolicyInfo        = "poterne.edge.policy.info"                // by policy: what is in force
	namePolicyDifferences = "poterne.edge.policy.dry_run.differences" // by change
)

// Policies tells which policies are in force, and what ones that are tried would
// change. It is safe for concurrent use.
type Policies struct {
	differences metric.Int64Counter
	info        metric.Registration
}

// NewPolicies makes the instruments. version names what is in force for the
// platform; only the present one is told.
func NewPolicies(m metric.Meter, version func() string) (*Policies, error) {
	info, err := m.Int64ObservableGauge(namePolicyInfo, metric.WithDescription("1 for the platform's policy that is in force."))
	if err != nil {
		return nil, err
	}
	p := new(Policies)
	var errs [2]error
	p.info, errs[0] = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(info, 1, metric.WithAttributes(attribute.String("policy", version())))
		return nil
	}, info)
	p.differences, errs[1] = m.Int64Counter(namePolicyDifferences,
		metric.WithDescription("Requests that a policy which is tried would have decided in another way, by what would change."))
	return p, errors.Join(errs[:]...)
}

// DryRunDifference counts a request that a policy which is tried would have
// decided in another way: would_allow, would_deny or obligations.
func (p *Policies) DryRunDifference(ctx context.Context, change string) {
	p.differences.Add(ctx, 1, metric.WithAttributes(attribute.String("change", change)))
}

// Close ends the observations.
func (p *Policies) Close() error { return p.info.Unregister() }
