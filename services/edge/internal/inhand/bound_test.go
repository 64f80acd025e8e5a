package inhand_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/services/edge/internal/inhand"
)

// request is one over HTTP, as the port has it.
type request struct {
	ctx context.Context

	mu    sync.Mutex
	ends  func()
	taken int
}

func (r *request) Current() context.Context { return r.ctx }

func (r *request) OnEnd(ctx context.Context, f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx != r.ctx || r.ends != nil || ctx.Err() != nil {
		return false
	}
	r.ends, r.taken = f, r.taken+1
	return true
}

func (r *request) Forget(context.Context) {
	r.mu.Lock()
	r.ends = nil
	r.mu.Unlock()
}

// probe is a service whose handler is the test's.
type probe struct {
	grpc_health_v1.UnimplementedHealthServer
	handle func(ctx context.Context)
}

func (p probe) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	p.handle(ctx)
	return new(grpc_health_v1.HealthCheckResponse), nil
}

type held struct{}

// within has do called with the context of a call that is made for a request over HTTP,
// with the time of WithTimeoutCause, and with what ends the request. made says which
// context the call is made with.
func within(t *testing.T, calls *inhand.Calls, made func(context.Context) context.Context, do func(ctx, bounded context.Context, leave func())) (taken int) {
	t.Helper()
	of := new(request)
	var cancel context.CancelFunc
	of.ctx, cancel = context.WithCancel(context.WithValue(context.WithValue(t.Context(), inhand.RequestKey{}, of), held{}, 1))
	leave := func() {
		cancel()
		of.mu.Lock()
		ends := of.ends
		of.mu.Unlock()
		if ends != nil {
			ends()
		}
	}
	defer leave()
	conn := inproc.New(nil, func(r grpc.ServiceRegistrar) {
		grpc_health_v1.RegisterHealthServer(r, probe{handle: func(ctx context.Context) {
			ctx, done := calls.Begin(ctx)
			defer done()
			bounded, cancel := inhand.WithTimeoutCause(context.WithValue(ctx, held{}, 2), time.Hour, errTime)
			defer cancel()
			taken = of.taken
			do(ctx, bounded, leave)
		}})
	}, inproc.SameRequest(), inproc.SameEnd())
	_, _ = grpc_health_v1.NewHealthClient(conn).Check(made(of.ctx), new(grpc_health_v1.HealthCheckRequest))
	if of.ends != nil {
		t.Error("something is called after the call")
	}
	return taken
}

var errTime = errors.New("its time is over")

func own(ctx context.Context) context.Context { return ctx }

// ended says what a context and one made of it have ended for.
func ended(ctx context.Context, t *testing.T, err, cause error) {
	t.Helper()
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	<-child.Done()
	for _, c := range []context.Context{ctx, child} {
		if !errors.Is(c.Err(), err) || !errors.Is(context.Cause(c), cause) {
			t.Errorf("it ended with %v since %v, want %v since %v", c.Err(), context.Cause(c), err, cause)
		}
	}
}

// A call's time ends as one between contexts would: with its request, with the gateway,
// and when it is over.
func TestACallsTimeEnds(t *testing.T) {
	for name, made := range map[string]func(context.Context) context.Context{
		"the request's own": own,
		"one that may end before": func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			t.Cleanup(cancel)
			return ctx
		},
		"one with a time": func(ctx context.Context) context.Context {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Hour)
			t.Cleanup(cancel)
			return ctx
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				taken := within(t, inhand.New(), made, func(_, bounded context.Context, leave func()) {
					if bounded.Err() != nil || bounded.Value(held{}) != 2 {
						t.Errorf("before: %v, %v", bounded.Err(), bounded.Value(held{}))
					}
					leave()
					ended(bounded, t, context.Canceled, context.Canceled)
				})
				if want := name == "the request's own"; want != (taken == 1) {
					t.Errorf("the request ends %d things", taken)
				}
				calls := inhand.New()
				within(t, calls, made, func(ctx, bounded context.Context, _ func()) {
					calls.Cut()
					ended(bounded, t, context.Canceled, inhand.ErrEnding)
					if err := inhand.Outcome(ctx, errTime); !errors.Is(err, inhand.ErrEnding) {
						t.Errorf("a call that was cut answers %v", err)
					}
				})
				within(t, calls, made, func(_, bounded context.Context, _ func()) { // one that comes late
					ended(bounded, t, context.Canceled, inhand.ErrEnding)
				})
				within(t, inhand.New(), made, func(_, bounded context.Context, _ func()) {
					begun := time.Now()
					if at, ok := bounded.Deadline(); !ok || at.Sub(begun) != time.Hour {
						t.Errorf("its time is over at %v", at)
					}
					ended(bounded, t, context.DeadlineExceeded, errTime)
					if waited := time.Since(begun); waited != time.Hour {
						t.Errorf("its time was over after %v", waited)
					}
				})
			})
		})
	}
}

// What does not end with its request is not ended by that.
func TestWhatOutlivesItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := within(t, inhand.New(), context.WithoutCancel, func(_, bounded context.Context, leave func()) {
			leave()
			if bounded.Err() != nil {
				t.Errorf("it ended with %v", bounded.Err())
			}
			ended(bounded, t, context.DeadlineExceeded, errTime)
		})
		if taken != 0 {
			t.Errorf("the request ends %d things", taken)
		}
	})
}

// Of two calls for one request each ends with it.
func TestTwoCallsOfARequest(t *testing.T) {
	calls := inhand.New()
	within(t, calls, own, func(ctx, first context.Context, leave func()) {
		second, cancel := inhand.WithTimeoutCause(ctx, time.Hour, errTime)
		defer cancel()
		leave()
		ended(first, t, context.Canceled, context.Canceled)
		ended(second, t, context.Canceled, context.Canceled)
	})
}

// Elsewhere it is package context's.
func TestATimeOfNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bounded, cancel := inhand.WithTimeoutCause(t.Context(), time.Hour, errTime)
		defer cancel()
		ended(bounded, t, context.DeadlineExceeded, errTime)
		ctx, done := inhand.New().Begin(t.Context())
		bounded, cancel = inhand.WithTimeoutCause(ctx, time.Hour, errTime)
		defer cancel()
		done()
		ended(bounded, t, context.Canceled, context.Canceled)
	})
}
