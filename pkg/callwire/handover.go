package callwire

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// Listener is what gRPC's server has to listen on, for connections to be handed over.
func (s *Server) Listener(lis net.Listener) net.Listener { return listener{lis} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &accepted{Conn: c}, nil
}

// accepted is a connection whose deadlines gRPC leaves alone once it was handed over: it
// takes those of the handshake away after it.
type accepted struct {
	net.Conn
	ours atomic.Bool
}

// Carrier is what was accepted (quietconn.Transparent).
func (c *accepted) Carrier() net.Conn { return c.Conn }

// SetDeadline sets both, until the connection was handed over.
func (c *accepted) SetDeadline(t time.Time) error {
	if c.ours.Load() {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

// Credentials are inner, which may be of no security, but for connections that begin with
// this package's preface, which are taken over after the handshake: who is at the other
// end is then known as for ordinary calls.
func (s *Server) Credentials(inner credentials.TransportCredentials) credentials.TransportCredentials {
	return handover{inner, s}
}

type handover struct {
	credentials.TransportCredentials
	server *Server
}

func (h handover) Clone() credentials.TransportCredentials {
	return handover{h.TransportCredentials.Clone(), h.server}
}

// ServerHandshake runs under the deadline that gRPC has for handshakes; gRPC closes what
// fails here.
func (h handover) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, auth, err := h.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return conn, auth, err
	}
	said := make([]byte, len(preface))
	first := said[:1]
	if _, err := io.ReadFull(conn, first); err != nil {
		return nil, nil, err
	}
	if first[0] != preface[0] {
		return &begun{Conn: conn, first: first}, auth, nil
	}
	if _, err := io.ReadFull(conn, said[1:]); err != nil {
		return nil, nil, err
	}
	if string(said) != preface && string(said) != streamPreface {
		return nil, nil, errMalformed
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	if a, ok := raw.(*accepted); ok {
		a.ours.Store(true)
	}
	h.server.serve(conn, auth, string(said))
	return nil, nil, credentials.ErrConnDispatched
}

// begun is a connection of which the first bytes were read; one goroutine reads it.
type begun struct {
	net.Conn
	first []byte
}

func (c *begun) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
