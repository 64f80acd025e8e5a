package metrics

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
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
	tokens, documents, entries, unpriced, failures, atRisk, refused, warned, away metric.Int64Counter
	cost                                                                          metric.Float64Counter

	// What counts are added with, in the form that takes no memory for each.
	input, cached, output              []metric.AddOption
	reasoning, audioInput, audioOutput []metric.AddOption
	outcomes                           map[string][]metric.AddOption
}

// NewUsage makes the instruments, for requests with these outcomes for the most part.
func NewUsage(m metric.Meter, outcomes ...string) (*Usage, error) {
	var errs []error
	counter := func(name, description string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	with := func(key, value string) []metric.AddOption {
		return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))}
	}
	u := &Usage{
		tokens:    counter(nameUsageCounted, "Tokens that are settled, by class; cached ones and those of sound are among the input, thoughts and sound among the output."),
		documents: counter(nameUsageRanked, "Documents whose ranking is settled."),
		entries:   counter(nameUsageEntries, "Requests that used something, by outcome."),
		unpriced:  counter(nameUsageUnpriced, "Requests that used something that has no price."),
		failures:  counter(nameUsageFailures, "Failed attempts to write usage."),
		atRisk:    counter(nameUsageAtRisk, "Requests of which kill -9 loses what they used, since the journal had no room."),
		refused:   counter(nameBudgetRefused, "Requests that a budget refused, by the budget's scope."),
		warned:    counter(nameBudgetWarned, "Requests that were warned of a budget, by its scope."),
		away:      counter(nameBudgetAway, "Requests that needed the ledger while it was away, by what was decided."),
		input:     with("class", "input"), cached: with("class", "cached"), output: with("class", "output"),
		reasoning: with("class", "reasoning"), audioInput: with("class", "audio_input"), audioOutput: with("class", "audio_output"),
		outcomes: make(map[string][]metric.AddOption),
	}
	for _, name := range outcomes {
		u.outcomes[name] = with("outcome", name)
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
	of := u.outcomes[outcome]
	if of == nil {
		of = []metric.AddOption{metric.WithAttributes(attribute.String("outcome", outcome))}
	}
	u.entries.Add(ctx, 1, of...)
	u.tokens.Add(ctx, t.Input, u.input...)
	u.tokens.Add(ctx, t.Output, u.output...)
	for _, c := range [...]struct {
		n  int64
		of []metric.AddOption
	}{{t.Cached, u.cached}, {t.Reasoning, u.reasoning}, {t.AudioInput, u.audioInput}, {t.AudioOutput, u.audioOutput}} {
		if c.n > 0 {
			u.tokens.Add(ctx, c.n, c.of...)
		}
	}
	if t.Documents > 0 {
		u.documents.Add(ctx, t.Documents)
	}
	switch {
	case !priced:
		u.unpriced.Add(ctx, 1)
	case cost > 0:
		u.cost.Add(ctx, cost, metric.WithAttributes(attribute.String("currency", currency)))
	}
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
