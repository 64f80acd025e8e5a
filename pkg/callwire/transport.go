package callwire

import (
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// transport keeps what a handler says beside its answer (grpc.ServerTransportStream). Its
// methods may be called from several goroutines.
type transport struct {
	method string

	mu              sync.Mutex
	header, trailer metadata.MD
	sent, ended     bool
}

// Method is the full name of what is called.
func (t *transport) Method() string { return t.method }

// SetHeader adds to the header.
func (t *transport) SetHeader(md metadata.MD) error { return t.addHeader(md, false) }

// SendHeader adds to the header, and ends it; it leaves with the answer.
func (t *transport) SendHeader(md metadata.MD) error { return t.addHeader(md, true) }

func (t *transport) addHeader(md metadata.MD, send bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sent || t.ended {
		return status.Error(codes.Internal, "the header was sent already")
	}
	t.header, t.sent = metadata.Join(t.header, md), send
	return nil
}

// SetTrailer adds to the trailer.
func (t *transport) SetTrailer(md metadata.MD) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return status.Error(codes.Internal, "the call has ended")
	}
	t.trailer = metadata.Join(t.trailer, md)
	return nil
}

// begin has nothing added to the header any more, and returns it.
func (t *transport) begin() metadata.MD {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = true
	return t.header
}

// end has nothing added any more, and returns all.
func (t *transport) end() (header, trailer metadata.MD) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	return t.header, t.trailer
}

// close has nothing added any more.
func (t *transport) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}
