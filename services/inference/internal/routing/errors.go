package routing

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
)

// What callers are told to wait before another try.
const (
	retrySoon  = time.Second
	retryLater = 5 * time.Second
)

// CallerGoneError is what a Try returns when it is the caller who could not be
// reached: no worker is at fault.
type CallerGoneError struct{ Err error }

func (e *CallerGoneError) Error() string { return "the caller is gone: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *CallerGoneError) Unwrap() error { return e.Err }

// ResumeError is what a Try returns when a part of the answer was passed on, and
// another worker can go on with it.
type ResumeError struct{ Err error }

func (e *ResumeError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ResumeError) Unwrap() error { return e.Err }

// verdict says what a failed attempt means for the request.
type verdict struct {
	err *apierr.Error
	// lost: the worker could not be reached, or went away.
	lost bool
	// elsewhere: another worker may do better.
	elsewhere bool
	// away: the engine was gone, or not there yet.
	away bool
}

// The metadata by which a worker says that an engine ended under the request, and that
// there is none just now that could have taken it.
const (
	metadataEngineEnded = "engine_ended"
	metadataEngineAway  = "engine_away"
)

// judge reads the error of attempt number n, from 1. ctx is the request's own:
// while it lives, a cancellation came from the worker's side.
func judge(ctx context.Context, err error, n int) verdict {
	if ctx.Err() != nil {
		return verdict{err: apierr.From(errors.Join(context.Cause(ctx), ctx.Err()))}
	}
	if _, gone := errors.AsType[*CallerGoneError](err); gone {
		return verdict{err: apierr.Wrap(apierr.Cancelled, err, "the request was cancelled")}
	}
	e := apierr.From(err)
	if fromTransport(err) {
		return verdict{err: e, lost: true, elsewhere: true}
	}
	v := verdict{err: e, away: e.Metadata[metadataEngineEnded] == "true" || e.Metadata[metadataEngineAway] == "true"}
	switch e.Reason { //nolint:exhaustive // the others are about the request itself
	case apierr.Unavailable, apierr.Overloaded:
		v.elsewhere = true
	case apierr.Cancelled:
		// The worker is being stopped.
		v.lost, v.elsewhere = true, true
	case apierr.NotFound, apierr.ModelNotFound, apierr.FailedPrecondition:
		// The version was unloaded after the last report.
		v.elsewhere = true
		v.err = apierr.Wrap(apierr.Unavailable, err, "the version is being unloaded").WithRetryAfter(retrySoon)
	case apierr.EngineFailed:
		// Once: a request that brings down engines must not visit them all.
		v.elsewhere = n == 1
	}
	return v
}

// unready reports whether err says that a copy cannot serve anybody now.
func unready(err error) bool {
	if fromTransport(err) {
		return true
	}
	e := apierr.From(err)
	return e.Reason == apierr.Unavailable || e.Reason == apierr.FailedPrecondition || e.Metadata[metadataEngineEnded] == "true"
}

// fromTransport reports whether err was made by gRPC on this side, and not said
// by the worker.
func fromTransport(err error) bool {
	if _, ok := status.FromError(err); !ok || apierr.Answered(err) {
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.Internal, codes.Unknown:
		return true
	default:
		return false
	}
}

// broken is the error of an answer that had begun.
func (v verdict) broken() error {
	switch v.err.Reason { //nolint:exhaustive // the others are said as they are
	case apierr.Unavailable, apierr.Cancelled, apierr.Internal:
		if v.lost || v.err.Reason == apierr.Unavailable {
			return apierr.Wrap(apierr.EngineFailed, v.err, "the worker was lost in the middle of the answer")
		}
	}
	return v.err
}

// exhausted is the error of a request that no worker took.
func (v verdict) exhausted() error {
	switch {
	case v.lost:
		return apierr.Wrap(apierr.Unavailable, v.err, "no worker could be reached; try again").WithRetryAfter(retrySoon)
	case v.err.RetryAfter == 0 && (v.err.Reason == apierr.Overloaded || v.err.Reason == apierr.Unavailable):
		return v.err.WithRetryAfter(retrySoon)
	default:
		return v.err
	}
}
