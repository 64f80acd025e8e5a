package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge"
)

// half sends the header of a request and what there is of its body, and returns
// the connection with the answer, whose body has been read.
func (g *gate) half(head, body string) (net.Conn, *http.Response) {
	g.t.Helper()
	u, err := url.Parse(g.url)
	if err != nil {
		g.t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(g.t.Context(), "tcp", u.Host)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, head+"\r\nHost: "+u.Host+"\r\n\r\n"+body); err != nil {
		g.t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second)) // far less than body_timeout
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		g.t.Fatalf("%s: no answer: %v", head, err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		g.t.Fatalf("%s: %v", head, err)
	}
	_ = resp.Body.Close()
	return conn, resp
}

// The rest of a body that nobody asked for is not waited for: neither before the
// answer, nor, for long, after it.
func TestHalfSentRequestsAreAnsweredAndClosed(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.HTTP.CORS.Origins = []string{"*"} })
	auth := "Authorization: Bearer " + g.key
	for name, c := range map[string]struct {
		head   string
		status int
	}{
		"no such path":    {"POST /nowhere HTTP/1.1\r\nContent-Length: 1000", 404},
		"no key":          {"POST " + chatPath + " HTTP/1.1\r\nContent-Length: 1000", 401},
		"chunks":          {"POST " + chatPath + " HTTP/1.1\r\nTransfer-Encoding: chunked", 401},
		"a wrong method":  {"PUT /v1/models HTTP/1.1\r\nContent-Length: 1000", 405},
		"options":         {"OPTIONS /v1/models HTTP/1.1\r\nContent-Length: 1000", 204},
		"a preflight":     {"OPTIONS /v1/models HTTP/1.1\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: GET\r\nContent-Length: 9", 204},
		"a read":          {"GET /v1/models HTTP/1.1\r\n" + auth + "\r\nContent-Length: 1000", 200},
		"not JSON":        {"POST " + chatPath + " HTTP/1.1\r\n" + auth + "\r\nContent-Type: text/plain\r\nContent-Length: 1000", 415},
		"told to wait":    {"POST " + chatPath + " HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000", 401},
		"far too large":   {"POST " + chatPath + " HTTP/1.1\r\n" + auth + "\r\nContent-Length: 100000000", 413},
		"a large unasked": {"POST /nowhere HTTP/1.1\r\nContent-Length: 100000000", 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, resp := g.half(c.head, "")
			if resp.StatusCode != c.status || !resp.Close {
				t.Fatalf("answered %d, closing: %v; want %d and Connection: close", resp.StatusCode, resp.Close, c.status)
			}
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || strings.Contains(err.Error(), "timeout") {
				t.Errorf("the connection was not closed: %d bytes, %v", n, err)
			}
		})
	}
}

// A caller that is let in has body_timeout, and no longer.
func TestABodyThatDoesNotComeIsGivenUp(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.HTTP.BodyTimeout = 100 * time.Millisecond })
	_, resp := g.half("POST "+chatPath+" HTTP/1.1\r\nContent-Length: 1000\r\nAuthorization: Bearer "+g.key, `{"model":`)
	if resp.StatusCode != http.StatusRequestTimeout || !resp.Close {
		t.Errorf("answered %d, closing: %v", resp.StatusCode, resp.Close)
	}
}

// One who has sent all of it keeps the connection, read or not.
func TestARefusedBodyThatHasArrivedKeepsTheConnection(t *testing.T) {
	g := open(t, nil)
	conn, resp := g.half(fmt.Sprintf("POST %s HTTP/1.1\r\nContent-Length: %d", chatPath, len(hi)), hi)
	if resp.StatusCode != http.StatusUnauthorized || resp.Close {
		t.Fatalf("answered %d, closing: %v", resp.StatusCode, resp.Close)
	}
	if _, err := io.WriteString(conn, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	again, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || again.StatusCode != http.StatusNotFound {
		t.Fatalf("a second request on the connection: %v, %v", again, err)
	}
	_ = again.Body.Close()
}

func TestHalfSentRequestsDoNotHoldUpTheEnd(t *testing.T) {
	g := build(t, nil)
	g.run()
	server := httptest.NewServer(g.Handler())
	defer server.Close()
	g.url = server.URL
	for range 20 {
		g.half("POST "+chatPath+" HTTP/1.1\r\nContent-Length: 1000", "")
	}
	began := time.Now()
	if err := server.Config.Shutdown(t.Context()); err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("the end took %v, %v", time.Since(began), err)
	}
}
