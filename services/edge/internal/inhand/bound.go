package inhand

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/inproc"
)

// RequestKey is what a context is asked for to find the Request over HTTP that it is of.
type RequestKey struct{}

// Request is what tells that a request over HTTP has ended without a context that waits
// for it: of most requests one thing has to be ended, and it costs less to call that. It is
// safe for concurrent use, and may be another request's a moment later.
type Request interface {
	// Current returns the context of the request in hand; nil: there is none.
	Current() context.Context
	// OnEnd has f called when ctx ends; false: it is not, since ctx has ended, or is
	// another's, or something else is called already.
	OnEnd(ctx context.Context, f func()) bool
	// Forget has nothing called any more when ctx ends.
	Forget(ctx context.Context)
}

// WithTimeoutCause is package context's, of a context that Begin returned or one made of
// it. Where nothing but the end of a Request and that of the gateway can end it before its
// time, no other context stands between: each would cost its room in every request.
func WithTimeoutCause(ctx context.Context, timeout time.Duration, cause error) (context.Context, context.CancelFunc) {
	one, _ := ctx.Value(callKey{}).(*call)
	if one != nil {
		if request, current := one.request(ctx); request != nil {
			bounded, cancel := context.WithTimeoutCause(alive{ctx, one.of.end}, timeout, cause)
			if request.OnEnd(current, cancel) {
				return bounded, func() {
					request.Forget(current)
					cancel()
				}
			}
			cancel()
		}
	}
	return context.WithTimeoutCause(ctx, timeout, cause)
}

// request returns the request whose end is the call's, with its context; nil: something
// else may end the call, too.
func (o *call) request(ctx context.Context) (Request, context.Context) {
	client := inproc.ClientContext(o.Context)
	if client == nil {
		return nil, nil
	}
	request, _ := client.Value(RequestKey{}).(Request)
	if request == nil {
		return nil, nil
	}
	current := request.Current()
	if _, bounded := ctx.Deadline(); bounded || current == nil || current.Value(o.of.endKey) != ctx.Value(o.of.endKey) {
		return nil, nil
	}
	return request, current
}

// alive is a context that ends with the gateway only.
type alive struct {
	context.Context                 //nolint:containedctx // it is one
	end             context.Context //nolint:containedctx // the gateway's
}

// Done is closed when the gateway ends.
func (a alive) Done() <-chan struct{} { return a.end.Done() }

// Err says that the gateway ends.
func (a alive) Err() error { return a.end.Err() }

// Value is the context's, and what ends it.
func (a alive) Value(key any) any {
	if v := a.end.Value(key); v != nil {
		return v
	}
	return a.Context.Value(key)
}

// asked learns what package context asks one for to find what ends it.
type asked struct {
	context.Context //nolint:containedctx // it is a context
	key             *any
}

func (a asked) Value(key any) any {
	*a.key = key
	return nil
}

func endKey() (key any) {
	ended, cancel := context.WithCancel(context.Background()) // others have no cause
	cancel()
	_ = context.Cause(asked{ended, &key})
	return key
}
