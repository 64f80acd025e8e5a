package front

import (
	"net"
	"net/http"
	"slices"
	"strconv"
)

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
		start = w.head.B
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
		w.head.B = append(append(append(w.head.B, size...), body...), end...)
		return w.sent(w.send(w.head.B))
	case p == nil && w.waiting != nil: // the size is put where there is room for it
		from := chunkRoom - len(size)
		copy(w.waiting.B[from:], size)
		w.waiting.B = append(w.waiting.B, end...)
		return w.sent(w.send(w.waiting.B[from:]))
	default:
		return w.sent(w.sendAll(append(start, size...), body, p, end))
	}
}

func (w *response) chunkSize(n int) []byte {
	var b [chunkRoom]byte
	return append(strconv.AppendInt(b[:0], int64(n), 16), "\r\n"...)
}

// send writes b.
func (w *response) send(b []byte) error {
	if rest := w.sendNow(b); len(rest) > 0 {
		w.bound(true)
		_, err := w.conn.rwc.Write(rest)
		w.bound(false)
		return w.told(err)
	}
	return nil
}

// sendAll writes the parts.
func (w *response) sendAll(parts ...[]byte) error {
	all := net.Buffers(slices.DeleteFunc(parts, func(part []byte) bool { return len(part) == 0 }))
	if len(all) == 0 {
		return nil
	}
	to := w.conn.plain // one call of the system for all
	if w.conn.secured != nil {
		to = w.conn.rwc
	}
	w.bound(true)
	_, err := all.WriteTo(to)
	w.bound(false)
	return w.told(err)
}

// told notes why the client cannot be reached.
func (w *response) told(err error) error {
	if err != nil {
		w.err = err
		w.conn.release()
	}
	return err
}

// sent lets the buffers go.
func (w *response) sent(err error) error {
	if w.head != nil {
		w.conn.srv.pool.Put(w.head)
		w.head, w.handlers = nil, nil // it may take long until the answer ends
	}
	if w.waiting != nil {
		w.conn.srv.pool.Put(w.waiting)
		w.waiting = nil
	}
	return err
}
