package quietconn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// ErrNotQuiet says that a connection that was kept has ended, or that something has come
// on it that nobody asked for. The request was not written.
var ErrNotQuiet = errors.New("quietconn: the connection carries no other request")

// Asker reads answers of a connection on which who asks speaks first. A request is
// written within the read after it. That read is a wait for the runtime's poller that has
// begun before the connection is looked at and the request goes out: of a connection that
// was quiet then, nothing that comes can be missed, so that no read has to be tried of an
// answer that cannot have come yet. On connections that are not the kernel's it writes, and
// then reads. It is for one goroutine; deadlines may be set from others.
type Asker struct {
	conn net.Conn
	raw  syscall.RawConn // nil: the connection is not the kernel's

	request []byte // what the next read has to write
	kept    bool
	failed  error
	step    func(fd uintptr) bool // a value kept, so that asking allocates nothing
	written bool
	into    []byte
	n       int
	err     error
}

// NewAsker returns what asks on c. Nothing else may read of it or write to it meanwhile.
func NewAsker(c net.Conn) *Asker {
	a := &Asker{conn: c}
	if a.raw = RawOf(c); a.raw != nil {
		a.step = a.writeThenRead
	}
	return a
}

// Ask has the next read write request first, which must not change until then. On a
// connection that was kept that read fails with ErrNotQuiet, and writes nothing, unless
// the connection is quiet, as Probe has it.
func (a *Asker) Ask(request []byte, kept bool) { a.request, a.kept, a.failed = request, kept, nil }

// Failed is why the latest request could not be written whole. What the other side says is
// read all the same: it may have answered before.
func (a *Asker) Failed() error { return a.failed }

// Read reads what has come, once there is something, as net.Conn's.
func (a *Asker) Read(p []byte) (int, error) {
	if len(a.request) > 0 {
		if a.raw != nil {
			a.written, a.into, a.n, a.err = false, p, 0, nil
			err := a.raw.Read(a.step)
			a.into = nil
			switch {
			case errors.Is(a.err, ErrNotQuiet):
				a.request = nil
				return 0, a.err
			case !a.written: // a part, or nothing: net waits, and says what is wrong
			case err != nil:
				return 0, err
			case a.err != nil:
				return 0, os.NewSyscallError("read", a.err)
			case a.n == 0:
				return 0, io.EOF
			default:
				return a.n, nil
			}
		}
		rest := a.request
		a.request = nil
		_, a.failed = a.conn.Write(rest)
	}
	return a.conn.Read(p)
}

// writeThenRead writes the first time, and from then on reads what is there; false: wait
// until something may be.
func (a *Asker) writeThenRead(fd uintptr) (done bool) {
	if !a.written {
		if a.kept && !quietNow(fd) {
			a.err = ErrNotQuiet
			return true
		}
		a.request = a.request[WriteNow(fd, a.request):]
		if a.written = len(a.request) == 0; !a.written || a.kept {
			return !a.written
		}
	}
	a.n, done, a.err = ReadNow(fd, a.into)
	return done
}
