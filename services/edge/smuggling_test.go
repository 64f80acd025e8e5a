package edge_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What two servers in a row could take for different requests is refused, and
// nothing behind it is read as another request.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	g := open(t, nil)
	const next = "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
	auth := "Host: x\r\nAuthorization: Bearer " + g.key + "\r\nContent-Type: application/json\r\n"
	for name, request := range map[string]string{
		"two lengths":            "POST /v1/chat/completions HTTP/1.1\r\n" + auth + "Content-Length: 3\r\nContent-Length: 5\r\n\r\n{}" + next,
		"length with a sign":     "POST /v1/chat/completions HTTP/1.1\r\n" + auth + "Content-Length: +2\r\n\r\n{}" + next,
		"an unknown coding":      "POST /v1/chat/completions HTTP/1.1\r\n" + auth + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + next,
		"two codings":            "POST /v1/chat/completions HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + next,
		"a space before colon":   "POST /v1/chat/completions HTTP/1.1\r\n" + auth + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + next,
		"a chunk without size":   "POST /v1/chat/completions HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n" + next,
		"a chunk with a sign":    "POST /v1/chat/completions HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n" + next,
		"a NUL in a header":      "GET /v1/models HTTP/1.1\r\n" + auth + "X-A: a\x00b\r\n\r\n" + next,
		"a header without name":  "GET /v1/models HTTP/1.1\r\n" + auth + ": x\r\n\r\n" + next,
		"two hosts":              "GET /v1/models HTTP/1.1\r\n" + auth + "Host: y\r\n\r\n" + next,
		"a space in the target":  "GET /v1/models x HTTP/1.1\r\n" + auth + "\r\n" + next,
		"a header that is large": "GET /v1/models HTTP/1.1\r\n" + auth + "X-A: " + strings.Repeat("x", 2<<20) + "\r\n\r\n" + next,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(c, request)
			in := bufio.NewReader(c)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				return // the connection was closed without a word
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode < 400 || resp.StatusCode >= 600 {
				t.Errorf("answered %d", resp.StatusCode)
			}
			if second, err := http.ReadResponse(in, nil); err == nil {
				_ = second.Body.Close()
				t.Errorf("what followed was answered %d", second.StatusCode)
			}
		})
	}
}

// A length beside a coding: the coding holds (RFC 9112, section 6.3), and the
// connection ends with the answer.
func TestLengthBesideCoding(t *testing.T) {
	g := open(t, nil)
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+g.key+
		"\r\nContent-Length: 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%d", resp.StatusCode)
	}
}
