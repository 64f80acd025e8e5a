package front

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// framing is what was read of a connection that net/http serves about where bodies end.
// Where a request has a length and a coding, net/http goes by the coding and drops the
// length before a handler sees it, and of HTTP/1.0 the coding; and it keeps the
// connection, which must be closed with the answer (RFC 9112, section 6.1): a proxy
// before it may have gone by the other.
//
// It looks for the names of the fields in all that is read, bodies included, and where
// requests begin it does not know. So it never misses one, and at worst a client whose
// requests have either connects once more.
type framing struct {
	length, coding atomic.Bool // the name was there
	tail           [len(nameOfCoding) - 1]byte
	kept           int // of tail
}

const nameOfCoding = "transfer-encoding"

// saw notes what was read. Calls follow each other.
func (f *framing) saw(b []byte) {
	if f.length.Load() && f.coding.Load() {
		return
	}
	var seam [2 * len(nameOfCoding)]byte // a name may be in two parts
	n := copy(seam[:], f.tail[:f.kept])
	n += copy(seam[n:], b[:min(len(b), len(f.tail))])
	f.find(seam[:n])
	f.find(b)
	last := seam[:n]
	if len(b) >= len(f.tail) {
		last = b
	}
	f.kept = copy(f.tail[:], last[max(len(last)-len(f.tail), 0):])
}

// find looks for either name: both have one hyphen.
func (f *framing) find(b []byte) {
	around := func(at int, before, after string) bool {
		begin, end := at-len(before), at+1+len(after)
		return begin >= 0 && end <= len(b) && is(b[begin:at], before) && is(b[at+1:end], after)
	}
	for at := 0; ; at++ {
		next := bytes.IndexByte(b[at:], '-')
		if next < 0 {
			return
		}
		at += next
		if around(at, "content", "length") {
			f.length.Store(true)
		}
		if around(at, "transfer", "encoding") {
			f.coding.Store(true)
		}
	}
}

// faulty reports whether a request may be one of which two servers see other ends.
func (f *framing) faulty(r *http.Request) bool {
	switch {
	case r.ProtoMajor != 1:
		return false
	case r.ProtoMinor == 0:
		return f.coding.Load()
	default:
		return len(r.TransferEncoding) > 0 && f.length.Load()
	}
}

type framingKey struct{}

// closeFaulty has a server of replayed connections close them with the answer to a
// request whose framing is faulty.
func closeFaulty(server *http.Server) {
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if c, ok := c.(interface{ framing() *framing }); ok {
			return context.WithValue(ctx, framingKey{}, c.framing())
		}
		return ctx // HTTP/2, whose frames say where bodies end
	}
	next := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f, ok := r.Context().Value(framingKey{}).(*framing); ok && f.faulty(r) {
			w.Header().Set(connection, "close")
		}
		next.ServeHTTP(w, r)
	})
}
