package middleware

import (
	"context"
	"errors"

	"github.com/poterne/poterne/pkg/grpcserver"
)

// errDeadline is the cause that a handler sees when its class's time is over.
var errDeadline = errors.New("the gateway's time for this kind of request is over")

// deadline bounds the time of every request by its class, or where it is like no
// other of its class by its method: one without a
// deadline gets the class's, and one with a later deadline is held to it.
func (s *steps) deadline() grpcserver.Interceptor {
	return contextStep(NameDeadline, func(ctx context.Context, method string, _ headers) (context.Context, context.CancelFunc, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, s.Config.Deadlines.of(method, s.Classes[method]), errDeadline)
		return ctx, cancel, nil
	})
}
