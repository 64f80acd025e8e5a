package usage

import (
	"context"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/ledger"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/price"
)

// hold is one request, from what it reserved to what it used.
type hold struct {
	meter       *Meter
	setHeader   func(metadata.MD) error
	kind        metering.Kind
	beside      bool // it is not the request's own work
	entry       ledger.Entry
	reservation *budget.Reservation // nil: no budget counts it
	slot        *ledger.Slot        // nil: none
	by          *inferencev1.ServedBy
}

// Note implements metering.Hold.
func (h *hold) Note(u metering.Use) {
	if u.Documents > 0 {
		h.entry.Documents = int64(u.Documents)
	}
	if u.By != nil && u.By != h.by {
		h.by = u.By
		serve(&h.entry, u.By)
		if err := h.slot.Update(&h.entry); err != nil {
			h.meter.log.Debug("what a request uses is known by its first model only", telemetry.Err(err))
		}
	}
	if u.Tokens == nil {
		return
	}
	h.entry.Tokens = tokens(u.Tokens)
	h.entry.Estimated = u.Tokens.GetEstimated()
	h.slot.Count(h.entry.Tokens, h.entry.Estimated)
}

// serve notes what worked on a request.
func serve(e *ledger.Entry, by *inferencev1.ServedBy) {
	e.Model, e.Version, e.Digest = short(by.GetModel()), by.GetVersion(), short(by.GetDigest())
	e.Variant, e.VariantDigest = short(by.GetVariant()), short(by.GetVariantDigest())
	e.Experiment, e.Arm = short(by.GetExperiment()), short(by.GetArm())
}

// End implements metering.Hold. What an engine made is settled, whatever came of the
// answer; what made nothing is given back.
func (h *hold) End(ctx context.Context, err error) {
	ctx = context.WithoutCancel(ctx) // the request may be over; its bill is still due
	m := h.meter
	if h.entry.None() && err != nil {
		h.reservation.Settle(budget.Need{})
		h.slot.Free()
		m.unclaim(ctx, &h.entry)
		return
	}
	h.entry.Outcome = ledger.Whole
	if err != nil {
		h.entry.Outcome = ledger.Partial
	}
	if h.entry.None() {
		h.entry.Estimated = true // the engine told nothing of an answer that is whole
	}
	book := m.book.Load()
	priced := settle(&h.entry, book)
	if charges := h.reservation.Settle(budget.Need{Money: h.entry.Cost, Tokens: h.entry.Total()}); charges != nil {
		h.entry.Charges = charges
	}
	if err := m.writer.Put(&h.entry); err != nil {
		m.log.ErrorContext(ctx, "what a request used is in memory only until the store has it", telemetry.Err(err))
	}
	h.slot.Free()
	h.explainUsage(ctx, book, priced)
	cost := price.Micros(h.entry.Cost)
	m.metrics.Settled(ctx, h.entry.Outcome, book.Currency(), tokensByClass(&h.entry), float64(cost)/1e6, priced)
	if priced {
		audit.From(ctx).AddCost(h.entry.Cost, book.Currency())
	}
}

// settle prices an entry, and reports whether there is a price.
func settle(e *ledger.Entry, book *price.Book) bool {
	p, priced := book.Find(price.Served{
		Model: e.Model, Version: e.Version, Digest: e.Digest, Variant: e.Variant, VariantDigest: e.VariantDigest,
	}, e.Time)
	if !priced {
		return false
	}
	e.Price, e.Cost = p.Revision, int64(p.Rates.Cost(units(e)))
	return true
}

// tokensByClass is what the meters are told.
func tokensByClass(e *ledger.Entry) metrics.Tokens {
	return metrics.Tokens{
		Input: e.Input, Cached: e.Cached, Output: e.Output, Reasoning: e.Reasoning, AudioInput: e.AudioInput, AudioOutput: e.AudioOutput, Documents: e.Documents,
	}
}

// units is what of an entry has which price.
func units(e *ledger.Entry) price.Units {
	u := price.Units{Requests: 1}
	switch metering.Kind(e.Kind) {
	case metering.Embed:
		u.Embedding = e.Input
	case metering.Rerank:
		u.Rerank, u.Documents = e.Input, e.Documents
	case metering.Generate:
		// Each token has one class. What is both sound and cached, or both sound and a
		// thought, is sound.
		u.AudioInput = min(e.AudioInput, e.Input)
		u.Cached = min(e.Cached, e.Input-u.AudioInput)
		u.Input = e.Input - u.AudioInput - u.Cached
		u.AudioOutput = min(e.AudioOutput, e.Output)
		u.Reasoning = min(e.Reasoning, e.Output-u.AudioOutput)
		u.Output = e.Output - u.AudioOutput - u.Reasoning
	}
	return u
}

// maxText bounds each text of an entry.
const maxText = 256

// short makes text from outside one that every store takes; PostgreSQL takes no NUL, and
// an entry that it refuses would have all behind it wait.
func short(s string) string {
	s = s[:min(len(s), maxText)]
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s // as nearly all are, which is told sooner than mended
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}

// modelName is the name in a reference such as name@v3.
func modelName(reference string) string {
	name, _, _ := strings.Cut(reference, "@")
	return short(name)
}

// headerItem is an item with a parameter (RFC 9651): `research;used=83`.
func headerItem(l budget.Level) string {
	return l.Budget.ID + ";used=" + strconv.Itoa(int(l.Percent))
}
