package usage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/arrival"
	"github.com/poterne/poterne/services/edge/internal/ledger"
)

// IdempotencyKey is the header by which a caller says that a request must not be
// made twice.
const IdempotencyKey = "idempotency-key"

const (
	maxIdempotencyKey = 255
	// claimInHand is how long a request may be in hand before another one of the same
	// key is let through: its edge is gone.
	claimInHand = time.Hour
	// claimSettles is how soon other edges have written what ended.
	claimSettles = 250 * time.Millisecond
)

// errClaimTime is why a claim is given up.
var errClaimTime = errors.New("the store did not answer in the time for an Idempotency-Key")

// claim has the request be the only one of its key, where it has one.
func (m *Meter) claim(ctx context.Context, e *ledger.Entry, caller identity.Caller) error {
	key, given, err := idempotencyKey(ctx)
	if err != nil || !given {
		return err
	}
	sum := sha256.New()
	for _, s := range []string{caller.Tenant, caller.Subject, caller.KeyID, key} {
		sum.Write([]byte(s))
		sum.Write([]byte{0})
	}
	e.Claimed = true
	err = m.claimAs(ctx, hex.EncodeToString(sum.Sum(nil)), e)
	switch {
	case errors.Is(err, ledger.ErrInHand):
		return apierr.New(apierr.Conflict, "a request with this Idempotency-Key was made, and is not settled yet; this one is not made").WithRetryAfter(retryAfter)
	case errors.Is(err, ledger.ErrClaimed):
		return apierr.New(apierr.Conflict, "a request with this Idempotency-Key was answered before; this one is not made, and not billed")
	case err != nil:
		m.metrics.BudgetAway(ctx, "refused")
		m.log.WarnContext(ctx, "a request is refused since its Idempotency-Key cannot be looked for", telemetry.Err(err))
		m.unclaim(ctx, e) // the store may have it, though its answer was lost
		return apierr.Wrap(apierr.Unavailable, err, "it cannot be told whether a request with this Idempotency-Key was made before").WithRetryAfter(retryAfter)
	}
	return nil
}

// claimAs claims, for as long as the request has and the settings allow: who sends a
// key would rather wait for a busy store than be refused. A request that was answered a moment ago is in hand until its entry
// is in the store: this edge writes what it has, and others have done so soon after.
func (m *Meter) claimAs(ctx context.Context, name string, e *ledger.Entry) error {
	ctx, cancel := context.WithTimeoutCause(ctx, m.cfg.ClaimTimeout, errClaimTime)
	defer cancel()
	err := m.claims.Claim(ctx, name, e.ID, e.Time, e.Time.Add(claimInHand))
	if !errors.Is(err, ledger.ErrInHand) {
		return err
	}
	settling, done := context.WithTimeout(ctx, m.cfg.Timeout+claimSettles)
	defer done()
	for _, settled := range []func() error{
		func() error { return m.writer.Flush(settling) },
		func() error { return clock.Sleep(settling, m.clock, claimSettles) },
	} {
		if settled() != nil {
			return err
		}
		if now := m.claims.Claim(ctx, name, e.ID, e.Time, e.Time.Add(claimInHand)); !errors.Is(now, ledger.ErrInHand) {
			return now
		}
	}
	return err
}

// unclaim lets a request be made again that used nothing.
func (m *Meter) unclaim(ctx context.Context, e *ledger.Entry) {
	if !e.Claimed {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.ClaimTimeout)
	defer cancel()
	if err := m.claims.Unclaim(ctx, e.ID); err != nil {
		m.log.ErrorContext(ctx, "a request that used nothing cannot be made again for an hour", telemetry.Err(err))
	}
}

// idempotencyKey returns the request's key.
func idempotencyKey(ctx context.Context) (key string, given bool, err error) {
	var values []string
	if r := arrival.From(ctx).Request; r != nil {
		values = r.Header["Idempotency-Key"]
	} else if md, ok := metadata.FromIncomingContext(ctx); ok {
		values = md.Get(IdempotencyKey)
	}
	if len(values) == 0 {
		return "", false, nil
	}
	if len(values) > 1 || values[0] == "" || len(values[0]) > maxIdempotencyKey || !printable(values[0]) {
		return "", false, apierr.Invalid(IdempotencyKey, "Idempotency-Key must be one text of 1 to %d printable ASCII characters", maxIdempotencyKey)
	}
	return values[0], true, nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
