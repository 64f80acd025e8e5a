package httpwire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// ordinary is an answer as nearly all are, made at once.
type ordinary struct {
	http.Response
	body   body
	rest   fixed
	pieces pieces // in place of rest, of a chunked answer
}

// maxLines bounds the lines of an ordinary head.
const maxLines = 16

// ordinaryHead reads the head of an answer that has come whole, says 200 in HTTP/1.1, and
// names the length of its body, or that it is chunked (RFC 9112, sections 4 to 7). It
// returns nil for any other, of which nothing is taken then: http.ReadResponse knows them
// all.
func ordinaryHead(r *bufio.Reader) *ordinary {
	first, lines, size := come(r)
	if size == 0 {
		return nil
	}
	o := &ordinary{Response: http.Response{
		Status: string(first[len("HTTP/1.1 "):]), StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: -1,
	}}
	if o.Header = o.fields(lines); o.Header == nil || (o.ContentLength < 0) != o.chunked() {
		return nil
	}
	_, _ = r.Discard(size)
	if o.chunked() {
		o.pieces = pieces{r: r, data: httputil.NewChunkedReader(r)}
		o.body.Reader = &o.pieces
	} else {
		o.rest = fixed{r: r, left: o.ContentLength}
		o.body.Reader = &o.rest
	}
	return o
}

func (o *ordinary) chunked() bool { return len(o.TransferEncoding) > 0 }

// bareHead reads the head of an answer that ordinaryHead would read, of whose body only
// the length is of interest: up to most bytes. Of any other nothing is taken.
func bareHead(r *bufio.Reader, most int64) (length int64, ok bool) {
	if most < 0 {
		return 0, false
	}
	_, lines, size := come(r)
	length = -1
	for n := 0; len(lines) > 0; n++ {
		var l line
		if l, lines, ok = nextLine(lines); !ok || n == maxLines || !l.tells(&length) {
			return 0, false
		}
	}
	if size == 0 || length < 0 || length > most {
		return 0, false
	}
	_, _ = r.Discard(size)
	return length, true
}

// come returns the first line and the others of a head that has come whole and says 200 in
// HTTP/1.1, and its size with the empty line; 0 for any other. They stay until r is read.
func come(r *bufio.Reader) (first, lines []byte, size int) {
	if _, err := r.Peek(1); err != nil {
		return nil, nil, 0 // ReadResponse says why
	}
	all, _ := r.Peek(r.Buffered())
	size = bytes.Index(all, []byte("\r\n\r\n")) + 4
	if size < 4 || !bytes.HasPrefix(all, []byte("HTTP/1.1 200 ")) {
		return nil, nil, 0
	}
	first, lines, _ = bytes.Cut(all[:size-2], []byte("\r\n"))
	if bytes.IndexByte(first, '\n') >= 0 {
		return nil, nil, 0
	}
	return first, lines, size
}

// line is one of a head.
type line struct{ name, value []byte }

// nextLine returns the first line and those after it; false for one that is not a field.
func nextLine(lines []byte) (l line, rest []byte, ok bool) {
	text, rest, ended := bytes.Cut(lines, []byte("\r\n"))
	name, value, named := bytes.Cut(text, []byte(":"))
	value = textproto.TrimBytes(value)
	alone := !bytes.ContainsAny(text, "\r\n") // which trimming would hide
	return line{name, value}, rest, ended && named && alone && validName(name) && validValue(value)
}

// validName is httpguts.ValidHeaderFieldName of what is no string.
func validName(name []byte) bool {
	for _, c := range name {
		if !httpguts.IsTokenRune(rune(c)) {
			return false
		}
	}
	return len(name) > 0
}

// validValue is httpguts.ValidHeaderFieldValue of what is no string.
func validValue(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// tells notes the body's length, which must be below 0 before, if the line names it. It
// reports false for what means more than it says.
func (l line) tells(bytes *int64) bool {
	switch len(l.name) { // most are told apart by it
	case len("Connection"), len("Transfer-Encoding"), len("Trailer"), len("Pragma"), len("Content-Length"):
	default:
		return true
	}
	for _, name := range [...]string{"Connection", "Transfer-Encoding", "Trailer", "Upgrade", "Pragma"} {
		if strings.EqualFold(string(l.name), name) {
			return false
		}
	}
	if !strings.EqualFold(string(l.name), "Content-Length") {
		return true
	}
	if *bytes >= 0 {
		return false
	}
	*bytes = length(l.value)
	return *bytes >= 0
}

const chunked = "chunked"

// chunked reports whether the line says that the body is chunked, and nothing else of it.
func (l line) chunked() bool {
	return strings.EqualFold(string(l.name), "Transfer-Encoding") &&
		len(l.value) == len(chunked) && strings.EqualFold(string(l.value), chunked) // of ASCII
}

// fields reads the lines of a head, and the length that they tell; nil says that they are
// not as simple as that.
func (o *ordinary) fields(lines []byte) http.Header {
	header := make(http.Header, 4)
	values := make([]string, 0, maxLines)
	for len(lines) > 0 {
		var l line
		var ok bool
		if l, lines, ok = nextLine(lines); !ok || len(values) == maxLines {
			return nil
		}
		if l.chunked() && !o.chunked() {
			o.TransferEncoding = []string{chunked}
			continue
		}
		if !l.tells(&o.ContentLength) {
			return nil
		}
		name, value := textproto.CanonicalMIMEHeaderKey(string(l.name)), string(l.value)
		values = append(values, value)
		if had := header[name]; had == nil {
			header[name] = values[len(values)-1:]
		} else {
			header[name] = append(slices.Clip(had), value)
		}
	}
	return header
}

// length reads a body's length; below 0 it is none.
func length(value []byte) int64 {
	const most = 18 // digits
	if len(value) == 0 || len(value) > most {
		return -1
	}
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// fixed is a body whose length is known.
type fixed struct {
	r    *bufio.Reader
	left int64
}

// Read returns io.EOF with the last bytes.
func (f *fixed) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, io.EOF
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	switch f.left -= int64(n); {
	case f.left == 0:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// pieces is a chunked body.
type pieces struct {
	r    *bufio.Reader
	data io.Reader
}

// Read returns io.EOF when the end has come that stands behind the last chunk.
func (p *pieces) Read(b []byte) (int, error) {
	n, err := p.data.Read(b)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if err := p.trailer(); err != nil {
		return n, err
	}
	return n, io.EOF
}

var errTrailer = errors.New("httpwire: what follows the last chunk is no trailer")

// trailer passes over what stands behind the last chunk: an empty line, after fields that
// fit what is read at once.
func (p *pieces) trailer() error {
	const line = "\r\n"
	for {
		rest, _ := p.r.Peek(p.r.Buffered())
		if bytes.HasPrefix(rest, []byte(line)) {
			_, _ = p.r.Discard(len(line))
			return nil
		}
		if bytes.Contains(rest, []byte(line+line)) {
			if _, err := textproto.NewReader(p.r).ReadMIMEHeader(); err != nil {
				return errTrailer
			}
			return nil
		}
		switch _, err := p.r.Peek(len(rest) + 1); {
		case errors.Is(err, bufio.ErrBufferFull):
			return errTrailer
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}
