package usage

import (
	"context"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/edge/internal/ledger"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

var (
	_ metering.Pricer = (*Meter)(nil)
	_ metering.Saver  = (*Meter)(nil)
)

// Saved implements metering.Saver: the ledger has a row of it that costs nothing. While
// the ledger is behind it is not kept: it is no money.
func (m *Meter) Saved(ctx context.Context, w metering.Work, whole bool) {
	caller, ok := identity.FromContext(ctx)
	if !ok || m.writer.Refusing() != nil {
		return
	}
	saved := tokens(w.Tokens)
	e := ledger.Entry{
		ID: m.ids.New(), RequestID: short(requestid.FromContext(ctx)), Time: m.clock.Now(), Outcome: ledger.Cached,
		Dimensions: ledger.Dimensions{Tenant: short(caller.Tenant), KeyID: short(caller.KeyID), Subject: short(caller.Subject), Kind: string(w.Kind)},
		Hit:        whole, SavedInput: saved.Input, SavedOutput: saved.Output,
	}
	serve(&e, w.By)
	if err := m.writer.Put(&e); err != nil {
		m.log.ErrorContext(ctx, "what the cache saved is in memory only until the store has it", telemetry.Err(err))
	}
}

// Price implements metering.Pricer: what a hold for the same work would be settled at.
func (m *Meter) Price(w metering.Work) (micros int64, currency string, priced bool) {
	e := ledger.Entry{Time: w.Time, Tokens: tokens(w.Tokens)}
	e.Kind = string(w.Kind)
	serve(&e, w.By)
	book := m.book.Load()
	priced = settle(&e, book)
	return e.Cost, book.Currency(), priced
}

func tokens(u *commonv1.TokenUsage) ledger.Tokens {
	return ledger.Tokens{
		Input: int64(u.GetPromptTokens()), Cached: int64(u.GetCachedPromptTokens()), Output: int64(u.GetCompletionTokens()),
		Reasoning: int64(u.GetReasoningTokens()), AudioInput: int64(u.GetAudioPromptTokens()), AudioOutput: int64(u.GetAudioCompletionTokens()),
	}
}
