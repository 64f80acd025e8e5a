package apierr

import (
	"context"
	"errors"

	"google.golang.org/grpc/status"
)

const internalMessage = "an internal error occurred; the request id finds it in the logs"

// From returns err as an Error: an Error in its chain as it is; what protovalidate
// found, a gRPC status and a context's end by their meaning; anything else as
// INTERNAL with err as a cause that is never shown. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e := fromValidation(err); e != nil {
		return e
	}
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) && s.GRPCStatus() != nil {
		return fromStatus(s.GRPCStatus(), err)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Wrap(DeadlineExceeded, err, "the request took longer than its deadline")
	case errors.Is(err, context.Canceled):
		return Wrap(Cancelled, err, "the request was cancelled")
	default:
		return Wrap(Internal, err, internalMessage)
	}
}
