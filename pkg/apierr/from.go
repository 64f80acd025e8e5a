package apierr

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

const internalMessage = "an internal error occurred; the request id finds it in the logs"

// Answered reports whether err is what a service said, as against what gRPC, or
// something between the two ends, says of a call that got no answer: a service
// always gives a reason, as an Error in its own process and as ErrorInfo in a
// status. It is false for nil.
func Answered(err error) bool {
	if _, ours := errors.AsType[*Error](err); ours {
		return true
	}
	s, ok := status.FromError(err)
	if !ok {
		return false
	}
	for _, d := range s.Details() {
		if _, ok := d.(*errdetails.ErrorInfo); ok {
			return true
		}
	}
	return false
}

// Passed returns what another service of ours answered that err is, or was made of; nil
// where err began in this service. Who answered has told of it in its own log.
func Passed(err error) *Error {
	for {
		e, ours := errors.AsType[*Error](err)
		if !ours {
			break
		}
		err = e.cause
	}
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) || s.GRPCStatus() == nil {
		return nil
	}
	for _, d := range s.GRPCStatus().Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return fromStatus(s.GRPCStatus(), err)
		}
	}
	return nil
}

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
