package quietconn

import (
	"bufio"
	"io"
	"os"

	"github.com/poterne/poterne/pkg/buffers"
)

// Waiter reads of a connection of the kernel's, as syscall.RawConn does.
type Waiter interface {
	Read(step func(fd uintptr) (done bool)) error
}

// Reader reads ahead as bufio's does, but of a connection of the kernel's holds a buffer
// only while there is something in it: thousands that wait cost no memory for what they
// wait for. It is for one goroutine at a time.
type Reader struct {
	pool *buffers.Pool
	src  io.Reader
	raw  Waiter // nil: src is read

	buf  *buffers.Buffer // nil: nothing is there
	from int
	step func(fd uintptr) bool // a value kept, so that reading allocates nothing
	err  error                 // the step's
}

// NewReader returns what reads of raw, or of src where raw is nil.
func NewReader(src io.Reader, raw Waiter, pool *buffers.Pool) *Reader {
	r := new(Reader)
	r.Init(src, raw, pool)
	return r
}

// Init makes of r, which is empty and part of something larger, what NewReader returns.
func (r *Reader) Init(src io.Reader, raw Waiter, pool *buffers.Pool) {
	r.src, r.raw, r.pool = src, raw, pool
	r.step = r.readNow
}

// Size is how much Peek can show.
func (r *Reader) Size() int { return r.pool.Size() }

// Buffered is how much has been read ahead.
func (r *Reader) Buffered() int { return len(r.Bytes()) }

// Bytes are what has been read ahead, and stay there until the next call.
func (r *Reader) Bytes() []byte {
	if r.buf == nil {
		return nil
	}
	return r.buf.B[r.from:]
}

// Peek returns the next n bytes, at most Size, which stay the next; fewer come with the
// reason. They are there until the next call.
func (r *Reader) Peek(n int) ([]byte, error) {
	if n > r.Size() {
		return nil, bufio.ErrBufferFull
	}
	for r.Buffered() < n {
		if err := r.Fill(); err != nil {
			return r.Bytes(), err
		}
	}
	return r.Bytes()[:n], nil
}

// Discard passes over the next n bytes; fewer come with the reason.
func (r *Reader) Discard(n int) (discarded int, err error) {
	for {
		now := min(n-discarded, r.Buffered())
		r.use(now)
		if discarded += now; discarded == n {
			return n, nil
		}
		if err := r.Fill(); err != nil {
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
		if err := r.Fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.Bytes())
	r.use(n)
	return n, nil
}

// use takes n bytes away, and with the last one the buffer.
func (r *Reader) use(n int) {
	if r.from += n; r.buf != nil && r.from == len(r.buf.B) {
		r.pool.Put(r.buf)
		r.buf, r.from = nil, 0
	}
}

// Fill reads ahead what has come, once there is something, as far as there is room, which
// is for Size bytes.
func (r *Reader) Fill() error {
	before := r.Buffered()
	if before == r.Size() {
		return bufio.ErrBufferFull
	}
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
	r.err = nil
	if err := r.raw.Read(r.step); err != nil {
		return err
	}
	switch {
	case r.err != nil:
		return os.NewSyscallError("read", r.err)
	case r.Buffered() == before:
		return io.EOF
	default:
		return nil
	}
}

// readNow is a step: it takes a buffer for as long as there may be something to read.
func (r *Reader) readNow(fd uintptr) (done bool) {
	var n int
	n, done, r.err = ReadNow(fd, r.room())
	r.add(n)
	return done
}

// room returns where more may be read to.
func (r *Reader) room() []byte {
	if r.buf == nil {
		r.buf = r.pool.Take()
	}
	b := r.buf.B
	if r.from > 0 {
		b = b[:copy(b, b[r.from:])]
		r.buf.B, r.from = b, 0
	}
	return b[len(b):r.Size()]
}

// add says that n bytes were read to the room.
func (r *Reader) add(n int) {
	r.buf.B = r.buf.B[:len(r.buf.B)+n]
	r.use(0)
}
