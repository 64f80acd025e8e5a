package front

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// witness is a handler that notes what it saw, and answers as the path says.
type witness struct {
	mu   sync.Mutex
	seen []string
}

// take returns what was seen since the last time.
func (h *witness) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.seen
	h.seen = nil
	return seen
}

// ServeHTTP answers.
func (h *witness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seen := fmt.Sprintln(r.Method, r.RequestURI, r.URL, r.Host, r.Proto, r.ProtoMajor, r.ProtoMinor, r.ContentLength, r.Close, r.TransferEncoding,
		r.TLS != nil, r.RemoteAddr != "", r.Body == http.NoBody, r.Context().Value(http.ServerContextKey) != nil, r.Context().Value(http.LocalAddrContextKey) != nil)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		seen += fmt.Sprintf("%q: %q\n", name, r.Header[name])
	}
	var body []byte
	if !strings.HasPrefix(r.URL.Path, "/unread") {
		var err error
		body, err = io.ReadAll(r.Body)
		seen += fmt.Sprintf("%q %v\n", body, err)
	}
	h.mu.Lock()
	h.seen = append(h.seen, seen)
	h.mu.Unlock()
	respond(w, r, body)
}

func respond(w http.ResponseWriter, r *http.Request, body []byte) {
	header, flush := w.Header(), http.NewResponseController(w).Flush
	switch _, how, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/unread"), "/"); how {
	case "nothing":
	case "large":
		_, _ = w.Write(bytes.Repeat([]byte("0123456789"), 5000))
	case "parts":
		for range 100 {
			_, _ = w.Write(bytes.Repeat([]byte("ab"), 99))
		}
	case "2048":
		_, _ = w.Write(make([]byte, 2000))
		_, _ = w.Write(make([]byte, 48))
	case "2049":
		_, _ = w.Write(make([]byte, 2000))
		_, _ = w.Write(make([]byte, 49))
	case "small-large":
		_, _ = io.WriteString(w, "<htm")
		_, _ = w.Write(bytes.Repeat([]byte("l>  "), 5000))
	case "events":
		header.Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		_ = flush()
		for i := range 5 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = flush()
			_ = flush()
		}
	case "length":
		header.Set("Content-Length", "5")
		_, _ = io.WriteString(w, "12345")
		_, err := io.WriteString(w, "6")
		if !errors.Is(err, http.ErrContentLength) {
			panic(err)
		}
	case "long":
		header.Set("Content-Length", "30000")
		_, _ = w.Write(bytes.Repeat([]byte("x"), 10000))
		_, _ = w.Write(bytes.Repeat([]byte("y"), 20000))
	case "short":
		header.Set("Content-Length", "7")
		_, _ = io.WriteString(w, "12345")
	case "204", "304", "404", "599", "799":
		header.Set("Content-Type", "text/x")
		header.Set("Content-Length", "0")
		w.WriteHeader(int(how[0]-'0')*100 + int(how[1]-'0')*10 + int(how[2]-'0'))
		if _, err := io.WriteString(w, "x"); err == nil {
			panic("it was taken")
		}
	case "hints":
		header.Set("Link", "</x>")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "last")
	case "close":
		header.Set("Connection", "close")
		_, _ = io.WriteString(w, "bye")
	case "keep":
		header.Set("Connection", "keep-alive, x")
		_, _ = io.WriteString(w, "more")
	case "after":
		w.WriteHeader(http.StatusOK)
		header.Set("X-Late", "1")
		_, _ = io.WriteString(w, "body")
		w.WriteHeader(http.StatusTeapot)
	case "headers":
		header["X-Two"] = []string{"a", "b\r\nX-Three: c", " d "}
		header["Not A Name"], header["Date"] = []string{"x"}, []string{"Thu, 01 Jan 1970 00:00:00 GMT"}
		header["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html>")
	case "encoded":
		header.Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "<html>")
	case "abort":
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	case "cut":
		_, _ = io.WriteString(w, "half")
		_ = flush()
		panic(http.ErrAbortHandler)
	case "shut":
		_ = r.Body.Close()
		_, err := r.Body.Read(make([]byte, 1))
		_, _ = fmt.Fprint(w, err)
	case "duplex":
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.WriteString(w, "begun ")
		_ = flush()
		rest, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%q %v", rest, err)
	default:
		_, _ = fmt.Fprintf(w, "<html>%s %q", r.Method, body)
	}
}

// exchange sends raw in the parts that cuts says, closes its side, and returns what
// came back. Whole is false when the connection was reset, which takes away what had not
// been read.
func exchange(tb testing.TB, addr string, raw []byte, cuts uint64) (got []byte, whole bool) {
	tb.Helper()
	c := dial(tb, addr)
	defer c.Close()
	go func() {
		for len(raw) > 0 && cuts > 0 {
			n := min(int(cuts&0xff)+1, len(raw))
			if _, err := c.Write(raw[:n]); err != nil {
				return
			}
			raw, cuts = raw[n:], cuts>>8
			<-time.After(200 * time.Microsecond)
		}
		_, _ = c.Write(raw)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	return got, err == nil
}

// answers reads the answers to requests of the methods, and writes them down without
// what may differ: the order of fields, the sizes of chunks, the time, and whether a
// connection is said to be kept of which cut says that its client has sent half a body.
func answers(raw []byte, methods []string, cut bool) []string {
	var out []string
	in := bufio.NewReader(bytes.NewReader(raw))
	for i := 0; ; i++ {
		var req *http.Request
		if i < len(methods) {
			req = &http.Request{Method: methods[i]}
		}
		resp, err := http.ReadResponse(in, req)
		if err != nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) || in.Buffered() > 0 {
				out = append(out, err.Error())
			}
			return out
		}
		if resp.StatusCode == http.StatusEarlyHints {
			i--
		}
		body, err := io.ReadAll(resp.Body)
		if d := resp.Header.Get("Date"); d != "" && !strings.Contains(d, "1970") {
			resp.Header["Date"] = []string{"some"}
		}
		out = append(out, fmt.Sprintln(resp.Proto, resp.Status, resp.Header, resp.ContentLength, resp.TransferEncoding, resp.Close && !cut, string(body), err))
	}
}

// both are net/http and a front with handlers that do the same.
type both struct {
	stdAddr, addr string
	std, own      *witness
}

func newBoth(tb testing.TB) *both {
	tb.Helper()
	b := &both{std: new(witness), own: new(witness)}
	one := func(s *http.Server) { s.Protocols.SetUnencryptedHTTP2(false) } // its frames come in no order
	b.addr = start(tb, b.own, one).addr
	lis, server := listen(tb), newHTTP(b.std, io.Discard)
	one(server)
	closeFaulty(server)
	b.stdAddr = lis.Addr().String()
	go func() { _ = server.Serve(replaying{lis}) }()
	tb.Cleanup(func() { _ = server.Close() })
	return b
}

// replaying has a server of its connections know of faulty framing.
type replaying struct{ net.Listener }

func (l replaying) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &replayed{Conn: c}, nil
}

// compare gives raw to both, and fails where they differ.
func (b *both) compare(tb testing.TB, raw []byte, cuts uint64) {
	tb.Helper()
	want, stdWhole := exchange(tb, b.stdAddr, bytes.Clone(raw), 0)
	got, whole := exchange(tb, b.addr, bytes.Clone(raw), cuts)
	stdSeen, seen := b.std.take(), b.own.take()
	if !slices.Equal(stdSeen, seen) {
		tb.Fatalf("%q\nnet/http saw %q\nfront saw %q", raw, stdSeen, seen)
	}
	if !stdWhole || !whole {
		return
	}
	var methods []string
	for _, s := range seen {
		method, _, _ := strings.Cut(s, " ")
		methods = append(methods, method)
	}
	cut := strings.Contains(strings.Join(seen, ""), io.ErrUnexpectedEOF.Error())
	wanted, given := answers(want, methods, cut), answers(got, methods, cut)
	if !slices.Equal(wanted, given) {
		tb.Fatalf("%q\nnet/http: %q\nfront:    %q", raw, wanted, given)
	}
}

// requests are what both are given: what is served here, what is odd, and what two
// servers in a row could take for different requests.
func requests() []string {
	const host, next = "Host: x\r\n", "GET /next HTTP/1.1\r\nHost: y\r\n\r\n"
	out := []string{"", "\r\n", "\n", "G", "GET", get, get + get + get, "\r\n" + get, "\n" + get, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}
	for _, how := range []string{
		"nothing", "large", "parts", "2048", "2049", "small-large", "events", "length", "long", "short", "204", "304", "404",
		"599", "799", "hints", "close", "keep", "after", "headers", "encoded", "abort", "cut", "shut", "duplex", "echo",
	} {
		for _, path := range []string{"/", "/unread/"} {
			out = append(out,
				"GET "+path+how+" HTTP/1.1\r\n"+host+"\r\n"+next,
				"HEAD "+path+how+" HTTP/1.1\r\n"+host+"\r\n"+next,
				"DELETE "+path+how+" HTTP/1.1\r\n"+host+"Content-Length: 0\r\n\r\n"+next,
				"POST "+path+how+" HTTP/1.1\r\n"+host+"Content-Length: 4\r\n\r\nabcd"+next,
				"GET "+path+how+" HTTP/1.1\r\n"+host+"Content-Length: 4\r\nConnection: close\r\n\r\nabcd"+next,
				"PUT "+path+how+" HTTP/1.1\r\n"+host+"Content-Length: 9000\r\n\r\n"+strings.Repeat("z", 9000)+next,
				"PATCH "+path+how+" HTTP/1.1\r\n"+host+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"+next,
			)
		}
	}
	for _, target := range []string{
		"*", "http://y/a", "//y/a", "/a b", "/%zz", "/%41?b=%zz", "/a#b", "/\x7f", "/\xc3\xa9", "", "a", "/?", "/a?b#c", "/a\tb", "/..%2f/../x", "/" + strings.Repeat("a", 5000),
	} {
		out = append(out, "GET "+target+" HTTP/1.1\r\n"+host+"\r\n"+next)
	}
	for _, line := range []string{
		"GET / HTTP/1.0", "GET / HTTP/1.2", "GET / HTTP/2.0", "GET / http/1.1", "GET /", "get / HTTP/1.1", "G(T / HTTP/1.1", "OPTIONS * HTTP/1.1", "TRACE / HTTP/1.1",
		"CONNECT y:1 HTTP/1.1", " GET / HTTP/1.1", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", "GET / HTTP/1.1\r", "GET\t/ HTTP/1.1", "GET / HTTP/1.1 x",
	} {
		out = append(out, line+"\r\n"+host+"\r\n"+next, line+"\n"+host+"\n"+next)
	}
	for _, fields := range []string{
		"Content-Length: 3\r\nContent-Length: 5\r\n", "Content-Length: 3\r\nContent-Length: 3\r\n", "Content-Length: 3, 3\r\n", "Content-Length: +3\r\n", "Content-Length: -3\r\n",
		"Content-Length: 0x3\r\n", "Content-Length:\r\n", "Content-Length: 3 4\r\n", "Content-Length: 03\r\n", "Content-Length: 99999999999999999999\r\n", "Content-Length: 3;\r\n",
		"Content-Length : 3\r\n", " Content-Length: 3\r\n", "Content-Length\t: 3\r\n", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Content-Length:3\r\n", "Content-Length:   3  \r\n",
		"Content-Length: 3\n", "Content-Length: 3\r\r\n", "content-length: 3\r\n", "Content_Length: 3\r\n", "Content-Length: 3\x00\r\n", "Content-Length: \t3\r\n", "Content-Length: 3\v\r\n",
		"Transfer-Encoding: xchunked\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding: chunked, identity\r\n", "Transfer-Encoding : chunked\r\n", "Transfer-Encoding:\r\n",
		"Host: y\r\n", "host: x\r\n", "X: a\r\n b\r\n", "X: a\r\n\tb\r\n", ": x\r\n", "X\r\n", "X\x00: a\r\n", "X: a\x00b\r\n", "X: a\x01b\r\n", "X: \xe9\r\n", "\xe9: x\r\n", "X: a\rb\r\n",
		"X: a\nY: b\r\n", "X:\r\n", "X:a\r\n", "X: \t a \t\r\n", "X: a:b\r\n", "X-a: 1\r\nx-A: 2\r\nX-A: 3\r\n", "Connection: close\r\n", "Connection: Keep-Alive\r\n",
		"Connection: close, x\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n", "Upgrade: websocket\r\n", "Expect: 100-continue\r\n", "Expect: more\r\n", "Pragma: no-cache\r\n",
		"TE: trailers\r\n", "Trailer: X\r\n", "Cookie: a=b\r\nCookie: c=d\r\n", "X: " + strings.Repeat("y", 5000) + "\r\n", strings.Repeat("X: y\r\n", 500),
	} {
		out = append(out, "POST / HTTP/1.1\r\n"+host+fields+"\r\nabc"+next, "POST / HTTP/1.1\r\n"+fields+host+"\r\nabc"+next, "GET / HTTP/1.1\r\n"+host+fields+"\r\n"+next)
	}
	for _, h := range []string{"", "Host:\r\n", "Host: x y\r\n", "Host: x,y\r\n", "Host: [::1]:80\r\n", "Host: x/y\r\n", "Host: é\r\n", "Host: x\r\nHost: x\r\n", "Host: a%41\r\n", "Host: a@b\r\n"} {
		out = append(out, "GET / HTTP/1.1\r\n"+h+"\r\n"+next)
	}
	for _, ends := range []string{"\r\n", "\n", "\r\n\r\n", "\n\n\n", "\r\n\r\n\r\n", "\n\n\n\n\n", "\r\n\r\nG", "\nGET", "\n\n\nGE", "\r\rX"} {
		for _, after := range []string{next, ""} {
			out = append(out, "POST / HTTP/1.1\r\n"+host+"\r\n"+ends+after, "POST / HTTP/1.1\r\n"+host+"Content-Length: 2\r\n\r\nab"+ends+after, "PUT / HTTP/1.1\r\n"+host+"\r\n"+ends+after)
		}
	}
	return append(out,
		"POST / HTTP/1.1\r\n"+host+"Content-Length: 300000\r\n\r\n"+strings.Repeat("z", 300000)+next,
		"POST / HTTP/1.1\r\n"+host+"Content-Length: 30\r\n\r\nabc",
		"GET / HTTP/1.1\r\nX: "+strings.Repeat("y", 60000)+"\r\n\r\n"+next,
		"GET / HTTP/1.1\r\n"+host, "GET / HTTP/1.1\r\n"+host+"X", "GET / HTTP/1.1\r\n"+host+"\r", strings.Repeat("x", 5000), strings.Repeat("x", 5000)+"\r\n"+next,
	)
}

// Everything is answered as net/http answers it, whoever of the two does.
func TestAnswersAsNetHTTP(t *testing.T) {
	b := newBoth(t)
	for i, raw := range requests() {
		b.compare(t, []byte(raw), 0)
		if len(raw) < 1000 {
			b.compare(t, []byte(raw), 0x0303030303030303<<(i%4)|1)
		}
	}
}

// FuzzAnswersAsNetHTTP does the same with anything, in any parts.
func FuzzAnswersAsNetHTTP(f *testing.F) {
	for i, raw := range requests() {
		if len(raw) < 6000 {
			f.Add([]byte(raw), uint64(i)*0x0123456789abcdef)
		}
	}
	b := newBoth(f)
	f.Fuzz(func(t *testing.T, raw []byte, cuts uint64) {
		if len(raw) < 1<<14 {
			b.compare(t, raw, cuts)
		}
	})
}
