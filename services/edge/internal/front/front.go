// Package front stands before net/http on a port. It serves the plain requests of
// HTTP/1.1 itself, on one goroutine a connection and with buffers that are held only
// while bytes are in them, and gives every connection on which anything else comes to
// net/http, with the bytes that were read of it. So it needs to understand only what
// cannot be misunderstood: see look. Requests are made by net/http's own reader. It
// knows no route and no limit of a request's body. Start reading at Server.Serve, then
// conn.serve.
package front

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/buffers"
	"github.com/poterne/poterne/pkg/connlimit"
)

// Sizes of buffers, in bytes. bufferSize also bounds the head of a request that is
// served here; keptSize is up to which size a buffer that has grown is used again.
const (
	bufferSize = 4 << 10
	keptSize   = 16 << 10
)

// Server serves a port. Its methods are safe for concurrent use.
//
// A handler's http.ResponseWriter is flushed and gets its deadlines by
// http.ResponseController, and knows EnableFullDuplex, which is always on. It has no
// Hijack and no trailers: requests that ask for either go to net/http.
type Server struct {
	http    *http.Server
	handler http.Handler // as it was given
	most    int          // connections
	watch   *watcher     // nil: connections cannot be watched here, and all go to net/http
	tls     *tls.Config  // nil: in the clear

	pool    *buffers.Pool
	fields  fields
	handed  *handedOver
	closing atomic.Bool
	ctx     context.Context //nolint:containedctx // what all requests have in common

	mu    sync.Mutex
	conns map[uint64]*conn
	last  uint64 // the last token given
	lis   net.Listener
	left  sync.WaitGroup
}

// New returns a server of server's handler, with its timeouts, error log and TLS
// configuration, whose hooks are not called, that has at most connections open.
// server itself serves what is handed on to it.
func New(server *http.Server, connections int) *Server {
	s := &Server{
		http: server, handler: server.Handler, most: connections, pool: buffers.New(bufferSize, keptSize), conns: make(map[uint64]*conn),
		handed: &handedOver{conns: make(chan net.Conn), closed: make(chan struct{})},
	}
	if server.TLSConfig != nil {
		// net/http changes its own once it serves, which a hook of this one may look at.
		s.tls, server.TLSConfig = server.TLSConfig, server.TLSConfig.Clone()
	}
	closeFaulty(server)
	s.ctx = context.WithValue(context.Background(), http.ServerContextKey, server)
	return s
}

// Serve serves the connections of lis until Shutdown or Close, and then returns
// http.ErrServerClosed. It is called once.
func (s *Server) Serve(lis net.Listener) error {
	lis = connlimit.Listener(lis, s.most)
	s.handed.addr = lis.Addr()
	if w, err := newWatcher(s.peerLeft); err == nil {
		s.watch = w
	} else {
		s.logf("front: connections go to net/http: %v", err)
	}
	s.mu.Lock()
	s.lis = lis
	s.mu.Unlock()
	if s.closing.Load() {
		_ = lis.Close()
		return http.ErrServerClosed
	}
	inner := make(chan error, 1)
	go func() {
		inner <- s.http.Serve(s.handed)
		_ = lis.Close()
	}()
	err := s.accept(lis)
	_ = s.handed.Close()
	if ierr := <-inner; !errors.Is(ierr, net.ErrClosed) && !errors.Is(ierr, http.ErrServerClosed) {
		err = ierr
	}
	if s.watch != nil {
		go func() { // connections are watched to their end
			s.left.Wait()
			s.watch.close()
		}()
	}
	if s.closing.Load() {
		return http.ErrServerClosed
	}
	return err
}

// How long accepting pauses after a failure that passes, as too many open files is.
const (
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
)

func (s *Server) accept(lis net.Listener) error {
	pause := firstPause
	for {
		rwc, err := lis.Accept()
		if err == nil {
			pause = firstPause
			s.open(rwc)
			continue
		}
		var passing interface{ Temporary() bool }
		if s.closing.Load() || !errors.As(err, &passing) || !passing.Temporary() {
			return err
		}
		s.logf("front: accepting: %v; trying again in %v", err, pause)
		time.Sleep(pause) //nolint:forbidigo // the machine is short of something
		pause = min(2*pause, maxPause)
	}
}

// open begins a connection.
func (s *Server) open(rwc net.Conn) {
	c := s.newConn(rwc)
	if c == nil {
		if s.tls != nil {
			go s.secure(rwc)
			return
		}
		s.handed.give(&replayed{Conn: rwc})
		return
	}
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		_ = rwc.Close()
		return
	}
	s.last++
	c.token = s.last
	s.conns[c.token] = c
	s.left.Add(1)
	s.mu.Unlock()
	go c.serve()
}

// forget lets go of a connection that has ended or was handed over.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c.token)
	s.mu.Unlock()
	s.left.Done()
}

// peerLeft ends the request of a connection whose client has left.
func (s *Server) peerLeft(token uint64) {
	s.mu.Lock()
	c := s.conns[token]
	s.mu.Unlock()
	if c != nil {
		c.peerLeft()
	}
}

// Shutdown takes no connection and no request any more and waits until those in hand
// are answered, or ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, c := range s.shut() {
		c.closeIdle()
	}
	gone := make(chan struct{})
	go func() {
		s.left.Wait()
		close(gone)
	}()
	err := s.http.Shutdown(ctx)
	select {
	case <-gone:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	return err
}

// Close closes everything at once.
func (s *Server) Close() error {
	for _, c := range s.shut() {
		_ = c.slot.Close() // TLS would take leave first
		c.release()
	}
	return s.http.Close()
}

// shut closes the port and returns the connections that are open.
func (s *Server) shut() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Store(true)
	if s.lis != nil {
		_ = s.lis.Close()
	}
	conns := make([]*conn, 0, len(s.conns))
	for _, c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// keepsAlive says whether connections are kept for another request.
func (s *Server) keepsAlive() bool { return !s.closing.Load() }

// headerTimeout is how long a head may take, and idleTimeout how long the next one
// may be waited for; 0: no bound.
func (s *Server) headerTimeout() time.Duration { return s.http.ReadHeaderTimeout }

func (s *Server) idleTimeout() time.Duration { return cmp.Or(s.http.IdleTimeout, s.http.ReadTimeout) }

func (s *Server) logf(format string, args ...any) {
	if s.http.ErrorLog != nil {
		s.http.ErrorLog.Printf(format, args...)
	}
}
