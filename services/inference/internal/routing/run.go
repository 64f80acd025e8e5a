package routing

import (
	"context"
	"time"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

// Try runs the request on run's copy. begun reports whether any part of an answer
// was passed on: the request is then never tried again, unless the error is a
// ResumeError. ctx ends when the request does.
type Try func(ctx context.Context, run *Run) (begun bool, err error)

// Run is one attempt.
type Run struct {
	grant   *schedule.Grant
	attempt int
	idle    time.Duration
	ready   time.Duration
	result  schedule.Result
}

// Copy is where the request runs.
func (r *Run) Copy() *fleet.Copy { return r.grant.Copy() }

// Saturated says that better variants of the version had no room.
func (r *Run) Saturated() bool { return r.grant.Saturated() }

// Attempt counts from 1.
func (r *Run) Attempt() int { return r.attempt }

// Waited is how long the request waited for its turn on the copy.
func (r *Run) Waited() time.Duration { return r.grant.Waited() }

// WaitedForReady is how long the request waited in all for the version to be loaded, or
// for its engine to be started again.
func (r *Run) WaitedForReady() time.Duration { return r.ready }

// Idle is how long the request waited since the attempt before: for the version
// to be loaded, and for its turn.
func (r *Run) Idle() time.Duration { return r.idle + r.grant.Waited() }

// FirstToken notes that the answer has begun.
func (r *Run) FirstToken() { r.grant.FirstToken() }

// Count notes the tokens as the engine counted them; nil when it did not.
func (r *Run) Count(u *commonv1.TokenUsage) {
	if u == nil {
		return
	}
	r.result.Counted = true
	r.result.Prompt, r.result.Cached = int(u.GetPromptTokens()), int(u.GetCachedPromptTokens())
	r.result.Output = int(u.GetCompletionTokens())
}
