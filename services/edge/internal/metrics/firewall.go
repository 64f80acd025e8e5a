package metrics

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// nameFirewallMatches is by rule and by action: block, detect or pass.
const nameFirewallMatches = "poterne.edge.waf.matches"

// Firewall counts what the firewall finds. It is safe for concurrent use.
type Firewall struct{ matches metric.Int64Counter }

// NewFirewall makes the instruments.
func NewFirewall(m metric.Meter) (*Firewall, error) {
	matches, err := m.Int64Counter(nameFirewallMatches,
		metric.WithDescription("Rules of the firewall that found something, by rule and by what was done about it."))
	return &Firewall{matches: matches}, err
}

// Match counts a rule that found something; the rules' number is bounded.
func (f *Firewall) Match(ctx context.Context, rule, action string) {
	f.matches.Add(ctx, 1, metric.WithAttributes(attribute.String("rule", rule), attribute.String("action", action)))
}
