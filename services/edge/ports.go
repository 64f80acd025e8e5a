package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/services/edge/internal/doorway"
	"github.com/poterne/poterne/services/edge/internal/gateway"
	"github.com/poterne/poterne/services/edge/internal/inhand"
	"github.com/poterne/poterne/services/edge/internal/webtls"
)

// cutTime bounds how long requests that were cut may take to tell their clients:
// one event or one short answer, to a client that reads.
const cutTime = time.Second

// Ports are what the edge listens with. Start them after Components.
type Ports struct {
	HTTP *gateway.Server
	GRPC *grpcserver.Server
	// Redirect is nil unless the configuration asks for it.
	Redirect *gateway.Redirect

	calls *inhand.Calls
	clock clock.Clock
	began atomic.Pointer[time.Time] // when the drain began
}

// NewPorts returns the HTTP and gRPC ports, which listen once started.
func (s *Service) NewPorts() (*Ports, error) {
	abuse := s.cfg.Security.Abuse
	deps := webtls.Deps{Clock: s.opts.clock, Telemetry: s.opts.telemetry, OpenACME: s.opts.acme}
	web, err := webtls.Open(s.cfg.HTTP.TLS, deps)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	rpc, err := webtls.OpenGRPC(s.cfg.GRPC.TLS, web, deps)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	opts := []grpcserver.Option{grpcserver.WithReadiness(s.readiness), grpcserver.WithWrap(s.doorway(abuse.ProxyProtocol.GRPC)), grpcserver.WithSlow(s.security.Slow)}
	if rpc != nil {
		opts = append(opts, grpcserver.WithCredentials(credentials.NewTLS(rpc.Config("h2"))))
	}
	server, err := grpcserver.New(s.cfg.GRPC, s.opts.telemetry, s.chain, s.RegisterGRPC, opts...)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	p := &Ports{
		HTTP: gateway.NewServer(s.cfg.HTTP, s.handler, web, s.doorway(abuse.ProxyProtocol.HTTP), s.opts.telemetry.Logger), GRPC: server,
		calls: s.security.Calls, clock: s.opts.clock,
	}
	p.Redirect = gateway.NewRedirect(s.cfg.HTTP, web, p.HTTP, s.opts.telemetry.Logger)
	return p, nil
}

// doorway decides about the connections of a port.
func (s *Service) doorway(proxy bool) func(net.Listener) net.Listener {
	abuse := s.cfg.Security.Abuse
	return func(lis net.Listener) net.Listener {
		return doorway.Wrap(lis, doorway.Config{
			PerAddress: abuse.ConnectionsPerAddress, Proxy: proxy, HeaderTimeout: abuse.ProxyProtocol.HeaderTimeout,
		}, s.security.Bans)
	}
}

// Components runs the ports. Draining closes both at once and waits for the
// requests in hand. Those that the time is not enough for are cut: they answer
// that the gateway is ending, while all that is behind them still runs.
func (p *Ports) Components() []lifecycle.Component {
	rpc, web := p.GRPC.Component(), p.HTTP.Component()
	// One after the other, the second would still take requests. Each keeps its
	// own drain too, which finds nothing left then: it ends the port that is open
	// when the other one could not be opened.
	drain := func(ctx context.Context) error { return both(ctx, rpc.Drain, web.Drain) }
	cut := func(ctx context.Context) error { return p.cut(ctx, drain, web.Stop, rpc.Stop) }
	requests := lifecycle.Component{
		Name: "edge: requests", Cut: cut,
		Drain: func(ctx context.Context) error {
			now := p.clock.Now()
			p.began.Store(&now)
			return drain(ctx)
		},
	}
	comps := []lifecycle.Component{rpc, web}
	if p.Redirect != nil {
		comps = append(comps, p.Redirect.Component())
	}
	return append(comps, requests)
}

func (p *Ports) cut(ctx context.Context, drain func(context.Context) error, closers ...func(context.Context) error) error {
	var took time.Duration
	if began := p.began.Load(); began != nil {
		took = p.clock.Now().Sub(*began).Round(10 * time.Millisecond)
	}
	n := p.calls.Cut()
	short, cancel := context.WithTimeout(ctx, cutTime)
	defer cancel()
	// What does not end in time is a client that does not read, or one that has
	// not sent its request yet: nobody that could be told.
	_ = drain(short)
	var errs []error
	switch n {
	case 0:
		errs = append(errs, fmt.Errorf("connections were cut after %v that were not idle", took))
	case 1:
		errs = append(errs, fmt.Errorf("1 request was cut after %v", took))
	default:
		errs = append(errs, fmt.Errorf("%d requests were cut after %v", n, took))
	}
	for _, closer := range closers {
		errs = append(errs, closer(ctx))
	}
	return errors.Join(errs...)
}

// both calls a and b side by side.
func both(ctx context.Context, a, b func(context.Context) error) error {
	var wg sync.WaitGroup
	var first error
	wg.Go(func() { first = a(ctx) })
	second := b(ctx)
	wg.Wait()
	return errors.Join(first, second)
}
