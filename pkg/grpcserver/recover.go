package grpcserver

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/requestid"
)

// Recover is the outermost step: a panic below becomes INTERNAL, its stack is
// logged and never shown, and any error leaves as a status of the taxonomy with
// the request id, which it has from a place that the step for it fills.
func Recover(log *slog.Logger) Interceptor {
	return Interceptor{
		Name: NameRecover,
		Unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
			held, place := requestid.Hold(ctx)
			defer func() {
				if v := recover(); v != nil {
					resp, err = nil, panicked(ctx, log, info.FullMethod, place.ID(), v)
				}
				err = final(err, place.ID())
			}()
			return handler(held, req)
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
			ctx := ss.Context()
			held, place := requestid.Hold(ctx)
			defer func() {
				if v := recover(); v != nil {
					err = panicked(ctx, log, info.FullMethod, place.ID(), v)
				}
				err = final(err, place.ID())
			}()
			return handler(srv, WithContext(ss, held))
		},
	}
}

func panicked(ctx context.Context, log *slog.Logger, method, requestID string, v any) error {
	log.ErrorContext(ctx, "panic", slog.String(keyMethod, method), slog.String("request_id", requestID),
		slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
	return apierr.From(fmt.Errorf("panic in %s", method))
}

// final returns err as the bare status that leaves the process: an in-process
// caller must not find the cause in it either.
func final(err error, requestID string) error {
	if err == nil {
		return nil
	}
	return apierr.From(toStatus(err, requestID)).GRPCStatus().Err()
}

// toStatus returns err as an error of the taxonomy that names the request.
func toStatus(err error, requestID string) error {
	if err == nil {
		return nil
	}
	e := apierr.From(err)
	if requestID != "" && e.RequestID() == "" {
		e = e.WithMetadata(apierr.MetadataRequestID, requestID)
	}
	return e
}
