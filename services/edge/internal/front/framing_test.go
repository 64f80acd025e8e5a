package front

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

const (
	chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
	twoEnds = "POST / HTTP/1.1\r\nHost: x\r\nCONTENT-length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
	oldEnds = "POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab"
	oldKept = "POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab"
)

// echo answers with the body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, _ = fmt.Fprint(w, string(body))
}

// closes says whether the connection is closed with the answer to the last of requests,
// all of which are answered.
func closes(t *testing.T, c net.Conn, requests ...string) bool {
	t.Helper()
	in := bufio.NewReader(c)
	for i, request := range requests {
		resp, text := send(t, c, in, request)
		if resp.StatusCode != http.StatusOK || request != get && text != "ab" {
			t.Errorf("%q: %d %q", request, resp.StatusCode, text)
		}
		if i < len(requests)-1 {
			if resp.Close {
				t.Fatalf("closed with the answer to %q", request)
			}
			continue
		}
		if !resp.Close {
			return false
		}
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Errorf("after the last answer: %q, %v", rest, err)
	}
	return true
}

// The connection of a request that has a length and a coding is closed with its answer,
// whatever was asked on it before and whatever follows (RFC 9112, section 6.1).
func TestTwoEndsOfABodyCloseTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		requests []string
		closes   bool
	}{
		"at once":                  {[]string{twoEnds}, true},
		"with another behind it":   {[]string{twoEnds + get}, true},
		"after what is plain":      {[]string{get, twoEnds}, true},
		"after one of a coding":    {[]string{chunked, chunked, twoEnds}, true},
		"of HTTP/1.0":              {[]string{oldEnds}, true},
		"of HTTP/1.0, kept before": {[]string{oldKept, oldEnds}, true},
		"a coding alone":           {[]string{chunked, get, chunked, get}, false},
		"a length alone":           {[]string{oldKept, oldKept}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, http.HandlerFunc(echo), nil)
			if got := closes(t, dial(t, p.addr), c.requests...); got != c.closes {
				t.Errorf("closed: %t", got)
			}
			p, client := startTLS(t, http.HandlerFunc(echo))
			if got := closes(t, tls.Client(dial(t, p.addr), client), c.requests...); got != c.closes {
				t.Errorf("closed over TLS: %t", got)
			}
		})
	}
}

// opaque hides what carries a connection, so that nothing of it is served here.
type opaque struct{ net.Listener }

func (l opaque) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return struct{ net.Conn }{c}, err
}

// Connections that net/http serves from their first byte are no exception.
func TestTwoEndsOfABodyWhereNothingIsServedHere(t *testing.T) {
	server, client := certificates(t)
	for name, config := range map[string]*tls.Config{"in the clear": nil, "TLS": server} {
		t.Run(name, func(t *testing.T) {
			inner := newHTTP(http.HandlerFunc(echo), io.Discard)
			inner.TLSConfig = config
			lis := listen(t)
			s := New(inner, 100)
			ended := make(chan error, 1)
			go func() { ended <- s.Serve(opaque{lis}) }()
			t.Cleanup(func() {
				_ = s.Close()
				if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
					t.Errorf("serve: %v", err)
				}
			})
			connect := func() net.Conn {
				c := dial(t, lis.Addr().String())
				if config == nil {
					return c
				}
				return tls.Client(c, client)
			}
			if !closes(t, connect(), get, twoEnds) {
				t.Error("two ends: kept")
			}
			if closes(t, connect(), get, chunked, get) {
				t.Error("one end: closed")
			}
		})
	}
}

// A name is found however what is read is cut.
func TestNamesAreFoundInParts(t *testing.T) {
	raw := []byte("POST / HTTP/1.1\r\nA-B: -\r\nTransfer-EncodinG: chunked\r\nContent-Length: 3\r\n\r\n")
	for first := range len(raw) {
		for _, step := range []int{1, 7, 16, 17, 40} {
			f := new(framing)
			f.saw(raw[:first])
			for at := first; at < len(raw); at += step {
				f.saw(raw[at:min(at+step, len(raw))])
			}
			if !f.length.Load() || !f.coding.Load() {
				t.Fatalf("%d, then each %d: %t, %t", first, step, f.length.Load(), f.coding.Load())
			}
		}
	}
	f := new(framing)
	f.saw([]byte(strings.Repeat("content length transfer encoding content--length ransfer-encoding ", 9)))
	if f.length.Load() || f.coding.Load() {
		t.Error("found what is not there")
	}
}
