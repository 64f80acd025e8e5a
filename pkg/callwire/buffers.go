package callwire

import "sync"

// buffers are what frames are written into and large ones read, so that a stream that
// waits keeps none.
type buffers struct{ pool sync.Pool }

type buffer struct{ b []byte }

func (p *buffers) take() *buffer {
	if b, ok := p.pool.Get().(*buffer); ok {
		return b
	}
	return new(buffer)
}

// put takes a buffer back that nobody looks at any more.
func (p *buffers) put(b *buffer) {
	if cap(b.b) <= keptBuffer {
		b.b = b.b[:0]
		p.pool.Put(b)
	}
}
