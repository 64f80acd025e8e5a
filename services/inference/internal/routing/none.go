package routing

import (
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// none is the error of a request for which there is no copy left.
func (r *Router) none(view *fleet.View, q *Query, last verdict) error {
	err := r.why(view, q, last)
	if e := apierr.From(err); q.waited > 0 && e.Reason == apierr.Unavailable {
		return e.WithMetadata(metadataWaited, strconv.FormatInt(q.waited.Milliseconds(), 10))
	}
	return err
}

// why is why there is none: what the last attempt met, unless more is known of the version.
func (r *Router) why(view *fleet.View, q *Query, last verdict) error {
	if last.err != nil && last.err.Reason != apierr.Unavailable {
		return last.exhausted()
	}
	if err := r.restarting(view, q, last); err != nil {
		return err
	}
	if last.err != nil {
		return last.exhausted()
	}
	if !q.Referenced {
		return apierr.New(apierr.FailedPrecondition, "%s is loaded on no worker, and nothing asks for it: "+
			"point an alias or an arm of the split at it", q.Name).WithField("model").WithMetadata("model", q.Name)
	}
	if n := q.loading(view); n > 0 {
		return loading(view, q, n)
	}
	err := apierr.New(apierr.Unavailable, "no worker is ready to serve %s; try again", q.Name)
	if r.opts.Problem != nil {
		if problem := r.problem(q); problem != "" {
			err = apierr.New(apierr.Unavailable, "no worker is ready to serve %s: %s", q.Name, problem)
		}
	}
	return err.WithMetadata("model", q.Name).WithRetryAfter(retryLater)
}

// restarting says that the version's engine failed, and when to ask for it again; nil
// where none is started again.
func (r *Router) restarting(view *fleet.View, q *Query, last verdict) error {
	var cause error
	if last.err != nil {
		cause = last.err
	}
	again, told := q.restart(view)
	starting := q.starting(view)
	var err *apierr.Error
	switch {
	case starting > 0 && starting == q.loading(view):
		err = apierr.Wrap(apierr.Unavailable, cause, "the engine of %s failed, and is being started again; try again", q.Name).WithRetryAfter(retrySoon)
	case told && q.loading(view) == 0:
		left := min(max((again.At.Sub(r.opts.Clock.Now())+time.Second-1).Truncate(time.Second), retrySoon), mostRetry)
		err = apierr.Wrap(apierr.Unavailable, cause, "the engine of %s failed, and is started again in %v; try again then", q.Name, left).WithRetryAfter(left)
	case last.away:
		err = apierr.Wrap(apierr.Unavailable, cause, "the engine of %s failed; try again", q.Name).WithRetryAfter(max(last.err.RetryAfter, retrySoon))
	default:
		return nil
	}
	return err.WithMetadata("model", q.Name).WithMetadata("state", "restarting")
}

// loading says how far the loads of a version are: of those whose files are
// being fetched, the one that is furthest.
func loading(view *fleet.View, q *Query, workers int) error {
	err := apierr.New(apierr.Unavailable, "%s is being loaded on %d of the workers; try again", q.Name, workers)
	wait := retryLater
	if f := q.fetching(view); f != nil {
		percent := int(100 * f.GetDoneBytes() / max(f.GetTotalBytes(), 1))
		err = apierr.New(apierr.Unavailable, "%s is being fetched: %d %% of %d bytes are there; try again", q.Name, percent, f.GetTotalBytes()).
			WithMetadata("progress_percent", strconv.Itoa(percent)).
			WithMetadata("done_bytes", strconv.FormatInt(f.GetDoneBytes(), 10)).
			WithMetadata("total_bytes", strconv.FormatInt(f.GetTotalBytes(), 10))
		if rate := f.GetBytesPerSecond(); rate > 0 {
			left := time.Duration(float64(f.GetTotalBytes()-f.GetDoneBytes()) / float64(rate) * float64(time.Second))
			wait = min(max(left.Round(time.Second), retryLater), mostRetry)
		}
	}
	return err.WithMetadata("model", q.Name).WithMetadata("state", "loading").WithRetryAfter(wait)
}

// problem is why the best form is not loaded that was refused.
func (r *Router) problem(q *Query) string {
	for _, digest := range q.forms() {
		if problem := r.opts.Problem(digest); problem != "" {
			return problem
		}
	}
	return ""
}

// restart returns the first start of an engine that failed; false when there is none.
func (q *Query) restart(view *fleet.View) (first fleet.Restart, ok bool) {
	for _, digest := range q.forms() {
		for _, one := range view.Restarts(digest) {
			if !ok || one.At.Before(first.At) {
				first, ok = one, true
			}
		}
	}
	return first, ok
}

// starting returns how many workers start an engine again that failed and may serve the
// request.
func (q *Query) starting(view *fleet.View) int {
	n := 0
	for _, digest := range q.forms() {
		n += view.Starting(digest)
	}
	return n
}

// fetching returns how far the fetching of the best variant is that is fetched.
func (q *Query) fetching(view *fleet.View) *workerv1.FetchProgress {
	for _, digest := range q.forms() {
		if f := view.Fetching(digest); f != nil {
			return f
		}
	}
	return nil
}

// metadataWaited is for how many milliseconds a request waited for its version in vain.
const metadataWaited = "ready_wait_ms"

// mostRetry bounds what a caller is told to wait for files that are fetched.
const mostRetry = 10 * time.Minute
