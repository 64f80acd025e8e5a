package usage

import (
	"context"
	"errors"
	"log/slog"
	"sort"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/ledger"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/price"
)

// The response headers.
const (
	// HeaderBudget names the budgets that are at a warning, with the per cent that are
	// used: `research;used=83`; or `unchecked` when the ledger was away.
	HeaderBudget = "x-poterne-budget"
)

// The findings of the audit trail.
const (
	findingRefused   = "budget/refused"
	findingWarning   = "budget/warning"
	findingUnchecked = "budget/unchecked"
)

// retryAfter is when to try again what was refused because the ledger is away, or
// because others' requests hold what is left.
const retryAfter = time.Second

// Claims has requests not be made twice.
type Claims interface {
	Claim(ctx context.Context, claim, entry string, now, expire time.Time) error
	Unclaim(ctx context.Context, entry string) error
}

// Meter is a metering.Meter that bills. It is safe for concurrent use.
type Meter struct {
	cfg     Config
	book    atomic.Pointer[price.Book]
	keeper  *budget.Keeper
	writer  *ledger.Writer
	journal *ledger.Journal // nil: none
	claims  Claims
	clock   clock.Clock
	ids     ids.Source
	log     *slog.Logger
	metrics *metrics.Usage
	refused func(b budget.Budget) // is told of refusals
}

var _ metering.Meter = (*Meter)(nil)

// Begin prices the most that the demand may come to, and has it reserve that.
func (m *Meter) Begin(ctx context.Context, d metering.Demand, setHeader func(metadata.MD) error) (metering.Hold, error) {
	caller, ok := identity.FromContext(ctx)
	if !ok {
		return nil, apierr.New(apierr.Internal, "the request was not authenticated")
	}
	now := m.clock.Now()
	if err := m.writer.Refusing(); err != nil && m.cfg.WhenAway == AwayRefuse {
		m.metrics.BudgetAway(ctx, "refused")
		return nil, away(err)
	}
	rates, priced := m.book.Load().Most(d.Model, now)
	if !priced && m.cfg.RequirePrice {
		return nil, apierr.New(apierr.FailedPrecondition, "the model has no price, and this gateway serves none without one").WithField("model")
	}
	h := &hold{meter: m, setHeader: setHeader, kind: d.Kind, beside: d.Beside, entry: ledger.Entry{
		ID: m.entryID(ctx, d), RequestID: short(requestid.FromContext(ctx)), Time: now,
		Dimensions: ledger.Dimensions{
			Tenant: short(caller.Tenant), KeyID: short(caller.KeyID), Subject: short(caller.Subject), Kind: string(d.Kind), Model: modelName(d.Model),
		},
		Documents: int64(d.Documents),
	}}
	if !d.Beside {
		if err := m.claim(ctx, &h.entry, caller); err != nil {
			return nil, err
		}
	}
	if err := m.reserve(ctx, h, d, rates, caller); err != nil {
		m.unclaim(ctx, &h.entry)
		return nil, err
	}
	var err error
	if h.slot, err = m.journal.Take(&h.entry); err != nil {
		m.metrics.AtRisk(ctx)
		m.log.DebugContext(ctx, "what a request uses is in memory only until it ends", telemetry.Err(err))
	}
	return h, nil
}

// reserve has the request reserve from every budget that counts it.
func (m *Meter) reserve(ctx context.Context, h *hold, d metering.Demand, rates price.Rates, caller identity.Caller) error {
	budgets := m.keeper.Of(budget.Caller{Tenant: caller.Tenant, KeyID: caller.KeyID, Principals: caller.Principals})
	if len(budgets) == 0 {
		return nil
	}
	prompt := int64(d.PromptBytes)
	r, err := m.keeper.Reserve(ctx, budgets, m.most(d, rates, prompt), m.cfg.WhenAway == AwayAllow)
	var refused *budget.RefusedError
	exact := false
	if errors.As(err, &refused) && d.Count != nil {
		// No tokeniser makes more tokens than there are bytes; what they really are is
		// only asked where that does not fit.
		if n, counted := d.Count(ctx); counted == nil && n < prompt {
			prompt, exact = n, true
			r, err = m.keeper.Reserve(ctx, budgets, m.most(d, rates, n), m.cfg.WhenAway == AwayAllow)
		}
	}
	if err != nil {
		fits := int64(0)
		if errors.As(err, &refused) && (exact || d.MaxTokens > 0) { // to bound what is not bounded makes a body longer
			fits = m.fitting(d, rates, prompt, refused)
		}
		return m.refuse(ctx, d, err, fits)
	}
	h.reservation, h.entry.Charges = r, r.Charges()
	m.explainReserved(ctx, r)
	return m.warn(ctx, h)
}

// most is the most that a demand may come to.
func (m *Meter) most(d metering.Demand, rates price.Rates, prompt int64) budget.Need {
	u := price.Units{Requests: 1}
	need := budget.Need{Tokens: prompt}
	switch d.Kind {
	case metering.Generate:
		out := d.MaxTokens
		if out <= 0 {
			out = m.cfg.DefaultMaxTokens
		}
		// Which class a token is of is known later.
		rates.Input, rates.Output = rates.MostInput(), rates.MostOutput()
		u.Input, u.Output = prompt, out
		need.Tokens = price.Add(prompt, out)
	case metering.Embed:
		u.Embedding = prompt
	case metering.Rerank:
		u.Rerank, u.Documents = prompt, int64(d.Documents)
	}
	need.Money = int64(rates.Cost(u))
	return need
}

// fitting is for how many tokens of each answer the demand could ask and fit into the
// budget that has refused it; 0 for none, and where that cannot be told.
func (m *Meter) fitting(d metering.Demand, rates price.Rates, prompt int64, r *budget.RefusedError) int64 {
	if d.Kind != metering.Generate || d.Answers <= 0 {
		return 0
	}
	asked := d.MaxTokens
	if asked <= 0 {
		asked = m.cfg.DefaultMaxTokens
	}
	answers := d.Answers
	return int64(sort.Search(int(asked/answers), func(i int) bool {
		d.MaxTokens = (int64(i) + 1) * answers
		need := m.most(d, rates, prompt)
		if r.Budget.Unit == budget.Money {
			return need.Money > r.Rest
		}
		return need.Tokens > r.Rest
	}))
}

// refuse is what the caller is told; fits is for how many tokens it could ask, or 0.
func (m *Meter) refuse(ctx context.Context, d metering.Demand, err error, fits int64) error {
	var refused *budget.RefusedError
	switch known := errors.As(err, &refused); {
	case !known && ctx.Err() != nil: // the caller has left, which says nothing of the ledger
		return err
	case !known:
		m.metrics.BudgetAway(ctx, "refused")
		m.log.WarnContext(ctx, "a request is refused since the ledger of usage does not answer", telemetry.Err(err))
		return away(err)
	case d.Optional:
		return apierr.Wrap(apierr.QuotaExceeded, err, "a budget has too little left")
	}
	b := refused.Budget
	m.metrics.BudgetRefused(ctx, string(b.Scope))
	m.refused(b)
	audit.From(ctx).AddFinding(findingRefused)
	text := refusal(refused, m.book.Load().Currency(), fits)
	explainRefused(ctx, b, text)
	e := apierr.New(apierr.QuotaExceeded, "%s", text)
	switch {
	case refused.Never(): // waiting helps nobody
	case refused.InHand():
		e = e.WithRetryAfter(retryAfter)
	case !refused.Resets.IsZero():
		e = apierr.New(apierr.QuotaExceeded, "%s; it begins anew then", text).WithRetryAfter(refused.Resets.Sub(m.clock.Now()))
	}
	return e.WithMetadata("budget", b.ID).WithMetadata("period", string(b.Every)).WithMetadata("unit", string(b.Unit))
}

func away(err error) error {
	return apierr.Wrap(apierr.Unavailable, err, "the ledger of usage does not answer, and no request is served that it could not count").WithRetryAfter(retryAfter)
}

// warn tells the caller, the trail and the log of budgets that are at a warning.
func (m *Meter) warn(ctx context.Context, h *hold) error {
	text := ""
	if h.reservation.Forced() {
		m.metrics.BudgetAway(ctx, "allowed")
		audit.From(ctx).AddFinding(findingUnchecked)
		text = "unchecked"
	}
	for _, l := range h.reservation.Levels() {
		if text != "" {
			text += ", "
		}
		text += headerItem(l)
		m.metrics.BudgetWarned(ctx, string(l.Budget.Scope))
		audit.From(ctx).AddFinding(findingWarning)
		audit.From(ctx).Decide(explain.Decision{Step: explain.Budget, Outcome: "warned", Attributes: []explain.Attribute{
			{Name: "budget", Value: l.Budget.ID}, {Name: "used_percent", Value: strconv.FormatInt(int64(l.Percent), 10)},
		}})
		if l.First {
			m.log.WarnContext(ctx, "a budget is at a warning", slog.String(metrics.KeyTenant, l.Budget.Tenant), slog.String(metrics.KeyBudget, l.Budget.ID),
				slog.Int("warning_percent", int(l.Warning)), slog.Int("used_percent", int(l.Percent)))
		}
	}
	if text == "" {
		return nil
	}
	if err := h.setHeader(metadata.Pairs(HeaderBudget, text)); err != nil {
		h.reservation.Settle(budget.Need{})
		return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	return nil
}

// entryID is an errand's own, so that one which is made again since its answer was
// lost with an edge is counted once. What several models did for it, each of which a
// route asked in turn, counts for each.
func (m *Meter) entryID(ctx context.Context, d metering.Demand) string {
	e, ok := authn.ErrandFrom(ctx)
	switch {
	case ok && !d.Beside:
		return e.ID + "/" + short(d.Model)
	case ok && d.Part != "":
		return e.ID + "/" + d.Part + "/" + short(d.Model)
	}
	return m.ids.New()
}
