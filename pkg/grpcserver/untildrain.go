package grpcserver

import (
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// watch bounds the streams of health and reflection, and ends them when the
// server drains. They have no end of their own, and a graceful stop would wait
// for them.
func (s *Server) watch(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if !aboutServer(info.FullMethod) {
		return handler(srv, ss)
	}
	done, err := s.watches.open(ss.Context())
	if err != nil {
		return err
	}
	defer done()
	ended := make(chan error, 1)
	go func() {
		// This goroutine is outside the step that recovers.
		defer func() {
			if p := recover(); p != nil {
				ended <- fmt.Errorf("%s: panic: %v", info.FullMethod, p)
			}
		}()
		ended <- handler(srv, ss)
	}()
	select {
	case err := <-ended:
		return err
	case <-s.draining:
		// The stream ends with this return, and with it what the handler waits for.
		return status.Error(codes.Unavailable, "this server is ending")
	}
}

// aboutServer reports whether the method is about the server itself.
func aboutServer(fullMethod string) bool {
	return strings.HasPrefix(fullMethod, "/grpc.health.v1.") || strings.HasPrefix(fullMethod, "/grpc.reflection.")
}
