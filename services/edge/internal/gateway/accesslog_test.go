package gateway

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestAccessLog(t *testing.T) {
	var out bytes.Buffer
	l := &accessLog{log: slog.New(slog.NewTextHandler(&out, nil))}
	now := time.Unix(1000, 0)
	r := httptest.NewRequest(http.MethodGet, "/v1/"+strings.Repeat("x", 500), nil)
	var f failure
	lines := func(status, n int) int {
		out.Reset()
		for range n {
			l.request(t.Context(), r, unknownRoute, status, f, now, time.Millisecond)
		}
		return strings.Count(out.String(), "\n")
	}
	if n := lines(200, 3); n != 0 {
		t.Errorf("%d lines of requests that went well", n)
	}
	if n := lines(400, 100); n != 100 || !strings.Contains(out.String(), "level=INFO") || len(out.String()) > 100*400 {
		t.Errorf("%d lines of 400: %.400s", n, out.String())
	}
	if n := lines(503, 1); n != 1 || !strings.Contains(out.String(), "level=WARN") || !strings.Contains(out.String(), "status=503") {
		t.Errorf("%d lines of 503: %s", n, out.String())
	}
	if n := lines(501, 1); n != 1 || !strings.Contains(out.String(), "level=INFO") {
		t.Errorf("%d lines of 501, where nothing failed: %s", n, out.String())
	}
	f.refused = true
	if n := lines(504, 1); n != 1 || !strings.Contains(out.String(), "level=INFO") {
		t.Errorf("%d lines of 504, which was the caller's wish: %s", n, out.String())
	}
	f = failure{call: true, told: true}
	if n := lines(502, 1); n != 1 || !strings.Contains(out.String(), "level=INFO") {
		t.Errorf("%d lines of 502, of which another service has warned: %s", n, out.String())
	}
	f.told = false
	if n := lines(404, 1); n != 0 {
		t.Errorf("%d lines of a look at what is not there: %s", n, out.String())
	}
	f = failure{}
	if n := lines(404, 100) + lines(401, 100); n != maxStrangersLines {
		t.Errorf("%d lines that strangers caused", n)
	}
	now = now.Add(time.Minute)
	if n := lines(405, 100); n != maxStrangersLines {
		t.Errorf("%d lines in the next minute", n)
	}
}
