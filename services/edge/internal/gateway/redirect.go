package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/connlimit"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/webtls"
)

// Bounds of a port that only redirects.
const (
	redirectConnections = 1000
	redirectTimeout     = 5 * time.Second
	redirectHeader      = 16 << 10
)

// Redirect is the port that sends callers in the clear to the HTTP port, which
// speaks TLS.
type Redirect struct {
	addr   string
	log    *slog.Logger
	server *http.Server
	lis    net.Listener
}

// NewRedirect returns the port as cfg says, which listens once its component is
// started; web is the port that it sends callers to. It is nil when there is to
// be none.
func NewRedirect(cfg Config, secured *webtls.Port, web *Server, log *slog.Logger) *Redirect {
	if cfg.TLS.RedirectAddr == "" {
		return nil
	}
	port := func() int {
		if cfg.TLS.PublicPort != 0 {
			return cfg.TLS.PublicPort
		}
		if addr, ok := web.Addr().(*net.TCPAddr); ok {
			return addr.Port
		}
		return 0
	}
	return &Redirect{addr: cfg.TLS.RedirectAddr, log: log, server: &http.Server{
		Handler:           withSecurityHeaders(0, secured.Challenges(redirectTo(port))),
		ReadHeaderTimeout: redirectTimeout, ReadTimeout: redirectTimeout, WriteTimeout: redirectTimeout, IdleTimeout: redirectTimeout,
		MaxHeaderBytes: redirectHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// redirectTo answers 308, which keeps the method and the body (RFC 9110, section
// 15.4.9).
func redirectTo(port func() int) http.Handler {
	name := regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])$`)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if bare, _, err := net.SplitHostPort(host); err == nil {
			if host = bare; net.ParseIP(host) != nil && net.ParseIP(host).To4() == nil {
				host = "[" + host + "]"
			}
		}
		if !name.MatchString(host) {
			http.Error(w, "the header Host names no host", http.StatusBadRequest)
			return
		}
		if p := port(); p != 443 {
			host += ":" + strconv.Itoa(p)
		}
		w.Header().Set("Connection", "close")
		w.Header().Set("Location", "https://"+host+r.URL.RequestURI())
		w.WriteHeader(http.StatusPermanentRedirect)
	})
}

// Addr returns the address listened on, or nil before the start.
func (s *Redirect) Addr() net.Addr {
	if s.lis == nil {
		return nil
	}
	return s.lis.Addr()
}

// Component runs the port.
func (s *Redirect) Component() lifecycle.Component {
	return lifecycle.Component{Name: "http redirect", Start: s.listen, Run: s.serve, Drain: s.server.Shutdown, Stop: s.stop}
}

func (s *Redirect) listen(ctx context.Context) error {
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("http redirect: %w", err)
	}
	s.lis = connlimit.Listener(lis, redirectConnections)
	s.log.InfoContext(ctx, "http redirect open", slog.String(metrics.KeyAddress, lis.Addr().String()))
	return nil
}

func (s *Redirect) serve(context.Context) error {
	if err := s.server.Serve(s.lis); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("http redirect: %w", err)
	}
	return nil
}

func (s *Redirect) stop(context.Context) error {
	err := s.server.Close()
	if s.lis != nil {
		if cerr := s.lis.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}
	return err
}
