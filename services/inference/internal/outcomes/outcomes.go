// Package outcomes counts what requests came to and hands the sums to the
// registry, each request exactly once. A request costs one send on a channel; a
// goroutine adds up, writes a batch to a spool every second, and another one
// sends what the spool holds. What is in the spool survives this process and the
// registry. Begin with Recorder.
package outcomes

import (
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/inference/internal/catalog"
)

// Outcome is what one request came to.
type Outcome struct {
	// Model is the model as it was when the request was decided.
	Model *catalog.Model
	// Target is what served it.
	Target catalog.Target
	// Key is what decided the arm, Tenant whose request it was.
	Key, Tenant string
	// Prompt is what the conversation began with, and PromptVersion the number of its
	// version; "" when there was none.
	Prompt        string
	PromptVersion int32
	// Reason is empty for an answer, else why there was none.
	Reason apierr.Reason
	// Refused says that the model declined.
	Refused bool
	// Duration is from the request to its end; First, of streams, to the first piece,
	// and 0 of others.
	Duration, First time.Duration
	// PromptTokens and OutputTokens are as the engine counted them; -1 when it did
	// not.
	PromptTokens, OutputTokens int64
}

// kind is how an outcome counts.
type kind int

const (
	answered kind = iota
	failed
	cancelled
	rejected
)

// kind tells failures from what is the caller's own: a caller who leaves, and a
// request that could not have been answered by any version.
func (o *Outcome) kind() kind {
	switch {
	case o.Reason == "":
		return answered
	case o.Reason == apierr.Cancelled:
		return cancelled
	case o.Reason.HTTPStatus() < 500 && o.Reason != apierr.RateLimited && o.Reason != apierr.QuotaExceeded:
		return rejected
	default:
		return failed
	}
}
