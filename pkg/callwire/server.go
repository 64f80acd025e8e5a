package callwire

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// ServerOptions bounds what a client can make a server hold.
type ServerOptions struct {
	// Unary is the chain that every call with one answer passes, and Stream that of the
	// others.
	Unary  grpc.UnaryServerInterceptor
	Stream grpc.StreamServerInterceptor
	// Guard, which may be nil, makes the context of a stream, which ends one that its
	// client does not take: a message on its way is cut off with it.
	Guard func(context.Context) context.Context
	// MaxConnections bounds the connections; a further one is closed, whose client makes
	// its calls in the ordinary way.
	MaxConnections int
	// MaxRecvBytes and MaxSendBytes bound one message; no request is larger than MaxMessage.
	MaxRecvBytes, MaxSendBytes int
	// MaxHeadBytes bounds the metadata of one call.
	MaxHeadBytes int
	// Idle is how long a connection may be without calls, and Age, if not 0, how long it
	// may be open before it takes no further one.
	Idle, Age time.Duration
	// Receive is how long a request may take to come, and Send an answer to be taken,
	// but for the messages of a stream.
	Receive, Send time.Duration
	// MinPing is the shortest time between two pings of a client; one that asks more often
	// is disconnected.
	MinPing time.Duration
}

// Server answers the calls of connections that gRPC's server has handed over.
type Server struct {
	opts    ServerOptions
	methods map[string]method
	streams map[string]streaming
	lent

	base context.Context //nolint:containedctx // of every call; it ends with Stop
	end  context.CancelFunc
	runs sync.WaitGroup

	mu       sync.Mutex
	conns    map[*serverConn]struct{}
	draining bool
}

type method struct {
	server  any
	handler grpc.MethodHandler
}

// streaming is a method with one request and a stream of answers.
type streaming struct {
	server  any
	handler grpc.StreamHandler
}

// NewServer returns a server without methods: Registrar notes them.
func NewServer(o ServerOptions) *Server {
	s := &Server{opts: o, methods: make(map[string]method), streams: make(map[string]streaming), lent: newLent(), conns: make(map[*serverConn]struct{})}
	s.opts.MaxRecvBytes = min(o.MaxRecvBytes, MaxMessage)
	s.opts.MaxHeadBytes = min(o.MaxHeadBytes, maxHead)
	s.base, s.end = context.WithCancel(context.Background())
	return s
}

// Registrar notes the methods with one request of what is registered, on its way to r. All
// must be registered before the first connection comes.
func (s *Server) Registrar(r grpc.ServiceRegistrar) grpc.ServiceRegistrar { return registrar{r, s} }

type registrar struct {
	grpc.ServiceRegistrar
	server *Server
}

func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	r.ServiceRegistrar.RegisterService(desc, impl)
	for _, m := range desc.Methods {
		r.server.methods["/"+desc.ServiceName+"/"+m.MethodName] = method{server: impl, handler: m.Handler}
	}
	for _, m := range desc.Streams {
		if !m.ClientStreams {
			r.server.streams["/"+desc.ServiceName+"/"+m.StreamName] = streaming{server: impl, handler: m.Handler}
		}
	}
}

// serve takes a connection over.
func (s *Server) serve(conn net.Conn, auth credentials.AuthInfo, said string) {
	c := newServerConn(s, conn, auth, said)
	s.mu.Lock()
	if s.draining || len(s.conns) >= s.opts.MaxConnections { // it has not heard that calls are taken here
		s.mu.Unlock()
		_ = conn.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.runs.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.runs.Done()
		defer func() {
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			_ = conn.Close()
		}()
		c.run()
	}()
}

// Drain has every connection end after the call in hand, and returns when all have.
func (s *Server) Drain() {
	s.mu.Lock()
	s.draining = true
	for c := range s.conns {
		c.drain()
	}
	s.mu.Unlock()
	s.runs.Wait()
}

// Stop cuts all connections and cancels their calls, and returns when they have ended.
func (s *Server) Stop() {
	s.mu.Lock()
	s.draining = true
	for c := range s.conns {
		_ = c.conn.Close()
	}
	s.mu.Unlock()
	s.end() // behind, so that no client hears of a call that was cancelled
	s.runs.Wait()
}
