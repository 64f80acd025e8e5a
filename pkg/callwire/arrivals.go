package callwire

import "context"

// Arrivals tells of a stream what has come and was not received yet, for who passes its
// messages on. It is for the goroutine that receives.
type Arrivals struct{ of *clientStream }

type arrivalsKey struct{}

// WithArrivals returns a context under which to open a stream, and what tells of it.
func WithArrivals(ctx context.Context) (context.Context, *Arrivals) {
	a := new(Arrivals)
	return context.WithValue(ctx, arrivalsKey{}, a), a
}

// More reports whether the next message is there as a whole: receiving it waits for
// nothing. It is false for streams that went another way.
func (a *Arrivals) More() bool {
	if a == nil || a.of == nil {
		return false
	}
	s := a.of
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ordinary != nil || s.ended {
		return false
	}
	n := s.conn.r.Buffered()
	if n < prefixBytes {
		return false
	}
	b, _ := s.conn.r.Peek(prefixBytes)
	p := prefixOf(b)
	return p.kind == kindMessage && p.head == 0 && p.message <= n-prefixBytes
}
