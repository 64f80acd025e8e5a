package engine

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// switching is an engine that answers whatever it is asked with another protocol, and
// leaves the connection open.
func switching(t *testing.T) (url string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = conn.Read(make([]byte, 4<<10))
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n{")
				_, _ = io.Copy(io.Discard, conn) // until the worker lets go of it
				_ = conn.Close()
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestAnotherProtocolIsNoAnswer(t *testing.T) {
	for name, proxied := range map[string]bool{"the short way": false, "net/http": true} {
		t.Run(name, func(t *testing.T) {
			base := switching(t)
			c := newClient(dialect{base: base, health: base + "/models", model: "m", proxied: proxied})
			t.Cleanup(c.Close)
			ended := make(chan error, 3)
			go func() {
				body := []byte(`{"messages":[]}`)
				_, err := c.Invoke(t.Context(), Chat, body)
				ended <- err
				_, err = c.Stream(t.Context(), Chat, body, &discardSink{})
				ended <- err
				ended <- c.Health(t.Context())
			}()
			for _, what := range []string{"invoke", "stream", "health"} {
				select {
				case err := <-ended:
					if apierr.ReasonOf(err) != apierr.Unavailable {
						t.Errorf("%s: %v", what, err)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("%s: it waits for ever", what)
				}
			}
		})
	}
}

type discardSink struct{}

func (*discardSink) Accepted() error    { return nil }
func (*discardSink) Progress(*Progress) {}
func (*discardSink) Chunk([]byte) error { return nil }
func (*discardSink) Idle() error        { return nil }

// An error whose words never end is one all the same.
func TestErrorThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		words, engine := io.Pipe()
		go func() { _, _ = io.Copy(engine, strings.NewReader(`{"error":`)) }()
		begun := time.Now()
		_, err := answered(t.Context(), &http.Response{StatusCode: http.StatusBadGateway, Body: words}, nil)
		if apierr.ReasonOf(err) != apierr.Unavailable || time.Since(begun) != errorTime {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		_ = engine.CloseWithError(errors.New("the call is over"))
	})
}
