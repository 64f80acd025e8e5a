package metrics

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/pkg/telemetry"
)

const (
	nameUsageCounted  = "poterne.edge.usage.tokens" // by class: input, cached, output, reasoning, audio_input, audio_output
	nameUsageRanked   = "poterne.edge.usage.documents"
	nameUsageCost     = "poterne.edge.usage.cost"              // by currency: in its unit
	nameUsageEntries  = "poterne.edge.usage.entries"           // by outcome: one of package ledger's
	nameUsageUnpriced = "poterne.edge.usage.unpriced_requests" //
	nameUsageFailures = "poterne.edge.usage.write_failures"
	nameUsageAtRisk   = "poterne.edge.usage.unjournalled_requests"
	nameBudgetRefused = "poterne.edge.budget.refusals" // by scope
	nameBudgetWarned  = "poterne.edge.budget.warnings" // by scope
	nameBudgetAway    = "poterne.edge.budget.away"     // by decision: refused or allowed
)

// KeyBudget is the log key of a budget's name.
const KeyBudget = "budget"

// Usage counts what is used, and what budgets refuse. It is safe for concurrent use,
// and a nil one counts nothing.
type Usage struct {
	documents, failures, atRisk, refused, warned, away metric.Int64Counter
	cost                                               metric.Float64Counter
	currencies                                         telemetry.Kept[string, []metric.AddOption]

	// The series that nearly every request adds to.
	input, cached, output              *telemetry.Series
	reasoning, audioInput, audioOutput *telemetry.Series
	unpriced                           *telemetry.Series
	outcomes                           telemetry.Kept[string, *telemetry.Series]
	entries                            *telemetry.Counter
}

// NewUsage makes the instruments.
func NewUsage(tel *telemetry.Telemetry) (*Usage, error) {
	var errs []error
	m := tel.Meter(Scope)
	counter := func(name, description string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	tokens, err1 := tel.Counter(Scope, nameUsageCounted, "Tokens that are settled, by class; cached ones and those of sound are among the input, thoughts and sound among the output.")
	entries, err2 := tel.Counter(Scope, nameUsageEntries, "Requests that used something, by outcome.")
	unpriced, err3 := tel.Counter(Scope, nameUsageUnpriced, "Requests that used something that has no price.")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	of := func(class string) *telemetry.Series { return tokens.Series(attribute.String("class", class)) }
	u := &Usage{
		documents: counter(nameUsageRanked, "Documents whose ranking is settled."),
		failures:  counter(nameUsageFailures, "Failed attempts to write usage."),
		atRisk:    counter(nameUsageAtRisk, "Requests of which kill -9 loses what they used, since the journal had no room."),
		refused:   counter(nameBudgetRefused, "Requests that a budget refused, by the budget's scope."),
		warned:    counter(nameBudgetWarned, "Requests that were warned of a budget, by its scope."),
		away:      counter(nameBudgetAway, "Requests that needed the ledger while it was away, by what was decided."),
		input:     of("input"), cached: of("cached"), output: of("output"),
		reasoning: of("reasoning"), audioInput: of("audio_input"), audioOutput: of("audio_output"),
		unpriced: unpriced.Series(), entries: entries,
	}
	var err error
	u.cost, err = m.Float64Counter(nameUsageCost, metric.WithDescription("What is settled, in the currency's unit. The ledger has it exactly."))
	return u, errors.Join(append(errs, err)...)
}

// Tokens is what a request used, by class; Cached and AudioInput are among Input,
// Reasoning and AudioOutput among Output.
type Tokens struct{ Input, Cached, Output, Reasoning, AudioInput, AudioOutput, Documents int64 }

// Settled counts what a request used; cost is in the currency's unit.
func (u *Usage) Settled(ctx context.Context, outcome, currency string, t Tokens, cost float64, priced bool) {
	if u == nil {
		return
	}
	u.outcomes.Get(outcome, u.ended).Add(ctx, 1)
	u.input.Add(ctx, t.Input)
	u.output.Add(ctx, t.Output)
	for _, c := range [...]struct {
		n  int64
		of *telemetry.Series
	}{{t.Cached, u.cached}, {t.Reasoning, u.reasoning}, {t.AudioInput, u.audioInput}, {t.AudioOutput, u.audioOutput}} {
		if c.n > 0 {
			c.of.Add(ctx, c.n)
		}
	}
	if t.Documents > 0 {
		u.documents.Add(ctx, t.Documents)
	}
	switch {
	case !priced:
		u.unpriced.Add(ctx, 1)
	case cost > 0:
		u.cost.Add(ctx, cost, u.currencies.Get(currency, inCurrency)...)
	}
}

// ended is the series of requests with an outcome.
func (u *Usage) ended(outcome string) *telemetry.Series {
	return u.entries.Series(attribute.String("outcome", outcome))
}

func inCurrency(name string) []metric.AddOption {
	return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("currency", name)))}
}

// WriteFailure counts a failed attempt to write usage.
func (u *Usage) WriteFailure(ctx context.Context) {
	if u != nil {
		u.failures.Add(ctx, 1)
	}
}

// AtRisk counts a request that the journal has no room for.
func (u *Usage) AtRisk(ctx context.Context) {
	if u != nil {
		u.atRisk.Add(ctx, 1)
	}
}

// BudgetRefused counts a refusal by a budget; scope is tenant, team or key.
func (u *Usage) BudgetRefused(ctx context.Context, scope string) {
	if u != nil {
		u.refused.Add(ctx, 1, metric.WithAttributes(attribute.String("scope", scope)))
	}
}

// BudgetWarned counts a request that was warned; scope is tenant, team or key.
func (u *Usage) BudgetWarned(ctx context.Context, scope string) {
	if u != nil {
		u.warned.Add(ctx, 1, metric.WithAttributes(attribute.String("scope", scope)))
	}
}

// BudgetAway counts a request that needed the ledger while it was away; decision is
// refused or allowed.
func (u *Usage) BudgetAway(ctx context.Context, decision string) {
	if u != nil {
		u.away.Add(ctx, 1, metric.WithAttributes(attribute.String("decision", decision)))
	}
}
