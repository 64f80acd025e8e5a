package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
)

// tensorError gives an engine's gRPC error its place in the taxonomy. What the
// engine says is shown: it is about the caller's tensors.
func tensorError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, ours := errors.AsType[*apierr.Error](err); ours {
		return err
	}
	s := status.Convert(err)
	message := clean(s.Message())
	switch s.Code() {
	case codes.InvalidArgument, codes.FailedPrecondition:
		if strings.HasSuffix(message, " is not ready yet.") { // MLServer's ModelNotReady
			return apierr.Wrap(apierr.Unavailable, errors.New(message), "the model is not ready on the engine")
		}
		return apierr.New(apierr.InvalidArgument, "%s", message)
	case codes.OutOfRange:
		return apierr.New(apierr.InvalidArgument, "%s", message)
	case codes.Unauthenticated, codes.PermissionDenied:
		// The caller is not at fault; and what the engine says may repeat the key.
		return apierr.Wrap(apierr.EngineFailed, errors.New(s.Code().String()), "the engine refuses this worker's credentials")
	case codes.NotFound:
		return apierr.Wrap(apierr.EngineFailed, errors.New(message), "the engine does not have the model")
	case codes.Unimplemented:
		return apierr.New(apierr.Unimplemented, "the engine does not offer this: %s", message)
	case codes.ResourceExhausted:
		return apierr.Wrap(apierr.Overloaded, err, "the engine takes no more requests now, or none that large: %s", message).WithRetryAfter(time.Second)
	case codes.Unavailable, codes.Canceled:
		return apierr.Wrap(apierr.Unavailable, errors.New(message), "the engine does not answer")
	case codes.DeadlineExceeded:
		return apierr.Wrap(apierr.DeadlineExceeded, errors.New(message), "the engine took too long")
	case codes.OK, codes.Unknown, codes.Internal, codes.Aborted, codes.AlreadyExists, codes.DataLoss:
	}
	// It runs and says so: another one would fail just as well.
	return apierr.New(apierr.EngineFailed, "the engine failed on the request: %s", message)
}

// failedOnRequest reports whether the engine took the request and failed on it,
// whatever the reason.
func failedOnRequest(err error) bool {
	if ours, is := errors.AsType[*apierr.Error](err); is {
		return ours.Reason == apierr.EngineFailed // told inside a stream
	}
	code := status.Code(err)
	return code == codes.Internal || code == codes.Unknown
}

func noEndpoint[T any](name string, known map[string]T) error {
	return apierr.Invalid("spec.parameters.endpoint", "this worker knows no endpoint %q, only %q", name, slices.Sorted(maps.Keys(known)))
}
