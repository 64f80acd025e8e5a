package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"testing"
	"time"
)

// stickySessions is so many that both of two workers have some: but for one time in
// 32,768.
const stickySessions = 16

// Sticky keeps sessions by cookie, whichever edge a request goes through: what is asked
// with the cookie of an answer goes to that answer's worker. There must be two workers of
// g.ChatModel.
func Sticky(t *testing.T, g Target) {
	const path, name = "/v1/admin/routes/sticky", "poterne-session"
	g.Call(t, http.MethodPut, path, map[string]any{"route": map[string]any{
		"match": map[string]any{"operations": []string{"ROUTE_OPERATION_CHAT"}}, "sticky": map[string]any{"by": "cookie", "name": name},
	}}, http.StatusOK)
	defer g.Call(t, http.MethodDelete, path, nil, http.StatusOK)
	workers := make(map[string]int)
	for n := range stickySessions {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Jar: jar, Timeout: CallTimeout}
		first := g.askWith(t, c, fmt.Sprintf("Session %d.", n))
		for deadline := time.Now().Add(10 * time.Second); first.Get(setCookie) == ""; first = g.askWith(t, c, "Are you there?") {
			if time.Now().After(deadline) {
				t.Fatal("no edge gives a cookie, or one of them does not")
			}
		}
		worker := g.workerOf(t, first.Get("X-Request-Id"))
		workers[worker]++
		for i := range 3 {
			again := g.askWith(t, c, fmt.Sprintf("Session %d, again: %d.", n, i))
			if cookie := again.Get(setCookie); cookie != "" {
				t.Errorf("who has a cookie is given another: %s", cookie)
			}
			if got := g.workerOf(t, again.Get("X-Request-Id")); got != worker {
				t.Errorf("session %d went from %s to %s", n, worker, got)
			}
		}
	}
	if t.Logf("sessions by worker: %v", workers); len(workers) < 2 {
		t.Errorf("all sessions are one worker's: %v", workers)
	}
}

const setCookie = "Set-Cookie"

// askWith has c ask for a short answer, and returns its header.
func (g Target) askWith(t *testing.T, c *http.Client, text string) http.Header {
	t.Helper()
	body, err := json.Marshal(map[string]any{"model": g.ChatModel, "max_tokens": 2, "messages": []any{map[string]any{"role": "user", "content": text}}})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.AdminKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s, %v", resp.StatusCode, raw, err)
	}
	return resp.Header
}

// workerOf is the worker that answered a request, as its explanation has it.
func (g Target) workerOf(t *testing.T, id string) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		a, err := g.Do(t.Context(), http.MethodGet, "/v1/requests/"+id, g.AdminKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != http.StatusOK {
			continue // it is not written yet
		}
		decisions, _ := a.JSON(t)["decisions"].([]any)
		for _, d := range decisions {
			attributes, _ := Path(d, "attributes").([]any)
			for _, at := range attributes {
				if worker, ok := Path(at, "value").(string); ok && Path(d, "step") == "serving" && Path(at, "name") == "worker" {
					return worker
				}
			}
		}
	}
	t.Fatalf("nothing tells which worker answered %s", id)
	return ""
}
