package httpwire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// ordinary is an answer as nearly all are, made at once.
type ordinary struct {
	http.Response
	body body
	rest fixed
}

// maxLines bounds the lines of an ordinary head.
const maxLines = 16

// ordinaryHead reads the head of an answer that has come whole, says 200 in HTTP/1.1, and
// names the length of its body (RFC 9112, sections 4 to 6). It returns nil for any other,
// of which nothing is taken then: http.ReadResponse knows them all.
func ordinaryHead(r *bufio.Reader) *ordinary {
	if _, err := r.Peek(1); err != nil {
		return nil // ReadResponse says why
	}
	come, _ := r.Peek(r.Buffered())
	size := bytes.Index(come, []byte("\r\n\r\n")) + 4
	if size < 4 || !bytes.HasPrefix(come, []byte("HTTP/1.1 200 ")) {
		return nil
	}
	first, lines, _ := strings.Cut(string(come[:size-2]), "\r\n")
	if strings.IndexByte(first, '\n') >= 0 {
		return nil
	}
	o := &ordinary{Response: http.Response{
		Status: first[len("HTTP/1.1 "):], StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: -1,
	}}
	if o.Header = o.fields(lines); o.Header == nil || o.ContentLength < 0 {
		return nil
	}
	_, _ = r.Discard(size)
	o.rest = fixed{r: r, left: o.ContentLength}
	return o
}

// fields reads the lines of a head, and the length that they tell; nil says that they are
// not as simple as that.
func (o *ordinary) fields(lines string) http.Header {
	header := make(http.Header, 4)
	values := make([]string, 0, maxLines)
	for lines != "" {
		line, rest, ok := strings.Cut(lines, "\r\n")
		lines = rest
		name, value, named := strings.Cut(line, ":")
		if !ok || !named || len(values) == maxLines || !httpguts.ValidHeaderFieldName(name) {
			return nil
		}
		value = textproto.TrimString(value)
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil
		}
		switch name = textproto.CanonicalMIMEHeaderKey(name); name {
		case "Connection", "Transfer-Encoding", "Trailer", "Upgrade", "Pragma":
			return nil // they mean more than they say
		case "Content-Length":
			if o.ContentLength >= 0 {
				return nil
			}
			if o.ContentLength = length(value); o.ContentLength < 0 {
				return nil
			}
		}
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
func length(value string) int64 {
	const most = 18 // digits
	if value == "" || len(value) > most {
		return -1
	}
	var n int64
	for i := range len(value) {
		c := value[i]
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
