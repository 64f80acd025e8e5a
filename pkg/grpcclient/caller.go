package grpcclient

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
)

const scope = "github.com/poterne/poterne/pkg/grpcclient"

// caller is the steps that every call on one connection passes.
type caller struct {
	cfg     Config
	tel     *telemetry.Telemetry
	tracer  trace.Tracer
	breaker *breaker
	more    []Outgoing
	kind    []trace.SpanStartOption
}

func newCaller(target string, cfg Config, tel *telemetry.Telemetry, more []Outgoing) *caller {
	return &caller{
		cfg: cfg, tel: tel, tracer: tel.Tracer(scope), breaker: newBreaker(target, cfg.Breaker, tel.Logger), more: more,
		kind: tel.SpanKind(trace.SpanKindClient),
	}
}

// leaving is a call on its way out: when it has to be over, and what goes with it.
type leaving struct {
	ctx      context.Context //nolint:containedctx // the call's
	md       metadata.MD
	deadline time.Time // zero: none but its caller's
	done     func(error)
	span     trace.Span
}

// leave passes a call through the steps, which has the timeout if its caller has no
// deadline; same says that the server has its caller's request without metadata. Unless
// there is an error, it is to be told what came of it.
func (c *caller) leave(ctx context.Context, method string, timeout time.Duration, same bool) (l leaving, err error) {
	if l.deadline, err = c.deadline(ctx, timeout); err != nil {
		return l, err
	}
	if l.done, err = c.breaker.allow(); err != nil {
		return l, err
	}
	if l.ctx, l.md, l.span, err = c.outgoing(ctx, method, same); err != nil {
		l.tell(err)
	}
	return l, err
}

func (l *leaving) tell(err error) {
	l.done(err)
	endSpan(l.span, err)
}

func (c *caller) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	l, err := c.leave(ctx, method, c.cfg.Timeout, false)
	if err != nil {
		return err
	}
	ctx, cancel := until(metadata.NewOutgoingContext(l.ctx, l.md), l.deadline)
	defer cancel()
	err = invoker(ctx, method, req, reply, cc, opts...) //nolint:contextcheck // the call's own, made of the caller's
	l.tell(err)
	return err
}

// until returns a context of a call that ends at its deadline, unless that is zero.
func until(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline)
}

func (c *caller) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	deadline, err := c.deadline(ctx, 0)
	if err != nil {
		return nil, err
	}
	done, err := c.breaker.allow()
	if err != nil {
		return nil, err
	}
	ctx, cancel := until(ctx, deadline)
	ctx, md, span, err := c.outgoing(ctx, method, false)
	if err != nil {
		done(err)
		cancel()
		endSpan(span, err)
		return nil, err
	}
	ctx = metadata.NewOutgoingContext(ctx, md)
	s := &observedStream{span: span, done: done, cancel: cancel}
	// A stream whose answer is slow to begin says nothing of the backend, and must
	// not keep others from trying it.
	s.patience = time.AfterFunc(streamPatience, func() { s.answered(context.Canceled) }) //nolint:forbidigo // as contexts' deadlines
	// A stream that its caller abandons ends with its context.
	s.mu.Lock()
	s.unhook = context.AfterFunc(ctx, func() { s.finish(context.Cause(ctx)) })
	s.mu.Unlock()
	s.ClientStream, err = streamer(ctx, desc, cc, method, opts...)
	if err != nil {
		s.answered(err)
		s.finish(err)
		return nil, err
	}
	return s, nil
}

// streamPatience is how long a stream may be without an answer before it counts
// for nothing.
const streamPatience = time.Second

// deadline returns when a call has to be over: one whose caller has no deadline, timeout
// from now, and zero for no time at all when that is 0; headroom before the deadline that
// there is (as Boulder does).
func (c *caller) deadline(ctx context.Context, timeout time.Duration) (time.Time, error) {
	end, ok := ctx.Deadline()
	if !ok && timeout <= 0 {
		return time.Time{}, nil
	}
	now := time.Now() //nolint:forbidigo // a context's deadline is on the machine's clock
	if !ok {
		return now.Add(timeout), nil
	}
	left := end.Sub(now)
	if left <= 0 {
		return time.Time{}, apierr.Wrap(apierr.DeadlineExceeded, context.DeadlineExceeded,
			"the request took longer than its deadline")
	}
	return end.Add(-min(c.cfg.Headroom, left/10)), nil
}

// outgoing opens the call's span and returns what goes with the call: the metadata that
// ctx has for it, the trace and the request id unless the server has them, and what the
// options add. It may be other calls', too.
func (c *caller) outgoing(ctx context.Context, method string, same bool) (context.Context, metadata.MD, trace.Span, error) {
	ctx, span := c.tracer.Start(ctx, strings.TrimPrefix(method, "/"), c.kind...)
	var m Metadata
	m.md, _ = metadata.FromOutgoingContext(ctx) // a copy
	if !same {
		m = m.own()
		if id := requestid.FromContext(ctx); id != "" {
			m.md[requestid.MetadataKey] = []string{id}
		}
		c.tel.Propagator.Inject(ctx, telemetry.MetadataCarrier(m.md))
	}
	for _, more := range c.more {
		var err error
		if m, err = more(ctx, m); err != nil {
			return ctx, nil, span, err
		}
	}
	if m.md == nil {
		m.md = make(metadata.MD)
	}
	return ctx, m.md, span, nil
}

func endSpan(span trace.Span, err error) {
	if err != nil && !errors.Is(err, io.EOF) {
		span.SetStatus(codes.Error, string(apierr.ReasonOf(err)))
	}
	span.End()
}

// observedStream tells the breaker of the first answer and ends the span with
// the stream.
type observedStream struct {
	grpc.ClientStream
	span   trace.Span
	cancel context.CancelFunc

	mu     sync.Mutex
	unhook func() bool

	first    sync.Once
	patience *time.Timer
	done     func(error)
	last     sync.Once
}

func (s *observedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.patience.Stop()
	s.answered(err)
	if err != nil {
		s.finish(err)
	}
	return err
}

// answered tells the breaker whether the backend answered, once.
func (s *observedStream) answered(err error) {
	s.first.Do(func() {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		s.done(err)
	})
}

// finish ends the span and frees what the stream held, once.
func (s *observedStream) finish(err error) {
	s.last.Do(func() {
		s.answered(context.Canceled) // no answer by now: it says nothing of the backend
		s.patience.Stop()
		endSpan(s.span, err)
		s.mu.Lock() // the context may end while it is being hooked
		defer s.mu.Unlock()
		s.unhook()
		s.cancel()
	})
}
