package front

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// logged keeps what a server logs.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write writes.
func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// port is a server that runs for a test.
type port struct {
	*Server
	addr string
	log  *logged
}

// newHTTP returns what a test sets up on either side.
func newHTTP(h http.Handler, l io.Writer) *http.Server {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: h, Protocols: p, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(slog.NewTextHandler(l, nil), slog.LevelInfo),
	}
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	lis, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return lis
}

// start starts a front; change may change its server.
func start(tb testing.TB, h http.Handler, change func(*http.Server)) *port {
	tb.Helper()
	l := new(logged)
	server := newHTTP(h, l)
	if change != nil {
		change(server)
	}
	p := &port{Server: New(server, 100), log: l}
	lis := listen(tb)
	p.addr = lis.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(lis) }()
	tb.Cleanup(func() {
		_ = p.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("serve: %v", err)
		}
	})
	return p
}

// dial connects.
func dial(tb testing.TB, addr string) *net.TCPConn {
	tb.Helper()
	c, err := new(net.Dialer).DialContext(tb.Context(), "tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn) //nolint:errcheck // it is
}

// ours says whether w is served here.
func ours(w http.ResponseWriter) bool {
	_, ok := w.(*response)
	return ok
}

// send writes s and returns what is answered.
func send(t *testing.T, c net.Conn, in *bufio.Reader, s string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// wait fails unless done is closed soon.
func wait(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("waited in vain: ", what)
	}
}

// A connection that waits for its next request holds no buffer, nor does one whose
// answer waits for more.
func TestWaitingHoldsNoBuffers(t *testing.T) {
	flushed, leave := make(chan struct{}), make(chan struct{})
	p := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "event")
		_ = http.NewResponseController(w).Flush()
		resp, ok := w.(*response)
		if !ok || resp.head != nil || resp.waiting != nil || resp.conn.in.Buffered() != 0 {
			t.Error("a stream holds a buffer")
		}
		close(flushed)
		<-leave
	}), nil)
	c := dial(t, p.addr)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
	wait(t, flushed, "the flush")
	close(leave)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "event" {
		t.Errorf("%q %v", text, err)
	}
	for range 1000 {
		p.mu.Lock()
		idle := 0
		for _, c := range p.conns {
			c.mu.Lock()
			if !c.busy {
				idle++
				if c.cancel != nil {
					t.Error("an idle connection keeps its latest request's context")
				}
			}
			c.mu.Unlock()
		}
		p.mu.Unlock()
		if idle == 1 {
			break
		}
		<-time.After(time.Millisecond)
	}
	_ = p.Close() // its goroutine has ended when the next line is reached
	p.left.Wait()
	for _, c := range p.conns {
		t.Errorf("connection %d is left", c.token)
	}
}

// Everything that a client sends in one go is answered in order, and the next request
// does not end the one in hand.
func TestPipelining(t *testing.T) {
	p := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case <-r.Context().Done():
			t.Error("the request ended")
		case <-time.After(50 * time.Millisecond):
		}
		_, _ = fmt.Fprint(w, r.URL.Path, string(body), ours(w))
	}), nil)
	c := dial(t, p.addr)
	var all strings.Builder
	for i := range 8 {
		_, _ = fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na%db", i, i)
	}
	_, _ = io.WriteString(c, all.String())
	in := bufio.NewReader(c)
	for i := range 8 {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(resp.Body); string(text) != fmt.Sprintf("/%da%dbtrue", i, i) {
			t.Errorf("%d: %q", i, text)
		}
	}
}

// A connection goes to net/http with the first request that is odd, and stays there.
func TestOddRequestsAreHandedOver(t *testing.T) {
	p := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprint(w, ours(w), string(body), err)
	}), nil)
	c := dial(t, p.addr)
	in := bufio.NewReader(c)
	for i, step := range []struct{ request, answer string }{
		{get, "true<nil>"},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", "trueab<nil>"},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "falseab<nil>"},
		{get, "false<nil>"},
	} {
		if _, text := send(t, c, in, step.request); text != step.answer {
			t.Errorf("%d: %q", i, text)
		}
	}
}

// A panic cuts the connection, so that nobody takes the answer for a whole one; only
// http.ErrAbortHandler is not told of.
func TestPanics(t *testing.T) {
	for _, v := range []any{"a plum", http.ErrAbortHandler} {
		var ended <-chan struct{}
		p := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ended = r.Context().Done()
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(v)
		}), nil)
		c := dial(t, p.addr)
		_, _ = io.WriteString(c, get)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(resp.Body); string(text) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v: %q %v", v, text, err)
		}
		wait(t, ended, "the context")
		if told := strings.Contains(p.log.String(), "a plum"); told != (v == "a plum") {
			t.Errorf("%v: logged %q", v, p.log.String())
		}
	}
}
