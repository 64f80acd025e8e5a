package front

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxWaiting is how much of an answer waits for the handler's end, by which its length
// is known; as in net/http.
const maxWaiting = 2 << 10

// largeWrite is from where on an answer's bytes are not copied to be sent with what
// stands around them.
const largeWrite = 8 << 10

// response is the http.ResponseWriter of one request. The header is written down when
// the status is, so that no copy of it is kept.
type response struct {
	conn       *conn
	req        *http.Request
	body       *body // nil: there is none
	wantsClose bool
	handlers   http.Header // the handler's

	status   int
	head     *buffer // the status and the header, until they have left
	facts    facts
	waiting  *buffer // of the answer's body, after room for the size of a chunk
	length   int64   // as told; -1: unknown
	written  int64
	chunked  bool
	close    bool // the connection ends with this answer
	deadline bool // of writing, which has to be lifted
	over     bool
	err      error // the client cannot be reached
}

var errOver = errors.New("front: the handler has returned")

// Header returns the header, which counts until the status is written. It is empty
// once that has left.
func (w *response) Header() http.Header {
	if w.handlers == nil {
		w.handlers = make(http.Header)
	}
	return w.handlers
}

// WriteHeader writes the status; one of 1xx leaves at once, and another follows.
func (w *response) WriteHeader(status int) {
	switch {
	case w.status != 0:
		w.conn.srv.logf("http: superfluous response.WriteHeader call")
		return
	case status < 100 || status > 999:
		panic("invalid WriteHeader code " + strconv.Itoa(status))
	case status < 200 && status != http.StatusSwitchingProtocols:
		b := w.conn.srv.pool.get()
		statusLine(b, status)
		_ = w.handlers.WriteSubset(b, w.conn.srv.exclude.of(status))
		b.b = append(b.b, "\r\n"...)
		_ = w.send(b.b)
		w.conn.srv.pool.put(b)
		return
	}
	w.status = status
	w.head = w.conn.srv.pool.get()
	w.length = w.facts.note(w)
	statusLine(w.head, status)
	_ = w.handlers.WriteSubset(w.head, w.conn.srv.exclude.of(status))
}

// Write adds p to the answer.
func (w *response) Write(p []byte) (int, error) {
	if w.over {
		return 0, errOver
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !bodyAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	w.written += int64(len(p))
	if w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength
	}
	if w.err != nil {
		return 0, w.err
	}
	if waits := w.waits(); len(waits)+len(p) > maxWaiting {
		if err := w.emit(p, false); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	w.wait(p)
	return len(p), nil
}

// FlushError sends what waits.
func (w *response) FlushError() error {
	if w.over {
		return errOver
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err != nil {
		return w.err
	}
	return w.emit(nil, false)
}

// Flush sends what waits.
func (w *response) Flush() { _ = w.FlushError() }

// SetReadDeadline bounds the reading of the body. It changes nothing when there is
// nothing to wait for.
func (w *response) SetReadDeadline(t time.Time) error {
	if w.body == nil || w.body.arrived() {
		return nil
	}
	return w.conn.rwc.SetReadDeadline(t)
}

// SetWriteDeadline bounds the writing.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.deadline = !t.IsZero()
	return w.conn.rwc.SetWriteDeadline(t)
}

// EnableFullDuplex has a body that was not read left alone when the answer begins.
func (w *response) EnableFullDuplex() error {
	w.facts.duplex = true
	return nil
}

// chunkRoom is for the size of a chunk and its line's end.
const chunkRoom = 10

func (w *response) waits() []byte {
	if w.waiting == nil {
		return nil
	}
	return w.waiting.b[chunkRoom:]
}

func (w *response) wait(p []byte) {
	if w.waiting == nil {
		w.waiting = w.conn.srv.pool.get()
		w.waiting.b = w.waiting.b[:chunkRoom]
	}
	w.waiting.b = append(w.waiting.b, p...)
}

// emit sends what waits and p after it, in one chunk if there are chunks; last: nothing
// follows.
func (w *response) emit(p []byte, last bool) error {
	n := len(w.waits()) + len(p)
	if len(p) > 0 && (len(p) < largeWrite || w.head != nil && len(w.waits()) > 0) {
		w.wait(p) // the first bytes say what type they are
		p = nil
	}
	var start []byte
	if w.head != nil {
		first := w.waits()
		if len(first) == 0 {
			first = p
		}
		w.frame(first, n, last)
		start = w.head.b
	}
	if w.req.Method == http.MethodHead || !bodyAllowed(w.status) {
		return w.sent(w.send(start))
	}
	var size, end []byte
	body := w.waits()
	if w.chunked {
		if n > 0 {
			size, end = w.chunkSize(n), []byte("\r\n")
		}
		if last {
			end = append(end, "0\r\n\r\n"...)
		}
	}
	switch {
	case w.head != nil && p == nil: // all of it together
		w.head.b = append(append(append(w.head.b, size...), body...), end...)
		return w.sent(w.send(w.head.b))
	case p == nil && w.waiting != nil: // the size is put where there is room for it
		from := chunkRoom - len(size)
		copy(w.waiting.b[from:], size)
		w.waiting.b = append(w.waiting.b, end...)
		return w.sent(w.send(w.waiting.b[from:]))
	default:
		return w.sent(w.send(append(start, size...), body, p, end))
	}
}

func (w *response) chunkSize(n int) []byte {
	var b [chunkRoom]byte
	return append(strconv.AppendInt(b[:0], int64(n), 16), "\r\n"...)
}

// send writes the parts.
func (w *response) send(parts ...[]byte) error {
	parts = slices.DeleteFunc(parts, func(part []byte) bool { return len(part) == 0 })
	all, err := net.Buffers(parts), error(nil)
	switch {
	case len(all) == 0:
	case len(all) == 1:
		_, err = w.conn.rwc.Write(all[0])
	case w.conn.secured != nil:
		_, err = all.WriteTo(w.conn.rwc)
	default:
		_, err = all.WriteTo(w.conn.plain) // one call of the system for all
	}
	if err != nil {
		w.err = err
		w.conn.release()
	}
	return err
}

// sent lets the buffers go.
func (w *response) sent(err error) error {
	if w.head != nil {
		w.conn.srv.pool.put(w.head)
		w.head, w.handlers = nil, nil // it may take long until the answer ends
	}
	if w.waiting != nil {
		w.conn.srv.pool.put(w.waiting)
		w.waiting = nil
	}
	return err
}

// finish ends the answer and says whether another request may follow.
func (w *response) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err == nil && (w.head != nil || w.waiting != nil || w.chunked) {
		_ = w.emit(nil, true)
	}
	_ = w.sent(nil)
	w.over = true
	if w.body != nil {
		if !w.body.discard() {
			w.close = true
		}
		w.conn.linger = w.body.leave()
	}
	short := w.req.Method != http.MethodHead && bodyAllowed(w.status) && w.length >= 0 && w.written != w.length
	return !w.close && !short && w.err == nil
}

func statusLine(b *buffer, status int) {
	b.b = append(b.b, "HTTP/1.1 "...)
	b.b = strconv.AppendInt(b.b, int64(status), 10)
	b.b = append(b.b, ' ')
	text := http.StatusText(status)
	if text == "" {
		text = "status code " + strconv.Itoa(status)
	}
	b.b = append(append(b.b, text...), "\r\n"...)
}

// bodyAllowed says whether answers of a status have a body (RFC 9110, section 6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// hasToken says whether v, a list, has the token.
func hasToken(v, token string) bool {
	for part := range strings.SplitSeq(v, ",") {
		if strings.EqualFold(strings.TrimSpace(part), token) {
			return true
		}
	}
	return false
}
