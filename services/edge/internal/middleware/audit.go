package middleware

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/inhand"
)

// audit records every request but those that need no caller, which ask about
// the gateway itself and would fill the trail with health checks. It is outside
// of the steps that decide, so that refusals are recorded too, and of handlers
// that panic, which it records as failed. Since no call must be forgotten, it is
// also where the calls in hand are known, and where one that the gateway's end
// cuts gets its answer.
func (s *steps) audit() grpcserver.Interceptor {
	return grpcserver.Interceptor{
		Name: NameAudit,
		Unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
			ctx, end, err := s.begin(ctx, info.FullMethod)
			if err != nil {
				return nil, err
			}
			err = errUnfinished
			defer func() { end(err) }()
			resp, err = handler(ctx, req)
			err = inhand.Outcome(ctx, err)
			return resp, err
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
			ctx, end, err := s.begin(ss.Context(), info.FullMethod)
			if err != nil {
				return err
			}
			err = errUnfinished
			defer func() { end(err) }()
			err = inhand.Outcome(ctx, handler(srv, grpcserver.WithContext(ss, ctx)))
			return err
		},
	}
}

// errUnfinished is what a handler that panicked answered, as far as the record
// goes.
var errUnfinished = apierr.New(apierr.Internal, "the handler did not return")

func (s *steps) begin(ctx context.Context, method string) (context.Context, func(error), error) {
	ctx, done := s.Calls.Begin(ctx)
	if s.Methods[method].Access == authz.Public {
		return ctx, func(error) { done() }, nil
	}
	if a := admitted(ctx); a != nil {
		if err := a.call(); err != nil {
			done()
			return nil, nil, err
		}
		ctx = audit.NewContext(ctx, a.entry)
		return ctx, func(err error) {
			defer done()
			s.Trail.Append(ctx, s.record(ctx, a.entry, method, a.start, err))
		}, nil
	}
	if err := s.Trail.Admit(ctx); err != nil {
		done()
		return nil, nil, err
	}
	start := s.Clock.Now()
	entry := new(audit.Entry)
	entry.SetAddress(s.Addresses.FromContext(ctx))
	ctx = audit.NewContext(ctx, entry)
	atDoor(ctx, done)
	return ctx, func(err error) {
		if !leave(ctx) {
			return // the call that the request became has taken over
		}
		defer done()
		if entry.Omitted() {
			s.Trail.Forgo()
			return
		}
		s.Trail.Append(ctx, s.record(ctx, entry, method, start, err))
	}, nil
}

func (s *steps) record(ctx context.Context, entry *audit.Entry, method string, start time.Time, err error) audit.Record {
	rec := entry.Record()
	rec.ID, rec.RequestID, rec.Method = s.IDs.New(), requestid.FromContext(ctx), method
	rec.Time, rec.Duration = start, s.Clock.Now().Sub(start)
	rec.Decision = audit.Allowed
	if err != nil {
		reason := apierr.ReasonOf(err)
		rec.Reason = string(reason)
		if refusal(reason) {
			rec.Decision = audit.Refused
		}
	}
	return rec
}

// refusal reports whether an error of this reason means that the gateway did
// not let the request through, as against one that was let through and failed.
func refusal(r apierr.Reason) bool {
	//exhaustive:ignore
	switch r {
	case apierr.Unauthenticated, apierr.PermissionDenied, apierr.RateLimited, apierr.QuotaExceeded, apierr.InvalidArgument,
		apierr.PayloadTooLarge, apierr.UnsupportedMediaType:
		return true
	default:
		return false
	}
}
