package rpc

import (
	"context"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/metrics"
	"github.com/poterne/poterne/services/search/internal/outage"
)

// NameOutages is the name of the interceptor.
const NameOutages = "outages"

// Outages is the step next to the handlers: a store or an index that cannot be
// used now is UNAVAILABLE, and its cause is logged here, for it is shown to
// nobody.
func Outages(m *metrics.Metrics) grpcserver.Interceptor {
	return grpcserver.Interceptor{
		Name: NameOutages,
		Unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			resp, err := handler(ctx, req)
			err = outage.Of(err)
			if outage.Is(err) {
				m.NotServed(ctx, info.FullMethod, err)
			}
			return resp, err
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			err := outage.Of(handler(srv, ss))
			if outage.Is(err) {
				m.NotServed(ss.Context(), info.FullMethod, err)
			}
			return err
		},
	}
}

// noteFailures logs why documents could not be written: their results go to
// the caller, without the cause and past the interceptors.
func (s *Server) noteFailures(ctx context.Context, method string, results []ingest.Result) {
	var last *apierr.Error // one failure is many results'
	for _, r := range results {
		if r.Err == nil || r.Err == last || r.Err.Reason != apierr.Internal && !outage.Is(r.Err) {
			continue
		}
		last = r.Err
		s.o.Metrics.NotServed(ctx, method, last)
	}
}
