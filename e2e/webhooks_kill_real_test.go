//go:build real

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/mesh"
	"github.com/poterne/poterne/e2e/scenario"
	"github.com/poterne/poterne/pkg/standardwebhook"
)

// toldHook is what a webhook was told of one event: how often, and what.
type toldHook struct {
	times int
	body  string
}

// hookReceiver is somebody's server with several webhooks. While it is held, it takes
// what it is told, and answers nothing.
type hookReceiver struct {
	*httptest.Server

	t    *testing.T
	free chan struct{}

	mu      sync.Mutex
	secrets map[string][]byte              // by path
	told    map[string]map[string]toldHook // by path and event
	held    int
}

func receiveHooks(t *testing.T) *hookReceiver {
	t.Helper()
	r := &hookReceiver{t: t, free: make(chan struct{}), secrets: make(map[string][]byte), told: make(map[string]map[string]toldHook)}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *hookReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return // it was cut off before it was whole: told nothing
	}
	id, path := req.Header.Get(standardwebhook.HeaderID), req.URL.Path
	seconds, err := strconv.ParseInt(req.Header.Get(standardwebhook.HeaderTimestamp), 10, 64)
	r.mu.Lock()
	if want := standardwebhook.Sign(r.secrets[path], id, time.Unix(seconds, 0), raw); err != nil || req.Header.Get(standardwebhook.HeaderSignature) != want {
		r.t.Errorf("%s: signed %q, want %q", path, req.Header.Get(standardwebhook.HeaderSignature), want)
	}
	if r.told[path] == nil {
		r.told[path] = make(map[string]toldHook)
	}
	before := r.told[path][id]
	if before.times > 0 && before.body != string(raw) {
		r.t.Errorf("%s: %s is told as %s, and then as %s", path, id, before.body, raw)
	}
	r.told[path][id] = toldHook{before.times + 1, string(raw)}
	r.held++
	r.mu.Unlock()
	select {
	case <-r.free:
		w.WriteHeader(http.StatusNoContent)
	case <-req.Context().Done(): // its edge was killed, or tells it no longer
	}
}

func (r *hookReceiver) holds() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

// TestRealKilledEdgeTellsEverything kills an edge while webhooks of budgets are being
// told by it, and more is pending. Every webhook is told of every event in the end: what
// came twice has the same id and says the same.
func TestRealKilledEdgeTellsEverything(t *testing.T) {
	sum := sha256.Sum256([]byte("a master key of this test"))
	m, g := startMeshWith(t, mesh.EngineSim, []string{
		"POTERNE_WEBHOOKS_KEY=m1:" + base64.StdEncoding.EncodeToString(sum[:]), "POTERNE_WEBHOOKS_ALLOW_HTTP=true",
		"POTERNE_WEBHOOKS_ALLOW_NETWORKS=127.0.0.0/8", "POTERNE_WEBHOOKS_TIMEOUT=20s", "POTERNE_WEBHOOKS_POLL_INTERVAL=50ms",
		"POTERNE_WEBHOOKS_BACKOFF=200ms",
	})
	const hooks, budgets = 8, 5
	r := receiveHooks(t)
	for i := range hooks {
		path := fmt.Sprintf("/hook-%d", i)
		made := must(t, g, "PUT", "/v1/admin/webhooks"+path, map[string]any{"webhook": map[string]any{"url": r.URL + path}})
		text, _ := made["secret"].(string)
		secret, err := standardwebhook.ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		r.secrets[path] = secret
		r.mu.Unlock()
	}
	for i := range budgets {
		must(t, g, "POST", "/v1/admin/budgets", map[string]any{"budget": map[string]any{
			"id": fmt.Sprintf("budget-%d", i), "scope": "tenant", "period": "total", "unit": "tokens", "amount": 20 + i, "warnings": []int{10, 50, 90},
		}})
	}
	want := make(map[string]bool)
	for i := range budgets {
		for _, threshold := range []int{10, 50, 90, 100} {
			want[fmt.Sprintf("budget-%d at %d", i, threshold)] = true
		}
	}
	for range 4 {
		a, err := g.Do(t.Context(), "POST", "/v1/chat/completions", g.AdminKey, map[string]any{
			"model": g.ChatModel, "max_tokens": 8, "messages": scenario.User("Tell me of budgets."),
		})
		if err != nil || a.Status != http.StatusOK {
			t.Fatalf("%d %v %s", a.Status, err, a.Body)
		}
	}
	// Each webhook is told of one thing at a time, by each edge: all are held, by both.
	waitFor(t, func() bool { return r.holds() > hooks })
	edge := m.Process("edge-1")
	if edge == nil {
		t.Fatal("there is no edge-1")
	}
	killed := time.Now()
	if err := edge.Kill(); err != nil {
		t.Fatal(err)
	}
	close(r.free)
	// The other edge goes on with what it had begun at once, and with that of the killed
	// one when its time is over.
	pending := func(state string) (n int) {
		for i := range hooks {
			a, err := g.Do(t.Context(), "GET", fmt.Sprintf("/v1/admin/webhooks/hook-%d/deliveries?state=%s&page_size=1000", i, state), g.AdminKey, nil)
			if err != nil || a.Status != http.StatusOK {
				return -1
			}
			list, _ := a.JSON(t)["deliveries"].([]any)
			n += len(list)
		}
		return n
	}
	deadline := time.After(2 * time.Minute)
	for pending("pending") != 0 {
		select {
		case <-time.After(time.Second):
		case <-deadline:
			t.Fatalf("%d deliveries are pending two minutes after the kill", pending("pending"))
		}
	}
	if n := pending("delivered"); n != hooks*len(want) {
		t.Errorf("%d deliveries ended well, want %d", n, hooks*len(want))
	}
	twice := 0
	ids := make(map[string]string) // of events, by what they say
	r.mu.Lock()
	defer r.mu.Unlock()
	for path, events := range r.told {
		got := make(map[string]bool)
		for id, told := range events {
			name := eventOf(t, told.body)
			if got[name] || ids[name] != "" && ids[name] != id {
				t.Errorf("%s: %s has two ids", path, name)
			}
			got[name], ids[name] = true, id
			if told.times > 1 {
				twice++
			}
		}
		for name := range want {
			if !got[name] {
				t.Errorf("%s is not told of %s", path, name)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s is told of %d events, want %d", path, len(got), len(want))
		}
	}
	if len(r.told) != hooks || twice == 0 {
		t.Errorf("%d webhooks were told; %d events came twice: nothing was under way when the edge was killed", len(r.told), twice)
	}
	t.Logf("%d webhooks were told of %d events each; %d were told twice; all was told %v after the kill", hooks, len(want), twice, time.Since(killed).Round(time.Second))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := edge.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

// eventOf is a budget and its threshold.
func eventOf(t *testing.T, text string) string {
	t.Helper()
	var b struct {
		Type string `json:"type"`
		Data struct {
			Budget    string `json:"budget"`
			Threshold int    `json:"threshold_percent"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &b); err != nil || !slices.Contains([]string{"budget.warning", "budget.exhausted"}, b.Type) || !strings.HasPrefix(b.Data.Budget, "budget-") {
		t.Errorf("told %s: %v", text, err)
	}
	return fmt.Sprintf("%s at %d", b.Data.Budget, b.Data.Threshold)
}
