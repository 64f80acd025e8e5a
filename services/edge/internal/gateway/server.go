package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/services/edge/internal/front"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/webtls"
)

// Server is the HTTP port.
type Server struct {
	cfg   Config
	log   *slog.Logger
	wrap  func(net.Listener) net.Listener
	front *front.Server
	lis   net.Listener
	bound atomic.Pointer[net.Addr]
}

// maxStreams is how many requests one connection of HTTP/2 may have in hand.
const maxStreams = 128

// NewServer returns a server of h, which listens once its component is started.
//
// It speaks HTTP/1.1 and HTTP/2, over TLS as secured says, or in the clear when
// that is nil: for proxies that know it does, since NGINX passes both ways of a
// stream side by side in HTTP/2 only.
//
// wrap, which may be nil, decides about connections before a byte is read.
func NewServer(cfg Config, h http.Handler, secured *webtls.Port, wrap func(net.Listener) net.Listener, log *slog.Logger) *Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler:   h,
		Protocols: protocols,
		// A connection that takes nothing at all is closed, whatever its streams are
		// allowed.
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, WriteByteTimeout: cfg.WriteTimeout},
		ReadHeaderTimeout: cfg.HeaderTimeout,
		// There is no ReadTimeout and no WriteTimeout: both would end streams. The
		// handler gives every body and every write its own deadline.
		IdleTimeout:    cfg.IdleTimeout,
		MaxHeaderBytes: cfg.MaxHeaderBytes.Int(),
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients' mistakes, mostly
	}
	if secured == nil {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP2(true)
		secure(server, secured)
	}
	return &Server{cfg: cfg, wrap: wrap, log: log, front: front.New(server, cfg.MaxConnections)}
}

// secure has the server speak TLS.
func secure(server *http.Server, secured *webtls.Port) {
	server.TLSConfig = secured.Config("h2", "http/1.1")
	server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		// It has seen what it came for; otherwise it would be let in without the
		// certificate that others must show.
		webtls.ProtocolACME: func(_ *http.Server, conn *tls.Conn, _ http.Handler) { _ = conn.Close() },
	}
}

// Addr returns the address listened on, or nil before the start.
func (s *Server) Addr() net.Addr {
	if a := s.bound.Load(); a != nil {
		return *a
	}
	return nil
}

// Component runs the server: it lets the requests in hand end on drain, and
// closes their connections on stop.
func (s *Server) Component() lifecycle.Component {
	return lifecycle.Component{
		Name: "http server", Start: s.listen, Run: s.serve, Drain: s.front.Shutdown, Stop: s.stop,
	}
}

func (s *Server) listen(ctx context.Context) error {
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", s.cfg.Addr)
	if err != nil {
		return fmt.Errorf("http port: %w", err)
	}
	addr := lis.Addr()
	s.bound.Store(&addr)
	if s.wrap != nil {
		lis = s.wrap(lis)
	}
	s.lis = lis
	s.log.InfoContext(ctx, "http port open", slog.String(metrics.KeyAddress, addr.String()))
	return nil
}

func (s *Server) serve(context.Context) error {
	if err := s.front.Serve(s.lis); !errors.Is(err, http.ErrServerClosed) { //nolint:contextcheck // Shutdown and Close end it
		return fmt.Errorf("http port: %w", err)
	}
	return nil
}

func (s *Server) stop(context.Context) error {
	err := s.front.Close()
	if s.lis != nil {
		// Close does not know of a port that was opened and never served.
		if cerr := s.lis.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}
	return err
}
