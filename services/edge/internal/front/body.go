package front

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// maxUnread is how many bytes of a body that the handler did not read are passed over,
// so that the connection can be kept; as in net/http.
const maxUnread = 256 << 10

// body is the body of a request, of a length that was told.
type body struct {
	conn *conn

	mu     sync.Mutex // a handler may leave a reader behind
	rest   int64      // bytes that are still to come
	err    error      // nothing is read any more
	closed bool
}

// Read reads.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

func (b *body) read(p []byte) (int, error) {
	switch {
	case b.rest == 0:
		return 0, io.EOF
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	}
	if int64(len(p)) > b.rest {
		p = p[:b.rest]
	}
	n, err := b.conn.readBody(p, b.rest)
	if b.rest -= int64(n); b.rest == 0 {
		b.conn.bodyRead()
		return n, io.EOF
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		b.err = err
		b.conn.release() // the connection is of no use for anything else
	}
	return n, err
}

// Arrived says whether nothing has to be waited for any more.
func (b *body) Arrived() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rest == 0 || b.err == nil && b.rest <= int64(len(b.conn.in.Bytes()))
}

// Close has nothing more read.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// leave ends the reading, and says whether more is to come than was passed over.
func (b *body) leave() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.rest > maxUnread
}

// discard reads the rest, if it is not too much, and says whether it came to the end.
func (b *body) discard() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rest == 0 || b.rest > maxUnread {
		return b.rest == 0
	}
	waste := b.conn.srv.pool.Take()
	defer b.conn.srv.pool.Put(waste)
	for b.rest > 0 {
		if _, err := b.read(waste.B[:cap(waste.B)]); err != nil && b.rest > 0 {
			return false
		}
	}
	return true
}

// smallRead is below which a read of a body goes through the buffer, to save the
// system's calls.
const smallRead = bufferSize / 2

// readBody reads of a body of which rest bytes are to come.
func (c *conn) readBody(p []byte, rest int64) (int, error) {
	if c.in.Buffered() == 0 && (len(p) >= smallRead || int64(len(p)) == rest) {
		return c.rwc.Read(p) //nolint:wrapcheck // handlers look for deadlines in it
	}
	return c.in.Read(p) //nolint:wrapcheck // as above
}
