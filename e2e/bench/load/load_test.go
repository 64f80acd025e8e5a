package load_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/poterne/poterne/e2e/bench/load"
)

func serve(t *testing.T, h http.HandlerFunc) load.Request {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return load.Request{Addr: s.Listener.Addr().String(), Path: "/chat", Header: [][2]string{{"X-Key", "k"}}, Body: `{"a":1}`}
}

func TestEveryRequestIsTheSameAndAnswered(t *testing.T) {
	var seen atomic.Int64
	r := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/chat" && r.Header.Get("X-Key") == "k" && string(body) == `{"a":1}` {
			seen.Add(1)
		}
		fmt.Fprint(w, "answer")
	})
	got, err := load.Run(t.Context(), r, load.Options{Connections: 3, Requests: 10})
	if err != nil || len(got.Samples) != 10 || seen.Load() != 10 {
		t.Fatalf("%d samples of %d requests, %v", len(got.Samples), seen.Load(), err)
	}
	if got.Rate() <= 0 || got.Quantile(0.5, load.Whole) <= 0 || got.Quantile(1, load.First) > got.Quantile(1, load.Whole) {
		t.Errorf("%v a second, %v", got.Rate(), got.Samples)
	}
}

func TestEventsAreCounted(t *testing.T) {
	const events = 40
	r := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range events {
			fmt.Fprintf(w, "data: %s\n\n", strings.Repeat("x", i*13%97))
			if i%3 == 0 {
				_ = http.NewResponseController(w).Flush()
			}
		}
	})
	got, err := load.Run(t.Context(), r, load.Options{Connections: 2, Requests: 4, Stamp: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range got.Samples {
		if s.Events != events || len(s.Times) != events {
			t.Errorf("%d events, %d times", s.Events, len(s.Times))
		}
	}
}

func TestAnErrorIsNoAnswer(t *testing.T) {
	r := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTooManyRequests) })
	if _, err := load.Run(t.Context(), r, load.Options{Connections: 1, Requests: 1}); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("429 is %v", err)
	}
}
