package httpwire_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/services/worker/internal/httpwire"
)

func client(t *testing.T, addr string, change func(*httpwire.Options)) *httpwire.Client {
	t.Helper()
	o := httpwire.Options{
		Addr: addr, Host: addr, Header: http.Header{"X-Key": {"k"}}, DialTimeout: time.Second,
		Idle: time.Minute, MaxIdle: 4, ReadBuffer: 4 << 10,
	}
	if change != nil {
		change(&o)
	}
	c, err := httpwire.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve counts the connections that are opened.
func serve(t *testing.T, h http.HandlerFunc) (addr string, opened *atomic.Int64) {
	t.Helper()
	opened = new(atomic.Int64)
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), opened
}

func post(ctx context.Context, c *httpwire.Client, body string) (string, error) {
	resp, err := c.Do(ctx, httpwire.Request{Method: http.MethodPost, Path: "/v1/x?a=b", ID: "req-1", Body: []byte(body)})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(out)), err
}

func TestAnswersOfEveryFormAreReadAndConnectionsKept(t *testing.T) {
	addr, opened := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.String() != "/v1/x?a=b" || r.Header.Get("X-Key") != "k" || r.Header.Get("X-Request-Id") != "req-1" || r.Host == "" {
			w.WriteHeader(http.StatusTeapot)
		}
		switch string(body) {
		case "hint":
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = w.Write([]byte("ok"))
		case "empty":
			w.WriteHeader(http.StatusNoContent)
		case "zero":
			w.Header().Set("Content-Length", "0")
		case "chunks":
			for i := range 100 {
				fmt.Fprint(w, i, strings.Repeat("-", i*7%501))
				_ = http.NewResponseController(w).Flush()
			}
		case "trailer":
			w.Header().Set("Trailer", "X-Tail")
			fmt.Fprint(w, "ok")
			_ = http.NewResponseController(w).Flush()
			w.Header().Set("X-Tail", "1")
		default:
			_, _ = w.Write(body)
		}
	})
	c := client(t, addr, nil)
	var chunks strings.Builder
	for i := range 100 {
		fmt.Fprint(&chunks, i, strings.Repeat("-", i*7%501))
	}
	large := strings.Repeat("x", httpwire.MaxBody)
	for _, tt := range [][2]string{
		{"hint", "200 ok"},
		{"empty", "204 "},
		{"zero", "200 "},
		{"chunks", "200 " + chunks.String()},
		{"trailer", "200 ok"},
		{"", "200 "},
		{large, "200 " + large},
	} {
		if got, err := post(t.Context(), c, tt[0]); err != nil || got != tt[1] {
			t.Errorf("%.10q: %.50q, %v", tt[0], got, err)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if _, err := post(t.Context(), c, large+"x"); err == nil {
		t.Error("a body without bound")
	}
}

func TestManyCallersHaveConnectionsOfTheirOwn(t *testing.T) {
	addr, opened := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	c := client(t, addr, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				want := fmt.Sprint(i, ".", j)
				if got, err := post(t.Context(), c, want); err != nil || got != "200 "+want {
					t.Errorf("%s: %q, %v", want, got, err)
				}
			}
		})
	}
	wg.Wait()
	if n := opened.Load(); n > 400 {
		t.Errorf("%d connections", n)
	}
}

func TestWholeAnswersAreReadWhereTheyAreOrdinary(t *testing.T) {
	gone := make(chan struct{})
	addr, opened := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch string(body) {
		case "chunks":
			_ = http.NewResponseController(w).Flush()
		case "teapot":
			w.WriteHeader(http.StatusTeapot)
		case "wait":
			w.Header().Set("Content-Length", "1000")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(gone)
			return
		}
		_, _ = w.Write(body)
	})
	c := client(t, addr, nil)
	ask := func(ctx context.Context, body string) (*http.Response, []byte, error) {
		return c.Whole(ctx, httpwire.Request{Method: http.MethodPost, Path: "/", Body: []byte(body)}, 8)
	}
	for body, whole := range map[string]bool{"": true, "abc": true, "12345678": true, "123456789": false, "chunks": false, "teapot": false} {
		for range 2 {
			resp, got, err := ask(t.Context(), body)
			if err == nil && got == nil {
				got, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			if err != nil || string(got) != body || (resp == nil) != whole {
				t.Errorf("%q: %v, %q, %v", body, resp, got, err)
			}
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
	if _, _, err := c.Whole(ctx, httpwire.Request{Method: http.MethodPost, Path: "/", Body: []byte("wait")}, 1<<20); !errors.Is(err, why) {
		t.Errorf("a caller who left: %v", err)
	}
	<-gone
	short := client(t, raw(t, []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na"}), nil)
	if _, got, err := short.Whole(t.Context(), httpwire.Request{Method: http.MethodPost, Path: "/"}, 8); err == nil {
		t.Errorf("a body that is too short: %q", got)
	}
}

// A server ends connections that nothing is asked on: at any time.
func TestAKeptConnectionThatEndedIsNotMissed(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	t.Cleanup(s.Close)
	c := client(t, s.Listener.Addr().String(), nil)
	for range 20 {
		if got, err := post(t.Context(), c, "a"); err != nil || got != "200 a" {
			t.Fatalf("%q, %v", got, err)
		}
		s.CloseClientConnections()
	}
}

// raw answers each connection's requests with texts, and ends it after them.
func raw(t *testing.T, connections ...[]string) string {
	t.Helper()
	var lc net.ListenConfig
	lis, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for _, answers := range connections {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(conn)
			for _, text := range answers {
				req, err := http.ReadRequest(r)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, req.Body)
				_, _ = io.WriteString(conn, text)
			}
			_ = conn.Close()
		}
		_ = lis.Close()
	}()
	return lis.Addr().String()
}

const whole = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"

func TestWhatIsWrongWithAnAnswerIsAnError(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":         "",
		"no HTTP":         "hello\r\n\r\n",
		"a long head":     "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n",
		"a short body":    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na",
		"a broken chunk":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\na\r\n",
		"no last chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
		"two lengths":     "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"no final answer": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 9) + whole,
	} {
		if got, err := post(t.Context(), client(t, raw(t, []string{text}), nil), "x"); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	// An end of the connection ends an answer that has no length (HTTP/1.0).
	got, err := post(t.Context(), client(t, raw(t, []string{"HTTP/1.0 200 OK\r\n\r\nabc"}), nil), "x")
	if err != nil || got != "200 abc" {
		t.Errorf("%q, %v", got, err)
	}
}
