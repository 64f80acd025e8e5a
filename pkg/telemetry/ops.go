package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/lifecycle"
)

// OpsServer serves /metrics, /livez, /readyz and /debug/pprof/ on a port of
// its own.
type OpsServer struct {
	addr   string
	log    *slog.Logger
	server *http.Server
	bound  atomic.Pointer[net.TCPAddr]
	lis    net.Listener
}

// NewOpsServer returns a server for host:port addr; it listens once its
// component is started. /readyz answers from ready.
func NewOpsServer(addr string, t *Telemetry, ready *health.Readiness) *OpsServer {
	s := &OpsServer{addr: addr, log: t.Logger}
	s.server = &http.Server{
		Handler:           OpsHandler(t, ready),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // a CPU profile takes as long as it was asked to
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(t.Logger.Handler(), slog.LevelWarn),
	}
	return s
}

// OpsHandler returns what the ops port serves.
func OpsHandler(t *Telemetry, ready *health.Readiness) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(t.Logger.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 4,
	}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /readyz", ready)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// Addr returns the address listened on, or nil before the start.
func (s *OpsServer) Addr() net.Addr {
	if a := s.bound.Load(); a != nil {
		return a
	}
	return nil
}

// Component runs the server. Put it first: it then answers while the others
// start and drain.
func (s *OpsServer) Component() lifecycle.Component {
	return lifecycle.Component{Name: "ops server", Start: s.start, Run: s.run, Stop: s.stop}
}

func (s *OpsServer) start(ctx context.Context) error {
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("ops port: %w", err)
	}
	s.lis = lis
	if a, ok := lis.Addr().(*net.TCPAddr); ok {
		s.bound.Store(a)
	}
	s.log.InfoContext(ctx, "ops port open", slog.String("addr", lis.Addr().String()))
	return nil
}

func (s *OpsServer) run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.server.Serve(s.lis) }()
	select {
	case err := <-done:
		if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
			return nil // stop was faster
		}
		return fmt.Errorf("ops port: %w", err)
	case <-ctx.Done():
		err := s.server.Close()
		if errors.Is(err, net.ErrClosed) {
			err = nil // stop was faster
		}
		if served := <-done; !errors.Is(served, http.ErrServerClosed) && !errors.Is(served, net.ErrClosed) {
			err = errors.Join(err, served)
		}
		return err
	}
}

// stop closes a port that was opened but never served.
func (s *OpsServer) stop(context.Context) error {
	if s.lis == nil {
		return nil
	}
	if err := s.lis.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("ops port: %w", err)
	}
	return nil
}
