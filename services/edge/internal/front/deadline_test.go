package front

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// A client that reads nothing is waited for until the time that was said before, or is said
// while it is waited for; and one whose time is over gets nothing, whether there is room or
// not. The next answer is not bounded by that.
func TestWritesAreBounded(t *testing.T) {
	some := strings.Repeat("x", 1<<10)
	fill := func(w http.ResponseWriter) error {
		for {
			if _, err := io.WriteString(w, some); err != nil {
				return err
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return err
			}
		}
	}
	for name, answer := range map[string]func(w http.ResponseWriter, rc *http.ResponseController) error{
		"before": func(w http.ResponseWriter, rc *http.ResponseController) error {
			_ = rc.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			return fill(w)
		},
		"meanwhile": func(w http.ResponseWriter, rc *http.ResponseController) error {
			time.AfterFunc(50*time.Millisecond, func() { _ = rc.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)) })
			return fill(w)
		},
		"over": func(w http.ResponseWriter, rc *http.ResponseController) error {
			_ = rc.SetWriteDeadline(time.Now())
			_, _ = io.WriteString(w, some)
			return rc.Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			errs := make(chan error, 1)
			p := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				errs <- answer(w, http.NewResponseController(w))
			}), nil)
			_, _ = io.WriteString(dial(t, p.addr), get)
			if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
		})
	}
}

// What one answer was bounded by is not the next one's bound.
func TestTheNextAnswerIsNotBounded(t *testing.T) {
	answers := 0
	p := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c := w.(*response).conn //nolint:errcheck // it is
		c.mu.Lock()
		_ = c.writeBy(time.Now().Add(-time.Second)) // as when the last of an answer was waited for
		c.mu.Unlock()
		if answers++; answers == 2 { // a deadline of its own is no better
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute))
		}
		_, _ = io.WriteString(w, "answer")
	}), nil)
	c := dial(t, p.addr)
	for range 2 {
		_, _ = io.WriteString(c, get)
		buf := make([]byte, 4<<10)
		n, err := c.Read(buf)
		if err != nil || !strings.HasSuffix(string(buf[:n]), "answer") {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
}
