package front

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// certificates returns what a server shows, and what a client believes.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS13},
		&tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS13}
}

// startTLS starts a front that speaks TLS.
func startTLS(t *testing.T, h http.Handler) (*port, *tls.Config) {
	t.Helper()
	server, client := certificates(t)
	return start(t, h, func(s *http.Server) {
		s.TLSConfig = server
		s.Protocols.SetHTTP2(true)
		s.Protocols.SetUnencryptedHTTP2(false)
		s.ReadHeaderTimeout = 500 * time.Millisecond
	}), client
}

// Over TLS, HTTP/1.1 is served here and HTTP/2 by net/http, and both know it is TLS.
func TestTLS(t *testing.T) {
	p, client := startTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprint(w, r.Proto, " ", ours(w), " ", r.TLS != nil && r.TLS.HandshakeComplete, " ", len(body))
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, strings.Repeat("x", 100000))
	}))
	for version, want := range map[string]string{"HTTP/1.1": "HTTP/1.1 true true 20000", "HTTP/2.0": "HTTP/2.0 false true 20000"} {
		tr := &http.Transport{TLSClientConfig: client.Clone(), Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(version == "HTTP/1.1")
		tr.Protocols.SetHTTP2(version == "HTTP/2.0")
		t.Cleanup(tr.CloseIdleConnections)
		for range 3 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+p.addr+"/", strings.NewReader(strings.Repeat("y", 20000)))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || string(text) != want+strings.Repeat("x", 100000) {
				t.Errorf("%s: %.40q %v", version, text, err)
			}
		}
	}
}

// An odd request over TLS is net/http's, which knows that it is TLS.
func TestOddRequestsOverTLS(t *testing.T) {
	p, client := startTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprint(w, ours(w), r.TLS != nil, string(body))
	}))
	c := tls.Client(dial(t, p.addr), client)
	in := bufio.NewReader(c)
	for i, step := range []struct{ request, answer string }{
		{get + get, "true true"},
		{"", "true true"},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "false trueab"},
		{get, "false true"},
	} {
		if _, text := send(t, c, in, step.request); text != step.answer {
			t.Errorf("%d: %q", i, text)
		}
	}
}

// A client that leaves without a word of TLS ends its request, as in the clear; one
// that speaks in the clear is told; one that says nothing is closed.
func TestClientsOfTLS(t *testing.T) {
	h := newWaiting()
	p, client := startTLS(t, h)
	inner := dial(t, p.addr)
	_, _ = io.WriteString(tls.Client(inner, client), get)
	wait(t, h.begun, "the request")
	_ = inner.Close()
	wait(t, h.ended, "its end")

	naked := dial(t, p.addr)
	_, _ = io.WriteString(naked, get)
	if text, _ := io.ReadAll(naked); !strings.Contains(string(text), "400 Bad Request") {
		t.Errorf("in the clear: %q", text)
	}
	began := time.Now()
	if _, err := io.ReadAll(dial(t, p.addr)); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("silence: %v after %v", err, time.Since(began))
	}
}
