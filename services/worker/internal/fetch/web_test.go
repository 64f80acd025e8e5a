package fetch

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWeb(t *testing.T) {
	data, _ := payload(100_000)
	u := serve(t, file(data))
	checkGet(t, New(testConfig(u.String()), realClock()), u.String()+"/a/b%20c+d?x=1", data)
}

func TestWebValidators(t *testing.T) {
	data, _ := payload(1000)
	u := serve(t, file(data))
	f := New(testConfig(u.String()), realClock())
	r := Request{Ref: mustParse(t, u.String()+"/f"), Offset: 400, Validator: `"v1"`}
	if c, got, err := get(t.Context(), f, r); err != nil || c.Offset != 400 || c.Validator != `"v1"` || !bytes.Equal(got, data[400:]) {
		t.Errorf("the same content: %+v, %v", c, err)
	}
	r.Validator = `"v0"`
	if c, got, err := get(t.Context(), f, r); err != nil || c.Offset != 0 || !bytes.Equal(got, data) {
		t.Errorf("another content: %+v, %v", c, err)
	}
}

// Answers that are not what was asked for.
func TestWebThatLies(t *testing.T) {
	data, _ := payload(1000)
	part := func(contentRange string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[500:])
		}
	}
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
	tests := map[string]struct {
		handler http.HandlerFunc
		offset  int64
		kind    Kind
		text    string
	}{
		"another part":      {part("bytes 400-999/1000"), 500, Restart, "not the part"},
		"a part of nothing": {part("bytes 500-999/700"), 500, Restart, "not the part"},
		"no range":          {part(""), 500, Restart, "not the part"},
		"a negative range":  {part("bytes -500-999/1000"), 500, Restart, "not the part"},
		"a part unasked":    {part("bytes 0-499/1000"), 0, Permanent, "a part although"},
		"changed, but it is a part": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v2"`)
			part("bytes 500-999/1000")(w, r)
		}, 500, Restart, "has changed"},
		"no such range":         {status(http.StatusRequestedRangeNotSatisfiable), 500, Restart, "no byte 500"},
		"encoded":               {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "gzip") }, 0, Permanent, "encoded"},
		"not found":             {status(http.StatusNotFound), 0, Permanent, "404 Not Found"},
		"forbidden":             {status(http.StatusForbidden), 0, Permanent, "credentials"},
		"overloaded":            {status(http.StatusServiceUnavailable), 0, Temporary, "503"},
		"a redirect to nowhere": {status(http.StatusFound), 0, Permanent, "redirects to no place"},
		"a redirect to a file":  {status(http.StatusFound, "Location", "file:///etc/passwd"), 0, Permanent, "not a plain http"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			u := serve(t, tt.handler)
			f := New(testConfig(u.String()), realClock())
			_, _, err := get(t.Context(), f, Request{Ref: mustParse(t, u.String()+"/f?sig=s3cret"), Offset: tt.offset, Validator: `"v1"`})
			wantError(t, err, tt.kind, tt.text, "s3cret")
		})
	}
	u := serve(t, status(http.StatusTooManyRequests, "Retry-After", "7"))
	_, _, err := get(t.Context(), New(testConfig(u.String()), realClock()), Request{Ref: mustParse(t, u.String()+"/f")})
	if RetryAfter(err) != 7*time.Second {
		t.Errorf("to be left alone for %v", RetryAfter(err))
	}
}

func TestWebThatStallsOrIsCut(t *testing.T) {
	data, _ := payload(100_000)
	release := make(chan struct{})
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:50_000])
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/stall" {
			<-release
			return
		}
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
	})
	defer close(release)
	f := New(testConfig(u.String()), realClock())
	_, got, err := get(t.Context(), f, Request{Ref: mustParse(t, u.String()+"/stall?sig=s3cret")})
	wantError(t, err, Temporary, "nothing came for 150ms", "s3cret")
	if len(got) != 50_000 {
		t.Errorf("%d bytes came before", len(got))
	}
	_, _, err = get(t.Context(), f, Request{Ref: mustParse(t, u.String()+"/cut")})
	wantError(t, err, Temporary, "cut")
}

// Who reads slowly is not taken for a source that stalls.
func TestSlowReader(t *testing.T) {
	data, _ := payload(1 << 20)
	u := serve(t, file(data))
	c, err := New(testConfig(u.String()), realClock()).Open(t.Context(), Request{Ref: mustParse(t, u.String()+"/f")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Body.Close() }()
	buf := make([]byte, 1000)
	if _, err := io.ReadFull(c.Body, buf); err != nil {
		t.Fatal(err)
	}
	<-time.After(300 * time.Millisecond) // twice what a source has
	if rest, err := io.ReadAll(c.Body); err != nil || len(rest) != len(data)-1000 {
		t.Errorf("%d bytes, %v", len(rest), err)
	}
}

func TestWebThatIsAway(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	f := New(testConfig(server.URL), realClock())
	_, _, err := get(t.Context(), f, Request{Ref: mustParse(t, server.URL+"/f?token=s3cret")})
	wantError(t, err, Temporary, "does not answer", "s3cret")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := get(ctx, f, Request{Ref: mustParse(t, server.URL+"/f")}); err != context.Canceled { //nolint:errorlint // bare is meant
		t.Errorf("cancelled: %v", err)
	}
}

// seenHeaders notes the credentials that a server is shown.
type seenHeaders struct {
	mu   sync.Mutex
	auth []string
}

func (s *seenHeaders) note(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.auth = append(s.auth, r.Header.Get("Authorization"))
		s.mu.Unlock()
		next(w, r)
	}
}

func (s *seenHeaders) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.auth, "|")
}

// A redirect is followed only where the configuration allows it, and no
// credentials go with it.
func TestRedirects(t *testing.T) {
	data, _ := payload(10_000)
	var origin, store seenHeaders
	to := serve(t, store.note(file(data)))
	from := serve(t, origin.note(func(w http.ResponseWriter, r *http.Request) {
		target := to.String() + "/f?X-Amz-Signature=s3cret"
		switch r.URL.Path {
		case "/own":
			file(data)(w, r)
			return
		case "/within":
			target = "/own"
		case "/round":
			target = "/round"
		}
		http.Redirect(w, r, target, http.StatusFound)
	}))
	cfg := testConfig(from.String())
	cfg.HTTP = map[string]WebHost{from.Host: {Token: "t0ken"}}
	f := New(cfg, realClock())
	_, _, err := get(t.Context(), f, Request{Ref: mustParse(t, from.String()+"/out")})
	wantError(t, err, Permanent, "redirects to "+to.Host, "s3cret")
	if store.all() != "" {
		t.Fatalf("the other host was asked: %q", store.all())
	}
	_, _, err = get(t.Context(), f, Request{Ref: mustParse(t, from.String()+"/round")})
	wantError(t, err, Permanent, "more than 5 redirects")
	checkGet(t, f, from.String()+"/within", data)
	cfg.RedirectHosts = []string{to.Host}
	checkGet(t, New(cfg, realClock()), from.String()+"/out", data)
	if got := store.all(); strings.Trim(got, "|") != "" {
		t.Errorf("the other host was shown %q", got)
	}
	if got := strings.ReplaceAll(origin.all(), "Bearer t0ken", ""); strings.Trim(got, "|") != "" {
		t.Errorf("its own host was shown %q", origin.all())
	}
}

// Over TLS nothing goes back to plain http.
func TestNoDowngrade(t *testing.T) {
	plain := serve(t, file([]byte("x")))
	server := httptest.NewTLSServer(http.RedirectHandler(plain.String()+"/f", http.StatusFound))
	defer server.Close()
	cfg := testConfig(server.URL)
	cfg.RedirectHosts = []string{plain.Host}
	f := New(cfg, realClock())
	web, ok := f.byScheme[SchemeHTTPS].(*webFetcher)
	if !ok {
		t.Fatal("no fetcher for https")
	}
	web.client.http.Transport = server.Client().Transport
	_, _, err := get(t.Context(), f, Request{Ref: mustParse(t, server.URL+"/f")})
	wantError(t, err, Permanent, "from https to http")
}

func TestNothingIsAllowedByDefault(t *testing.T) {
	f := New(DefaultConfig(), realClock())
	if f.Any() {
		t.Error("something is allowed")
	}
	_, _, err := get(t.Context(), f, Request{Ref: mustParse(t, "https://example.test/f")})
	wantError(t, err, Permanent, "may not fetch from https://example.test/f")
}

func TestOddAddresses(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1": true, "10.1.2.3": true, "192.0.2.1": true, "::1": true, "fd00::1": true,
		"169.254.169.254": false, "fe80::1": false, "0.0.0.0": false, "::": false, "224.0.0.1": false,
	} {
		if err := judge(net.JoinHostPort(addr, "80"), true); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
