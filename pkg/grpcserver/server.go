package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/poterne/poterne/pkg/callwire"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/connlimit"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
)

// Server is a gRPC server that listens once its component is started.
type Server struct {
	cfg    Config
	log    *slog.Logger
	grpc   *grpc.Server
	health *grpchealth.Server
	wrap   func(net.Listener) net.Listener
	direct *callwire.Server // nil: all calls are ordinary

	watches *watches

	// draining is closed when the drain begins.
	draining  chan struct{}
	drainOnce sync.Once

	mu  sync.Mutex
	lis net.Listener
}

// Option changes what New makes.
type Option func(*options)

type options struct {
	listener  net.Listener
	readiness *health.Readiness
	creds     credentials.TransportCredentials
	wrap      func(net.Listener) net.Listener
	slow      func(ctx context.Context, side string)
	direct    bool
}

// WithDirect takes calls with one request on connections of package callwire as well,
// through the same port, credentials and chain.
func WithDirect() Option { return func(o *options) { o.direct = true } }

// WithListener serves on lis instead of listening on the configured address.
// The server closes it.
func WithListener(lis net.Listener) Option { return func(o *options) { o.listener = lis } }

// WithReadiness makes the gRPC health service follow r: of the server as a
// whole and of each of its services. Without it they serve until the drain.
func WithReadiness(r *health.Readiness) Option { return func(o *options) { o.readiness = r } }

// WithCredentials serves with these transport credentials in place of those of
// the section tls.
func WithCredentials(c credentials.TransportCredentials) Option {
	return func(o *options) { o.creds = c }
}

// WithWrap serves on what wrap makes of the listener, which decides about
// connections before a byte is read.
func WithWrap(wrap func(net.Listener) net.Listener) Option { return func(o *options) { o.wrap = wrap } }

// The sides of a slow caller.
const (
	SlowRequest = "request"
	SlowAnswer  = "answer"
)

// WithSlow has slow called for every stream that is ended since its caller sends, or
// takes, too slowly; side is SlowRequest or SlowAnswer.
func WithSlow(slow func(ctx context.Context, side string)) Option {
	return func(o *options) { o.slow = slow }
}

// New returns a server of what register registers, through chain, with the
// health service and, unless turned off, reflection (v1 and v1alpha). These
// two pass the chain as well.
func New(cfg Config, tel *telemetry.Telemetry, chain Chain, register func(grpc.ServiceRegistrar), opts ...Option) (*Server, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if register == nil {
		return nil, errors.New("grpcserver: nothing to register")
	}
	serverOpts := cfg.options(chain, o.slow)
	if o.creds == nil && cfg.TLS.On() {
		creds, err := cfg.TLS.Server(tlsfiles.Options{Name: "grpc", Clock: clock.Real(), Telemetry: tel})
		if err != nil {
			return nil, fmt.Errorf("grpcserver: tls: %w", err)
		}
		o.creds = creds
	}
	var direct *callwire.Server
	if o.direct {
		direct = callwire.NewServer(cfg.direct(chain, o.slow))
		if o.creds == nil {
			o.creds = insecure.NewCredentials()
		}
		o.creds = direct.Credentials(o.creds)
	}
	if o.creds != nil {
		serverOpts = append(serverOpts, grpc.Creds(o.creds))
	}
	s := &Server{
		cfg: cfg, log: tel.Logger, health: grpchealth.NewServer(), lis: o.listener, wrap: o.wrap, draining: make(chan struct{}),
		watches: newWatches(cfg.MaxWatches, cfg.MaxWatchesPerAddress), direct: direct,
	}
	s.grpc = grpc.NewServer(append(serverOpts, grpc.ChainStreamInterceptor(s.watch))...)
	if direct != nil {
		register(direct.Registrar(s.grpc))
	} else {
		register(s.grpc)
	}
	s.followReadiness(o.readiness)
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	if cfg.Reflection {
		reflection.Register(s.grpc)
	}
	return s, nil
}

func (s *Server) followReadiness(r *health.Readiness) {
	services := []string{""}
	for name := range s.grpc.GetServiceInfo() {
		services = append(services, name)
	}
	set := func(ready bool) {
		state := grpc_health_v1.HealthCheckResponse_NOT_SERVING
		if ready {
			state = grpc_health_v1.HealthCheckResponse_SERVING
		}
		for _, name := range services {
			s.health.SetServingStatus(name, state)
		}
	}
	if r == nil {
		set(true)
		return
	}
	r.Subscribe(set)
}

// Addr returns the address listened on, or nil before the start.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lis == nil {
		return nil
	}
	return s.lis.Addr()
}

// Component runs the server: it listens, serves, lets the calls in hand end on
// drain, and cuts them on stop.
func (s *Server) Component() lifecycle.Component {
	return lifecycle.Component{
		Name: "grpc server", Start: s.listen, Run: s.serve, Drain: s.drain, Stop: s.stop,
	}
}

func (s *Server) listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lis == nil {
		lc := s.cfg.listenConfig()
		lis, err := lc.Listen(ctx, "tcp", s.cfg.Addr)
		if err != nil {
			return fmt.Errorf("grpc port: %w", err)
		}
		s.lis = lis
	}
	s.log.InfoContext(ctx, "grpc port open", slog.String("addr", s.lis.Addr().String()))
	return nil
}

// serve ends when drain or stop ends the server, not with its context.
func (s *Server) serve(context.Context) error {
	lis := s.lis
	if s.wrap != nil {
		lis = s.wrap(lis)
	}
	lis = connlimit.Listener(lis, s.cfg.MaxConnections)
	if s.direct != nil {
		lis = s.direct.Listener(lis)
	}
	if err := s.grpc.Serve(lis); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("grpc port: %w", err)
	}
	return nil
}

func (s *Server) drain(ctx context.Context) error {
	s.health.Shutdown()
	s.drainOnce.Do(func() { close(s.draining) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		var both sync.WaitGroup
		if s.direct != nil {
			both.Go(s.direct.Drain)
		}
		s.grpc.GracefulStop() // whose clients choose other addresses from now on
		both.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("calls still in hand: %w", context.Cause(ctx))
	}
}

func (s *Server) stop(context.Context) error {
	if s.direct != nil {
		s.direct.Stop()
	}
	s.grpc.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lis == nil {
		return nil
	}
	if err := s.lis.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("grpc port: %w", err)
	}
	return nil
}
