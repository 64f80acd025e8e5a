package edge_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

// The most that a chat may allocate on its way through the edge, its own request and
// answer in this test and the pretended backend included. Some 235 in an ordinary build; the race
// detector empties pools now and then. Whoever needs more says why.
const chatAllocs = 345

// What a request leaves for the collector is a good part of what it costs.
func TestAChatAllocatesLittle(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Security.Limits.RequestsPerMinute = 100_000 })
	ask := func(body string) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, chatPath, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+g.key)
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		g.Handler().ServeHTTP(rec, req)
		if rec.Code != http.StatusOK {
			t.Fatalf("%d: %s", rec.Code, rec.Body)
		}
	}
	unary := testing.AllocsPerRun(200, func() { ask(fmt.Sprintf(sayHi, "small", "")) })
	if t.Logf("a chat allocates %.0f times", unary); unary > chatAllocs {
		t.Errorf("a chat allocates %.0f times, want at most %d", unary, chatAllocs)
	}
}
