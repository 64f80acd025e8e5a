// Package buffers lends memory for what is put together and sent at once, so that a
// stream that waits holds none. Start reading at Pool.
package buffers

import "sync"

// keptSize is up to which size, in bytes, a buffer that has grown is used again.
const keptSize = 16 << 10

// Pool keeps the buffers that nobody holds. The zero value is ready, and it is safe for
// concurrent use.
type Pool struct{ p sync.Pool }

// Buffer is bytes that are put together.
type Buffer struct{ B []byte }

// Take returns an empty buffer, which Put should get back.
func (p *Pool) Take() *Buffer {
	if b, ok := p.p.Get().(*Buffer); ok {
		return b
	}
	return new(Buffer)
}

// Put takes a buffer back at whose bytes nobody looks any more; nil is none.
func (p *Pool) Put(b *Buffer) {
	if b == nil || cap(b.B) > keptSize {
		return
	}
	b.B = b.B[:0]
	p.p.Put(b)
}
