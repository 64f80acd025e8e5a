package front

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/internal/doorway"
)

// waiting is a handler that reads the body when asked to and waits for the end of its
// request.
type waiting struct {
	begun, ended, read chan struct{}
}

func newWaiting() *waiting {
	return &waiting{begun: make(chan struct{}), ended: make(chan struct{}), read: make(chan struct{})}
}

// ServeHTTP waits.
func (h *waiting) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	close(h.begun)
	if r.ContentLength > 0 {
		<-h.read
		_, _ = io.Copy(io.Discard, r.Body)
	}
	<-r.Context().Done()
	close(h.ended)
}

// A client that leaves, or closes its side alone, ends its request.
func TestClientLeaves(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"closes":       func(c *net.TCPConn) { _ = c.Close() },
		"resets":       func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
		"closes half":  func(c *net.TCPConn) { _ = c.CloseWrite() },
		"with another": func(c *net.TCPConn) { _, _ = io.WriteString(c, get); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			h := newWaiting()
			c := dial(t, start(t, h, nil).addr)
			_, _ = io.WriteString(c, get)
			wait(t, h.begun, "the request")
			leave(c)
			wait(t, h.ended, "its end")
		})
	}
}

// While its body is not read, a client that has left has sent all the same: who reads
// it decides.
func TestClientLeavesBeforeItsBodyIsRead(t *testing.T) {
	h := newWaiting()
	c := dial(t, start(t, h, nil).addr)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
	wait(t, h.begun, "the request")
	_ = c.CloseWrite()
	select {
	case <-h.ended:
		t.Error("it ended before its body was read")
	case <-time.After(200 * time.Millisecond):
	}
	close(h.read)
	wait(t, h.ended, "its end")
}

// A descriptor that is used again is another connection's.
func TestClientsThatLeaveEndNoOther(t *testing.T) {
	h := newWaiting()
	p := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			h.ServeHTTP(w, r)
		}
	}), nil)
	c := dial(t, p.addr)
	_, _ = io.WriteString(c, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
	wait(t, h.begun, "the request")
	for range 50 {
		other := dial(t, p.addr)
		if resp, _ := send(t, other, bufio.NewReader(other), get); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.StatusCode)
		}
		_ = other.Close()
	}
	select {
	case <-h.ended:
		t.Error("another's end ended it")
	case <-time.After(100 * time.Millisecond):
	}
	_ = c.Close()
	wait(t, h.ended, "its end")
}

// Shutdown closes what is idle, lets a request end, and says that the connection ends.
func TestShutdown(t *testing.T) {
	begun, leave := make(chan struct{}), make(chan struct{})
	p := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			close(begun)
			<-leave
			if r.Context().Err() != nil {
				t.Error("the request ended")
			}
		}
		_, _ = io.WriteString(w, "done")
	}), nil)
	idle, busy := dial(t, p.addr), dial(t, p.addr)
	in := bufio.NewReader(idle)
	if resp, _ := send(t, idle, in, get); resp.Close {
		t.Error("the connection ends")
	}
	_, _ = io.WriteString(busy, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
	wait(t, begun, "the request")
	over := make(chan error, 1)
	go func() { over <- p.Shutdown(t.Context()) }()
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("idle: %v", err)
	}
	select {
	case err := <-over:
		t.Errorf("shut down before the answer: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	resp, err := http.ReadResponse(bufio.NewReader(busy), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); string(text) != "done" || err != nil || !resp.Close {
		t.Errorf("%q %v, closed: %v", text, err, resp.Close)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
	if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.addr); err == nil {
		_ = c.Close()
		t.Error("the port is open")
	}
}

// A request that does not end has Shutdown end with its context, and Close end it.
func TestShutdownIsCut(t *testing.T) {
	h := newWaiting()
	p := start(t, h, nil)
	c := dial(t, p.addr)
	_, _ = io.WriteString(c, get)
	wait(t, h.begun, "the request")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	_ = p.Close()
	wait(t, h.ended, "its end")
}

// Heads have their time, however they trickle in, and connections without requests
// have theirs.
func TestSlowClientsAreClosed(t *testing.T) {
	p := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), func(s *http.Server) {
		s.ReadHeaderTimeout, s.IdleTimeout = 200*time.Millisecond, 300*time.Millisecond
	})
	for name, first := range map[string]string{"a new one": "", "a kept one": get} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, p.addr)
			in := bufio.NewReader(c)
			if first != "" {
				send(t, c, in, first)
			}
			began := time.Now()
			go func() {
				for range 100 {
					if _, err := io.WriteString(c, "G"); err != nil {
						return
					}
					<-time.After(20 * time.Millisecond)
				}
			}()
			_, err := in.ReadByte()
			if took := time.Since(began); err == nil || took > 1500*time.Millisecond || took < 150*time.Millisecond {
				t.Errorf("%v after %v", err, took)
			}
		})
	}
	c := dial(t, p.addr)
	in := bufio.NewReader(c)
	send(t, c, in, get)
	began := time.Now()
	_, err := in.ReadByte()
	if took := time.Since(began); !errors.Is(err, io.EOF) || took > 2*time.Second || took < 250*time.Millisecond {
		t.Errorf("idle: %v after %v", err, took)
	}
}

// The time for a head is not the time for a body.
func TestBodiesHaveTheirOwnTime(t *testing.T) {
	p := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprint(w, string(body), err)
	}), func(s *http.Server) { s.ReadHeaderTimeout, s.IdleTimeout = 200*time.Millisecond, 200*time.Millisecond })
	c := dial(t, p.addr)
	in := bufio.NewReader(c)
	for range 2 {
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
		<-time.After(400 * time.Millisecond)
		if _, text := send(t, c, in, "cd"); text != "abcd<nil>" {
			t.Errorf("%q", text)
		}
	}
}

// Of a large body that nobody reads the answer arrives all the same, and then the
// connection ends.
func TestUnreadBodies(t *testing.T) {
	p := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.ContentLength)
	}), nil)
	for _, size := range []int{maxUnread, maxUnread + 1} {
		c := dial(t, p.addr)
		in := bufio.NewReader(c)
		resp, text := send(t, c, in, fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)+strings.Repeat("x", size))
		if kept := size == maxUnread; text != fmt.Sprint(size) || resp.Close == kept {
			t.Errorf("%d: %q, closed: %v", size, text, resp.Close)
		} else if kept {
			send(t, c, in, get)
		} else if _, err := in.ReadByte(); err == nil {
			t.Error("something follows")
		}
	}
}

// A client that still sends what nobody reads hears the whole answer, and then the end: a
// connection that is closed with unread bytes is reset.
func TestAnswersOutliveBodiesThatNobodyReads(t *testing.T) {
	sent := make(chan struct{})
	p := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-sent
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	}), nil)
	c := dial(t, p.addr)
	_, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", 100*maxUnread, strings.Repeat("x", 64<<10))
	if err != nil {
		t.Fatal(err)
	}
	close(sent)
	if said, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(said), "too large\n") {
		t.Errorf("%q, and then %v", said, err)
	}
}

// A handler bounds the reading of a body and the writing of an answer.
func TestDeadlines(t *testing.T) {
	errs := make(chan error, 2)
	p := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := io.ReadAll(r.Body)
		errs <- err
		_ = rc.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		for err = nil; err == nil; {
			_, err = io.WriteString(w, strings.Repeat("x", 64<<10))
		}
		errs <- err
	}), nil)
	c := dial(t, p.addr)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\nab")
	for range 2 {
		if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	}
}

// What is open counts, wherever it is served, until it is closed.
func TestConnectionsAreBounded(t *testing.T) {
	lis, server := listen(t), newHTTP(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), io.Discard)
	s := New(server, 1)
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(func() { _ = s.Close() })
	for _, request := range []string{get, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"} {
		first, second := dial(t, lis.Addr().String()), dial(t, lis.Addr().String())
		send(t, first, bufio.NewReader(first), request)
		_, _ = io.WriteString(second, get)
		_ = second.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		in := bufio.NewReader(second)
		if _, err := in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a second connection is served: %v", err)
		}
		_ = first.Close()
		_ = second.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := in.Peek(1); err != nil {
			t.Errorf("it is not served after the first: %v", err)
		}
		_ = second.Close()
	}
}

// judge bans when it is told to.
type judge struct{ expel func(netip.Prefix) }

func (*judge) Trusts(netip.Addr) bool           { return false }
func (*judge) Banned(netip.Addr) bool           { return false }
func (j *judge) OnBan(expel func(netip.Prefix)) { j.expel = expel }

// A connection that is closed from outside ends its request.
func TestBannedClientsRequestsEnd(t *testing.T) {
	h, j := newWaiting(), new(judge)
	lis := listen(t)
	s := New(newHTTP(h, io.Discard), 10)
	go func() { _ = s.Serve(doorway.Wrap(lis, doorway.Config{}, j)) }()
	t.Cleanup(func() { _ = s.Close() })
	c := dial(t, lis.Addr().String())
	_, _ = io.WriteString(c, get)
	wait(t, h.begun, "the request")
	j.expel(netip.MustParsePrefix("127.0.0.0/8"))
	wait(t, h.ended, "its end")
}
