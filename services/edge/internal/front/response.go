package front

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/buffers"
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
	head     *buffers.Buffer // the status and the header, until they have left
	facts    facts
	waiting  *buffers.Buffer // of the answer's body, after room for the size of a chunk
	length   int64           // as told; -1: unknown
	written  int64
	chunked  bool
	close    bool // the connection ends with this answer
	deadline deadline
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
		b := w.conn.srv.pool.Take()
		b.B = append(appendHead(b.B, status, w.handlers), "\r\n"...)
		_ = w.send(b.B)
		w.conn.srv.pool.Put(b)
		return
	}
	w.status = status
	w.head = w.conn.srv.pool.Take()
	w.length = w.facts.note(w)
	w.head.B = appendHead(w.head.B, status, w.handlers)
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
	if w.body == nil || w.body.Arrived() {
		return nil
	}
	return w.conn.rwc.SetReadDeadline(t)
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
	return w.waiting.B[chunkRoom:]
}

func (w *response) wait(p []byte) {
	if w.waiting == nil {
		w.waiting = w.conn.srv.pool.Take()
		w.waiting.B = w.waiting.B[:chunkRoom]
	}
	w.waiting.B = append(w.waiting.B, p...)
}

// finish ends the answer and says whether another request may follow.
func (w *response) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	handlers := w.handlers
	if w.err == nil && (w.head != nil || w.waiting != nil || w.chunked) {
		_ = w.emit(nil, true)
	}
	_ = w.sent(nil)
	w.over = true
	w.handlers = nil
	w.conn.srv.fields.put(handlers)
	if w.body != nil {
		if !w.body.discard() {
			w.close = true
		}
		w.conn.linger = w.body.leave()
	}
	short := w.req.Method != http.MethodHead && bodyAllowed(w.status) && w.length >= 0 && w.written != w.length
	return !w.close && !short && w.err == nil
}
