package httpwire

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/quietconn"
)

const answerA = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"

// openServer gives each request on a connection the answer and stays there; behind the
// first answer it sends unasked, at once or a moment later.
func openServer(t *testing.T, answer, unasked string, later bool) (addr string, sent <-chan struct{}) {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go func() {
				r := bufio.NewReader(conn)
				for first := n == 0; ; first = false {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					switch {
					case first && later:
						_, _ = io.WriteString(conn, answer)
						<-time.After(20 * time.Millisecond)
						_, _ = io.WriteString(conn, unasked)
						close(done)
					case first:
						_, _ = io.WriteString(conn, answer+unasked)
						close(done)
					default:
						_, _ = io.WriteString(conn, answer)
					}
				}
			}()
		}
	}()
	return lis.Addr().String(), done
}

func newClient(t *testing.T, addr string) *Client {
	t.Helper()
	c, err := New(Options{Addr: addr, Host: addr, DialTimeout: time.Second, Idle: time.Minute, MaxIdle: 4, ReadBuffer: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// What an engine sends unasked on a connection that it keeps open is not the answer to
// the next request, whoever's that is: neither what came with the answer before nor what
// came while nobody asked.
func TestWhatAnOpenConnectionHoldsIsNoAnswer(t *testing.T) {
	const unasked = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nX"
	for name, later := range map[string]bool{"with the answer": false, "later": true} {
		for kind, ask := range map[string]func(c *Client) (string, error){
			"read": func(c *Client) (string, error) {
				resp, err := c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/"})
				if err != nil {
					return "", err
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				return string(text), err
			},
			"whole": func(c *Client) (string, error) {
				_, text, err := c.Whole(t.Context(), Request{Method: http.MethodGet, Path: "/"}, 10)
				return string(text), err
			},
		} {
			addr, sent := openServer(t, answerA, unasked, later)
			c := newClient(t, addr)
			for i := range 3 {
				if got, err := ask(c); err != nil || got != "a" {
					t.Errorf("%s, %s: answer %d is %q, %v", name, kind, i, got, err)
				}
				<-sent
				<-time.After(5 * time.Millisecond) // the machine's own network
			}
		}
	}
}

// A connection that a caller's end may yet interrupt is not kept, though its answer was
// read to its end: the next request on it would be cut, or be sent twice.
func TestAConnectionThatMayBeInterruptedIsNotKept(t *testing.T) {
	addr, _ := openServer(t, answerA, "", false)
	c := newClient(t, addr)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp, err := c.Do(ctx, Request{Method: http.MethodGet, Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "a" || kept(c) != 0 {
		t.Errorf("read %q, %v; %d connections are kept", text, err, kept(c))
	}
	for _, stopped := range []bool{true, false} {
		for _, last := range []bool{true, false} {
			c := newClient(t, addr)
			cn, _, err := c.connection(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, whole, err := cn.exchange(t.Context(), &Request{Method: http.MethodGet, Path: "/"}, false, -1)
			if err != nil || whole != nil {
				t.Fatal(err)
			}
			if text, err := cn.whole(1, func() bool { return stopped }, last); err != nil || string(text) != "a" || (kept(c) == 1) != (stopped && !last) {
				t.Errorf("stopped %v, last %v: %q, %v; %d connections are kept", stopped, last, text, err, kept(c))
			}
		}
	}
}

// kept is how many connections wait for a request.
func kept(c *Client) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.idle)
}

// A connection is kept only when the answer on it has an end of its own, was read to it,
// and does not say that it is the last.
func TestWhatIsKept(t *testing.T) {
	for answer, keeps := range map[string]bool{
		answerA: true,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n":              true,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Tail: b\r\n\r\n": true,
		"HTTP/1.1 103 Early Hints\r\n\r\n" + answerA:                                            true,
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n":                                   true,
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na":                    false,
		"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na":                                         false,
		"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n":                         false,
	} {
		addr, _ := openServer(t, answer, "", false)
		c := newClient(t, addr)
		resp, err := c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/"})
		if err != nil {
			t.Fatalf("%q: %v", answer, err)
		}
		if resp.StatusCode >= http.StatusOK { // of the others there is no body
			_, err = io.Copy(io.Discard, resp.Body)
		}
		_ = resp.Body.Close()
		if got := kept(c) == 1; got != keeps || err != nil {
			t.Errorf("%q: kept %v, %v", answer, got, err)
		}
	}
}

func TestAnAnswerThatIsLeftIsNotKept(t *testing.T) {
	addr, _ := openServer(t, answerA, "", false)
	c := newClient(t, addr)
	resp, err := c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); kept(c) != 0 {
		t.Error("the connection is kept")
	}
}

// deaf is a connection on which writing fails, though the bytes arrive.
type deaf struct{ net.Conn }

// Write writes.
func (d deaf) Write(p []byte) (int, error) {
	n, err := d.Conn.Write(p)
	if err == nil {
		err = net.ErrClosed
	}
	return n, err
}

// What was answered though it could not all be written is the answer; nothing more is
// asked on its connection.
func TestAConnectionThatFailedIsNotKept(t *testing.T) {
	for _, tt := range []struct {
		answer string
		most   int64
	}{{answerA, -1}, {answerA, 10}, {"HTTP/1.1 413 Large\r\nContent-Length: 1\r\n\r\na", -1}} {
		answer, most := tt.answer, tt.most
		addr, _ := openServer(t, answer, "", false)
		c := newClient(t, addr)
		cn, _, err := c.connection(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cn.asker = quietconn.NewAsker(deaf{cn.conn})
		cn.limited.from = cn.asker
		resp, text, err := cn.exchange(t.Context(), &Request{Method: http.MethodGet, Path: "/"}, false, most)
		if err == nil && text == nil {
			text, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if err != nil || string(text) != "a" || kept(c) != 0 {
			t.Errorf("%q: %q, %v; %d are kept", answer, text, err, kept(c))
		}
	}
}

func TestFewConnectionsAreKept(t *testing.T) {
	addr, _ := openServer(t, answerA, "", false)
	c := newClient(t, addr)
	var bodies []io.ReadCloser
	for range 7 {
		resp, err := c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/"})
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, resp.Body)
	}
	for _, b := range bodies {
		if _, err := io.Copy(io.Discard, b); err != nil {
			t.Fatal(err)
		}
		_ = b.Close()
	}
	if n := kept(c); n != c.opts.MaxIdle {
		t.Errorf("%d connections are kept, and %d may be", n, c.opts.MaxIdle)
	}
}
