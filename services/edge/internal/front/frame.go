package front

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// The fields that say where an answer ends. What a handler says in them is heard, and
// they are written when it is known what holds.
const (
	connection       = "Connection"
	contentLength    = "Content-Length"
	contentType      = "Content-Type"
	transferEncoding = "Transfer-Encoding"
)

// facts are what a handler's header says about the frame of its answer.
type facts struct {
	connection string
	typed      bool // there is a Content-Type, or there must be none
	dated      bool
	duplex     bool // the answer may begin before the body was read
}

// note notes them, and returns the length that the handler tells, or -1.
func (f *facts) note(w *response) int64 {
	h := w.handlers
	f.connection = h.Get(connection)
	_, f.typed = h[contentType]
	f.typed = f.typed || h.Get("Content-Encoding") != ""
	_, f.dated = h["Date"]
	told := h.Get(contentLength)
	if told == "" {
		return -1
	}
	n, err := strconv.ParseInt(told, 10, 64)
	if err != nil || n < 0 {
		w.conn.srv.logf("http: invalid Content-Length of %q", told)
		return -1
	}
	return n
}

// framed reports whether a field of an answer with the status is not written as the
// handler has it.
func framed(name string, status int) bool {
	switch name {
	case connection, contentLength, transferEncoding, "Trailer":
		return true
	case contentType:
		return status == http.StatusNotModified
	}
	return false
}

// appendFields appends the handler's fields, as net/http does but in no order: a name that
// is none is left out.
func appendFields(b []byte, h http.Header, status int) []byte {
	for name, values := range h {
		if framed(name, status) || !fieldName(name) {
			continue
		}
		for _, v := range values {
			b = appendField(b, name, v)
		}
	}
	return b
}

// appendField appends a field, whose value ends where its line does.
func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	begin := len(b)
	b = append(b, textproto.TrimString(value)...)
	for _, end := range [...]byte{'\r', '\n'} {
		for at := bytes.IndexByte(b[begin:], end); at >= 0; at = bytes.IndexByte(b[begin:], end) {
			b[begin+at] = ' '
		}
	}
	return append(b, "\r\n"...)
}

// fieldName takes the names of fields (RFC 9110, section 5.6.2).
func fieldName(name string) bool {
	for i := range len(name) {
		if !token(name[i]) {
			return false
		}
	}
	return name != ""
}

// frame ends the head of an answer: n bytes of its body are sent with it, of which
// first are the first, and last says that these are all. Before, it reads what is left
// of the request's body, which some clients send to its end before they read.
func (w *response) frame(first []byte, n int, last bool) {
	allowed, bare := bodyAllowed(w.status), w.req.Method == http.MethodHead
	if last && allowed && w.length < 0 && (!bare || n > 0) {
		w.length = int64(n)
	}
	w.close = w.close || w.wantsClose || w.facts.connection == "close" || !w.conn.srv.keepsAlive()
	if w.body != nil && !w.close && !w.facts.duplex && !w.body.discard() {
		w.close = true
	}
	b := w.head.B
	if !w.facts.dated {
		b = append(time.Now().UTC().AppendFormat(append(b, "Date: "...), http.TimeFormat), "\r\n"...) //nolint:forbidigo // clients compare it with theirs
	}
	switch {
	case !allowed:
	case w.length >= 0:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), w.length, 10), "\r\n"...)
	case !bare:
		w.chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if allowed && !w.facts.typed && n > 0 {
		b = append(append(append(b, "Content-Type: "...), http.DetectContentType(first)...), "\r\n"...)
	}
	switch told := w.facts.connection; {
	case w.close && !hasToken(told, "close"):
		b = append(b, "Connection: close\r\n"...)
	case told != "":
		b = appendField(b, connection, told)
	}
	b = append(b, "\r\n"...)
	w.head.B = b
}

// appendHead appends the status and the handler's fields.
func appendHead(b []byte, status int, h http.Header) []byte {
	b = append(strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(status), 10), ' ')
	text := http.StatusText(status)
	if text == "" {
		text = "status code " + strconv.Itoa(status)
	}
	return appendFields(append(append(b, text...), "\r\n"...), h, status)
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
