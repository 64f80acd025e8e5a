package front

import (
	"net/http"
	"sync"
)

// Sizes of buffers, in bytes. bufferSize also bounds the head of a request that is
// served here; keptSize is up to which size a buffer that has grown is used again.
const (
	bufferSize = 4 << 10
	keptSize   = 16 << 10
)

// pool keeps the buffers that nobody holds.
type pool struct{ p sync.Pool }

func (p *pool) get() *buffer {
	if b, ok := p.p.Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 0, bufferSize)}
}

func (p *pool) put(b *buffer) {
	if cap(b.b) > keptSize {
		return
	}
	b.b = b.b[:0]
	p.p.Put(b)
}

// buffer is bytes that are put together.
type buffer struct{ b []byte }

// Write appends p.
func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}

// WriteString appends s.
func (b *buffer) WriteString(s string) (int, error) {
	b.b = append(b.b, s...)
	return len(s), nil
}

// input is what was read of a connection and is not used yet. It holds a buffer only
// while there is something in it, or room is asked for.
type input struct {
	buf  *buffer
	from int
}

// bytes are those that are there.
func (in *input) bytes() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.b[in.from:]
}

// room returns where more may be read to; it is empty when the buffer is full.
func (in *input) room(p *pool) []byte {
	if in.buf == nil {
		in.buf, in.from = p.get(), 0
	}
	if in.from > 0 {
		in.buf.b = in.buf.b[:copy(in.buf.b, in.buf.b[in.from:])]
		in.from = 0
	}
	return in.buf.b[len(in.buf.b):bufferSize]
}

// add says that n bytes were read to the room.
func (in *input) add(n int, p *pool) {
	in.buf.b = in.buf.b[:len(in.buf.b)+n]
	in.use(0, p)
}

// use takes n bytes away.
func (in *input) use(n int, p *pool) {
	if in.from += n; in.from == len(in.buf.b) {
		in.drop(p)
	}
}

// drop lets everything go.
func (in *input) drop(p *pool) {
	if in.buf != nil {
		p.put(in.buf)
		in.buf, in.from = nil, 0
	}
}

// usualFields is how many fields a header has room for at once.
const usualFields = 24

// fields keeps the headers of answers that have ended: no handler may touch its answer's
// then (http.ResponseWriter).
type fields struct{ p sync.Pool }

func (f *fields) get() http.Header {
	if h, ok := f.p.Get().(http.Header); ok {
		return h
	}
	return make(http.Header, usualFields)
}

func (f *fields) put(h http.Header) {
	if h != nil && len(h) <= usualFields {
		clear(h)
		f.p.Put(h)
	}
}
