package usage

import (
	"context"
	"strconv"

	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/price"
)

// maxExplained is how many budgets of a request are told.
const maxExplained = 8

// explainReserved notes what a request has of each budget until it ends.
func (m *Meter) explainReserved(ctx context.Context, r *budget.Reservation) {
	var at [maxExplained]explain.Attribute
	list := at[:0]
	r.Each(func(b budget.Budget, amount int64) {
		if len(list) < maxExplained {
			list = append(list, explain.Attribute{Name: b.ID, Value: m.amount(b.Unit, amount)})
		}
	})
	outcome := "reserved"
	if r.Forced() {
		outcome = "unchecked" // the ledger was away
	}
	audit.From(ctx).Decide(explain.Decision{Step: explain.Budget, Outcome: outcome, Attributes: list})
}

// explainRefused notes which budget had too little.
func explainRefused(ctx context.Context, b budget.Budget, why string) {
	audit.From(ctx).Decide(explain.Decision{Step: explain.Budget, Outcome: "refused", Detail: why, Attributes: []explain.Attribute{
		{Name: "budget", Value: b.ID}, {Name: "scope", Value: string(b.Scope)}, {Name: "period", Value: string(b.Every)}, {Name: "unit", Value: string(b.Unit)},
	}})
}

// explainUsage notes what a model's work came to, by what the engine counted.
func (h *hold) explainUsage(ctx context.Context, book *price.Book, priced bool) {
	entry := audit.From(ctx)
	at := [12]explain.Attribute{
		{Name: "kind", Value: h.entry.Kind},
		{Name: "prompt_tokens", Value: strconv.FormatInt(h.entry.Input, 10)},
		{Name: "cached_tokens", Value: strconv.FormatInt(h.entry.Cached, 10)},
		{Name: "completion_tokens", Value: strconv.FormatInt(h.entry.Output, 10)},
	}
	list := at[:4]
	for _, more := range [...]struct {
		name string
		n    int64
	}{{"reasoning_tokens", h.entry.Reasoning}, {"audio_prompt_tokens", h.entry.AudioInput}, {"audio_completion_tokens", h.entry.AudioOutput}, {"documents", h.entry.Documents}} {
		if more.n > 0 {
			list = append(list, explain.Attribute{Name: more.name, Value: strconv.FormatInt(more.n, 10)})
		}
	}
	if h.beside { // who did the request's own is told of where it is
		list = append(list, explain.Attribute{Name: "model", Value: h.entry.Model + "@v" + strconv.FormatInt(int64(h.entry.Version), 10)})
	}
	if h.entry.Estimated {
		list = append(list, explain.Attribute{Name: "estimated", Value: "true"})
	}
	if priced {
		list = append(list, explain.Attribute{Name: "cost", Value: price.Micros(h.entry.Cost).String() + " " + book.Currency()})
	}
	entry.Decide(explain.Decision{Step: explain.Usage, Outcome: h.entry.Outcome, Attributes: list})
	if h.reservation == nil {
		return
	}
	var budgets [maxExplained]explain.Attribute
	list = budgets[:0]
	h.reservation.Each(func(b budget.Budget, _ int64) {
		amount := h.entry.Total()
		if b.Unit == budget.Money {
			amount = h.entry.Cost
		}
		if len(list) < maxExplained {
			list = append(list, explain.Attribute{Name: b.ID, Value: h.meter.amount(b.Unit, amount)})
		}
	})
	entry.Decide(explain.Decision{Step: explain.Budget, Outcome: "settled", Attributes: list})
}

func (m *Meter) amount(u budget.Unit, n int64) string {
	if u == budget.Money {
		return price.Micros(n).String() + " " + m.book.Load().Currency()
	}
	return strconv.FormatInt(n, 10) + " tokens"
}
