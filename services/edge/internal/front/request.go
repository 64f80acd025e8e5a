package front

import (
	"bytes"
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// read makes a request with ctx of b, a whole head that look found plain, as net/http's
// ReadRequest does. The strings of its header are parts of one.
func (h head) read(ctx context.Context, b []byte) (*http.Request, error) {
	text := string(b[:h.size])
	line, size, _ := nextLine(b)
	method, rest, _ := bytes.Cut(line, []byte{' '})
	end := bytes.IndexByte(rest, ' ')
	begin := len(method) + 1
	uri := text[begin : begin+end]
	u, err := target(uri)
	if err != nil {
		return nil, err
	}
	req := new(http.Request).WithContext(ctx)
	req.Method, req.URL, req.RequestURI, req.ContentLength = text[:len(method)], u, uri, h.length
	req.Proto, req.ProtoMajor, req.ProtoMinor = text[begin+end+1:len(line)], 1, 1
	req.Header = make(http.Header, h.fields)
	values := make([]string, 0, h.fields)
	for {
		line, n, _ := nextLine(b[size:])
		if len(line) == 0 {
			return req, nil
		}
		at := size
		size += n
		colon := bytes.IndexByte(line, ':')
		value := textproto.TrimString(text[at+colon+1 : at+len(line)])
		name := textproto.CanonicalMIMEHeaderKey(text[at : at+colon])
		req.Close = req.Close || name == connection && strings.EqualFold(value, "close")
		if name == "Host" {
			req.Host = value
		} else if known := req.Header[name]; known != nil {
			req.Header[name] = append(known, value)
		} else {
			values = append(values, value)
			req.Header[name] = values[len(values)-1 : len(values) : len(values)]
		}
	}
}

// target is url.ParseRequestURI, which for paths that nothing in has to be read of has
// nothing to do.
func target(uri string) (*url.URL, error) {
	for i := range len(uri) {
		if c := uri[i]; !alphanumeric(c) && c != '/' && c != '_' && c != '-' && c != '.' {
			return url.ParseRequestURI(uri) //nolint:wrapcheck // nobody reads it
		}
	}
	return &url.URL{Path: uri}, nil
}
