package openai

import (
	"context"
	"errors"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/services/edge/internal/overload"
	"github.com/poterne/poterne/services/edge/internal/route"
)

// The causes for which a route ends what takes too long.
var (
	errRouteTime   = errors.New("the route's time for this request is over")
	errAttemptTime = errors.New("the model did not answer in the route's time")
)

// errFailsOften is the cause of errOpen.
var errFailsOften = errors.New("the model's breaker is open")

func errOpen(model string) error {
	return apierr.Wrap(apierr.Unavailable, errFailsOften, "the model %.64q failed too often of late, and is not asked for a while", model).WithRetryAfter(time.Second)
}

// reason is why an attempt failed. ctx is the request's, and attempt the attempt's.
func (t *trip) reason(ctx, attempt context.Context, err error) (route.Reason, error) {
	switch {
	case ctx.Err() != nil:
		if errors.Is(context.Cause(ctx), errRouteTime) {
			return route.Other, apierr.Wrap(apierr.DeadlineExceeded, errRouteTime, "the route's time for this request is over")
		}
		return route.Other, err
	case errors.Is(context.Cause(attempt), errAttemptTime):
		return route.Timeout, apierr.Wrap(apierr.DeadlineExceeded, errAttemptTime, "the model did not answer in the route's time")
	default:
		return reasonOf(err), err
	}
}

// reasonOf is why the inference service did not answer.
func reasonOf(err error) route.Reason {
	switch {
	case errors.Is(err, overload.ErrShed):
		return route.Other // asking again is what must not happen now
	case errors.Is(err, errFailsOften):
		return route.Open
	}
	//exhaustive:ignore
	switch apierr.ReasonOf(err) {
	case apierr.Unavailable:
		if grpcclient.Unreached(err) {
			return route.Unreached
		}
		return route.Unavailable
	case apierr.Overloaded, apierr.RateLimited: // the latter is a provider's
		return route.Overloaded
	case apierr.EngineFailed:
		return route.EngineFailed
	case apierr.DeadlineExceeded:
		return route.Timeout
	case apierr.ContextLengthExceeded:
		return route.ContextLength
	case apierr.ModelNotFound:
		return route.ModelNotFound
	case apierr.InvalidArgument, apierr.FailedPrecondition:
		if apierr.From(err).Field == "model" {
			return route.Unfit
		}
		return route.Other
	case apierr.PermissionDenied: // of the version that the request comes to
		return route.Unfit
	default:
		return route.Other
	}
}
