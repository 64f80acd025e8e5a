package quietconn

import (
	"bufio"
	"io"
	"net"
	"os"
	"sync"
)

// Buffers are what Readers read into. It is safe for concurrent use.
type Buffers struct {
	size int
	pool sync.Pool
}

type buffer struct{ b []byte }

// NewBuffers returns buffers of size bytes each.
func NewBuffers(size int) *Buffers { return &Buffers{size: size} }

func (p *Buffers) take() *buffer {
	if b, ok := p.pool.Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, p.size)}
}

// Waiter reads of a connection of the kernel's, as syscall.RawConn does.
type Waiter interface {
	Read(step func(fd uintptr) (done bool)) error
}

// WaiterOf returns what reads of c, or nil when c is not the kernel's, as of TLS.
func WaiterOf(c net.Conn) Waiter {
	if raw := rawOf(c); raw != nil {
		return raw
	}
	return nil
}

// Reader reads ahead as bufio's does, but of a connection of the kernel's holds a buffer
// only while there is something in it: thousands that wait cost no memory for what they
// wait for. It is for one goroutine at a time.
type Reader struct {
	buffers *Buffers
	src     io.Reader
	raw     Waiter // nil: src is read

	buf      *buffer // nil: nothing is there
	from, to int
	step     func(fd uintptr) bool // a value kept, so that reading allocates nothing
	n        int                   // what it has read
	err      error
}

// NewReader returns what reads of raw, or of src where raw is nil.
func NewReader(src io.Reader, raw Waiter, b *Buffers) *Reader {
	r := &Reader{buffers: b, src: src, raw: raw}
	r.step = r.readNow
	return r
}

// Size is how much Peek can show.
func (r *Reader) Size() int { return r.buffers.size }

// Buffered is how much has been read ahead.
func (r *Reader) Buffered() int { return r.to - r.from }

// Peek returns the next n bytes, at most Size, which stay the next; fewer come with the
// reason. They are there until the next call.
func (r *Reader) Peek(n int) ([]byte, error) {
	if n > r.buffers.size {
		return nil, bufio.ErrBufferFull
	}
	for r.Buffered() < n {
		if err := r.fill(); err != nil {
			return r.bytes(), err
		}
	}
	return r.bytes()[:n], nil
}

// Discard passes over the next n bytes; fewer come with the reason.
func (r *Reader) Discard(n int) (discarded int, err error) {
	for {
		now := min(n-discarded, r.Buffered())
		r.use(now)
		if discarded += now; discarded == n {
			return n, nil
		}
		if err := r.fill(); err != nil {
			return discarded, err
		}
	}
}

// Read gives what was read ahead, and waits only when that is nothing.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.Buffered() == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.bytes())
	r.use(n)
	return n, nil
}

func (r *Reader) bytes() []byte {
	if r.buf == nil {
		return nil
	}
	return r.buf.b[r.from:r.to]
}

// use takes n bytes away, and with the last one the buffer.
func (r *Reader) use(n int) {
	if r.from += n; r.from == r.to && r.buf != nil {
		r.buffers.pool.Put(r.buf)
		r.buf, r.from, r.to = nil, 0, 0
	}
}

// fill reads what has come, once there is something. There is room.
func (r *Reader) fill() error {
	if r.raw == nil {
		n, err := r.src.Read(r.room())
		r.add(n)
		switch {
		case n > 0:
			return nil
		case err == nil:
			return io.ErrNoProgress
		default:
			return err
		}
	}
	r.n, r.err = 0, nil
	if err := r.raw.Read(r.step); err != nil {
		return err
	}
	switch {
	case r.err != nil:
		return os.NewSyscallError("read", r.err)
	case r.n == 0:
		return io.EOF
	default:
		return nil
	}
}

// readNow is a step: it takes a buffer for as long as there may be something to read.
func (r *Reader) readNow(fd uintptr) (done bool) {
	r.n, done, r.err = ReadNow(fd, r.room())
	r.add(r.n)
	return done
}

// room returns where more may be read to.
func (r *Reader) room() []byte {
	if r.buf == nil {
		r.buf = r.buffers.take()
	}
	if r.from > 0 {
		r.from, r.to = 0, copy(r.buf.b, r.bytes())
	}
	return r.buf.b[r.to:]
}

// add says that n bytes were read to the room.
func (r *Reader) add(n int) {
	r.to += n
	r.use(0)
}
