package plainhttp

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// switching answers every request with another protocol, and waits for the connection's
// end.
func switching(t *testing.T, ended chan<- struct{}) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
		close(ended)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestSwitchedProtocolIsNoAnswer(t *testing.T) {
	for name, next := range map[string]http.RoundTripper{"default": nil, "another": &http.Transport{}} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			s := switching(t, ended)
			c := &http.Client{Transport: Transport(next)}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			if !errors.Is(err, ErrSwitched) {
				t.Errorf("%v", err)
			}
			<-ended // the connection is let go of
		})
	}
}

func TestOtherAnswersPass(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	t.Cleanup(s.Close)
	own := &http.Transport{}
	c := &http.Client{Transport: Transport(own)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || string(text) != "here" {
		t.Errorf("%q, %v", text, err)
	}
	_ = resp.Body.Close()
	c.CloseIdleConnections()
	s.Close() // it would wait for a connection that is kept
}
