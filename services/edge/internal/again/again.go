// Package again decides when a request is given to the inference service once
// more: a replica that is killed takes the requests in its hands with it, and
// another one can serve those of which the caller has seen nothing. gRPC's own
// retries do not reach requests that are larger than its buffer. Start reading
// at Policy.May.
package again

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// maxAttempts is how often a request is given to the inference service.
const maxAttempts = 3

// pause is between two attempts: long enough for the connection's other
// addresses to be taken.
const pause = 25 * time.Millisecond

// Policy is when to ask again. It is safe for concurrent use.
type Policy struct {
	Clock clock.Clock
	Log   *slog.Logger
}

// May reports whether a failed attempt, counted from 1, may be followed by
// another one, and waits until it should be: only when the connection failed, as
// against an answer of the service, which has tried other workers by itself.
func (p Policy) May(ctx context.Context, attempt int, err error) bool {
	reason := [2]explain.Attribute{{Name: "number", Value: strconv.Itoa(attempt)}, {Name: "reason", Value: string(apierr.ReasonOf(err))}}
	audit.From(ctx).Decide(explain.Decision{Step: explain.Attempt, Outcome: "failed", Attributes: reason[:]})
	if attempt >= maxAttempts || !grpcclient.Unreached(err) || ctx.Err() != nil {
		return false
	}
	p.Log.WarnContext(ctx, "the inference service went away; asking again", slog.Int(metrics.KeyAttempt, attempt), telemetry.Err(err))
	return clock.Sleep(ctx, p.Clock, pause*time.Duration(attempt)) == nil
}
