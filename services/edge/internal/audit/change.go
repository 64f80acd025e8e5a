package audit

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/auditproof"
)

// Begin notes a change before it is made, so that the end of this process does not
// hide it. It refuses with UNAVAILABLE when the trail is not being written: a change
// is not made that could not be recorded.
func (t *Trail) Begin(ctx context.Context, rec Record) error {
	t.mu.Lock()
	behind := t.behind
	t.mu.Unlock()
	if behind != nil {
		behind = t.Flush(ctx) // it may be over
	}
	if behind == nil && t.journal != nil {
		rec.Normalise()
		behind = t.journal.Begin(rec)
	}
	if behind != nil {
		return apierr.Wrap(apierr.Unavailable, behind, "the audit trail cannot be written, and nothing is changed without it").
			WithRetryAfter(time.Second)
	}
	return nil
}

// Settle waits until the sink has every record up to now. The error is for the
// caller whose change it was.
func (t *Trail) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if err := t.Flush(ctx); err != nil {
		return apierr.Wrap(apierr.Unavailable, err, "the request was handled, and its audit record is not in the store yet: look before you repeat it").
			WithRetryAfter(time.Second)
	}
	return nil
}

// Head returns how many records the chain has, and the hash of the last.
func (t *Trail) Head() (int64, auditproof.Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.chain == nil {
		return 0, auditproof.Hash{}
	}
	return t.chain.tree.Size, t.chain.head
}

// state returns the chain as it is now.
func (t *Trail) state() auditproof.Checkpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.chain.state()
}

// mend begins the journal anew when it could not be written: the sink has everything.
func (t *Trail) mend(ctx context.Context) {
	if t.journal == nil || t.journal.Failed() == nil {
		return
	}
	t.mu.Lock()
	last := t.last
	t.mu.Unlock()
	if err := t.journal.Written(last); err != nil {
		t.log.ErrorContext(ctx, "the audit journal cannot be written", telemetry.Err(err))
	}
}
