package webhook

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/poterne/poterne/pkg/clock"
)

// What a receiver answers is never more than a text that can be kept: a database
// that refuses it would have the message sent for ever, and end what delivers the
// others.
func TestHostileAnswers(t *testing.T) {
	for name, raw := range map[string]string{
		"a header of bytes":   "HTTP/1.1 200 OK\r\n\xff\xfe\x00\x1b[31m\r\n\r\n",
		"a status of bytes":   "HTTP/1.1 \xff\x00\x01\r\n\r\n",
		"a long first line":   strings.Repeat("é", 5000) + "\r\n\r\n",
		"no HTTP":             "SSH-2.0-\x00\xff\r\n",
		"headers for ever":    "HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", 50_000),
		"nothing":             "",
		"a redirect":          "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
		"a length below zero": "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer lis.Close()
			go func() {
				for {
					conn, err := lis.Accept()
					if err != nil {
						return
					}
					if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
						_, _ = io.WriteString(conn, raw)
					}
					_ = conn.Close()
				}
			}()
			s := newSender(clock.Real(), 10*time.Second, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "test")
			m := message("a", 1)
			m.URL = "http://" + lis.Addr().String() + "/hook?token=hunter2"
			got := s.send(t.Context(), m)
			switch {
			case got.problem == "":
				t.Error("it counts as delivered")
			case len(got.problem) > 1024 || !utf8.ValidString(got.problem) || strings.ContainsFunc(got.problem, unicode.IsControl):
				t.Errorf("the problem is %q", got.problem)
			case strings.Contains(got.problem, "hunter2"):
				t.Errorf("the problem tells a secret: %q", got.problem)
			}
		})
	}
}
