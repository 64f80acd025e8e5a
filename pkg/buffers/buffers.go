// Package buffers lends memory for what is read or put together and let go soon, so that
// a connection or a stream that waits holds none. Start reading at Pool.
package buffers

import "sync"

// Pool keeps the buffers that nobody holds. It is safe for concurrent use.
type Pool struct {
	free       sync.Pool
	size, kept int
}

// Buffer is bytes that are put together.
type Buffer struct{ B []byte }

// New returns a pool of buffers that have room for size bytes at once, and are used again
// up to one of kept bytes.
func New(size, kept int) *Pool { return &Pool{size: size, kept: kept} }

// Size is how many bytes a buffer has room for, at least.
func (p *Pool) Size() int { return p.size }

// Take returns an empty buffer, which Put should get back.
func (p *Pool) Take() *Buffer {
	if b, ok := p.free.Get().(*Buffer); ok {
		return b
	}
	return &Buffer{B: make([]byte, 0, p.size)}
}

// Put takes a buffer back at whose bytes nobody looks any more; nil is none.
func (p *Pool) Put(b *Buffer) {
	if b == nil || cap(b.B) > p.kept {
		return
	}
	b.B = b.B[:0]
	p.free.Put(b)
}
