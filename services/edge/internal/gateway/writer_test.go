package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// slowClient is an answer whose client takes a while for each write of it.
type slowClient struct {
	*httptest.ResponseRecorder
	takes time.Duration
	until time.Time // the deadline
}

func (c *slowClient) Write(p []byte) (int, error) {
	<-time.After(c.takes)
	return c.ResponseRecorder.Write(p)
}

func (c *slowClient) SetWriteDeadline(t time.Time) error {
	c.until = t
	return nil
}

// What leaves when the handler has returned is bounded too: a client that stops reading
// just before the end holds nothing up.
func TestTheEndOfAnAnswerIsBounded(t *testing.T) {
	const grace = 10 * time.Second
	for takes, want := range map[time.Duration]time.Duration{0: grace, 4 * time.Second: 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := &handler{Deps: Deps{Clock: clock.Real()}}
			h.cfg.MinAnswerRate, h.cfg.WriteTimeout = 1<<10, grace
			c := &slowClient{ResponseRecorder: httptest.NewRecorder(), takes: takes}
			h.withLimits(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for range 2 {
					if _, err := w.Write([]byte("a")); err != nil {
						t.Error(err)
					}
				}
			})).ServeHTTP(c, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
			if left := time.Until(c.until).Round(time.Second); left != want {
				t.Errorf("writes that take %v: %v are left for what follows, want %v", takes, left, want)
			}
		})
	}
}
