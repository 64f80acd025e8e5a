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
		return w.sent(w.send(append(start, size...), body, p, end))
	}
}

func (w *response) chunkSize(n int) []byte {
	var b [chunkRoom]byte
	return append(strconv.AppendInt(b[:0], int64(n), 16), "\r\n"...)
}

// send writes the parts.
func (w *response) send(parts ...[]byte) error {
	if !w.deadline {
		w.conn.unbound() // it was the answer's before, and most handlers set their own
	}
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
		w.conn.srv.pool.Put(w.head)
		w.head, w.handlers = nil, nil // it may take long until the answer ends
	}
	if w.waiting != nil {
		w.conn.srv.pool.Put(w.waiting)
		w.waiting = nil
	}
	return err
}
