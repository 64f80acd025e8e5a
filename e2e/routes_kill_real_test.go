//go:build real

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/mesh"
	"github.com/poterne/poterne/e2e/scenario"
)

const (
	firstModel = "sim-single"  // on one worker, which is killed
	otherModel = "sim-reserve" // on both
)

// routedAnswer is what became of one request of the load.
type routedAnswer struct {
	streamed              bool
	began, ended          time.Time
	status, chunks        int
	model, fallback, text string
	// err is of a stream that ended with one; broken of a connection that did.
	err, broken string
	done        bool
}

// routedLoad asks firstModel again and again, half of the answers streamed.
type routedLoad struct {
	g        scenario.Target
	cancel   context.CancelFunc
	clients  sync.WaitGroup
	answered atomic.Int64
	speaking atomic.Int64

	mu      sync.Mutex
	answers []routedAnswer
}

func startRoutedLoad(ctx context.Context, g scenario.Target, clients int) *routedLoad {
	ctx, cancel := context.WithCancel(ctx)
	l := &routedLoad{g: g, cancel: cancel}
	for i := range clients {
		l.clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				a := l.ask(context.WithoutCancel(ctx), fmt.Sprintf("client-%d-%d", i, n), i%2 == 0)
				l.mu.Lock()
				l.answers = append(l.answers, a)
				l.mu.Unlock()
				l.answered.Add(1)
			}
		})
	}
	return l
}

func (l *routedLoad) stop() []routedAnswer {
	l.cancel()
	l.clients.Wait()
	return l.answers
}

func (l *routedLoad) ask(ctx context.Context, id string, streamed bool) routedAnswer {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a := routedAnswer{streamed: streamed, began: time.Now()}
	body := fmt.Sprintf(`{"model":%q,"stream":%t,"max_tokens":24,"messages":[{"role":"user","content":%q}]}`, firstModel, streamed, id)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.g.URL+"/v1/chat/completions", bytes.NewReader([]byte(body)))
	if err != nil {
		a.broken = err.Error()
		return a
	}
	req.Header.Set("Authorization", "Bearer "+l.g.AdminKey)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", id)  // each model that is asked needs it anew
	req.Header.Set("X-Poterne-Wait", "0s") // for a model that is nowhere nobody waits: another one answers
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.broken, a.ended = err.Error(), time.Now()
		return a
	}
	defer resp.Body.Close()
	a.status, a.fallback = resp.StatusCode, resp.Header.Get("X-Poterne-Fallback")
	a.model, _, _ = strings.Cut(resp.Header.Get("X-Poterne-Model"), "@")
	if !streamed || a.status != http.StatusOK {
		raw, err := io.ReadAll(resp.Body)
		if a.text, a.ended = string(raw), time.Now(); err != nil {
			a.broken = err.Error()
		}
		return a
	}
	defer func() {
		if a.chunks > 0 {
			l.speaking.Add(-1)
		}
	}()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, is := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !is:
		case data == "[DONE]":
			a.done = true
		case strings.Contains(data, `"error"`):
			a.err = data
		default:
			if a.chunks++; a.chunks == 1 {
				l.speaking.Add(1)
			}
		}
	}
	if a.ended = time.Now(); lines.Err() != nil {
		a.broken = lines.Err().Error()
	}
	return a
}

// poterne runs the command line as the first administrator.
func poterne(t *testing.T, g scenario.Target, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(binDir(t), "poterne"), args...)
	cmd.Env = append(os.Environ(), "POTERNE_URL="+g.URL, "POTERNE_API_KEY="+g.AdminKey)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("poterne %v: %v: %s", args, err, out)
	}
}

func must(t *testing.T, g scenario.Target, method, path string, body any) map[string]any {
	t.Helper()
	a, err := g.Do(t.Context(), method, path, g.AdminKey, body)
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("%s %s: %d %v %s", method, path, a.Status, err, a.Body)
	}
	return a.JSON(t)
}

// soleWorker returns the worker that has the model, once one alone does.
func soleWorker(t *testing.T, g scenario.Target, model string) string {
	t.Helper()
	var list any
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		var has []string
		list = must(t, g, "GET", "/v1/admin/workers", nil)["workers"]
		workers, _ := list.([]any)
		for _, w := range workers {
			worker, _ := w.(map[string]any)
			state, _ := worker["state"].(map[string]any)
			id, _ := state["worker_id"].(string)
			if raw, err := json.Marshal(state["models"]); err == nil && bytes.Contains(raw, []byte(`"`+model+`@v1"`)) {
				has = append(has, id)
			}
		}
		if len(has) == 1 {
			return has[0]
		}
	}
	t.Fatalf("%s is not on one worker: %v", model, list)
	return ""
}

// TestRealKilledWorkerFallsBack kills the only worker of a model while requests for it
// are under way. Those before their first token are answered by the route's other
// model, which is said; streams that had begun end with an error; the model's breaker
// opens, and closes when the worker is back; every answer is billed once, and nothing
// stays reserved. Each request has an Idempotency-Key, and none is refused for it.
func TestRealKilledWorkerFallsBack(t *testing.T) {
	m, g := startMesh(t, mesh.EngineSim)
	must(t, g, "POST", "/v1/registry/models", map[string]any{
		"name": firstModel, "labels": map[string]any{"poterne.dev/min-replicas": "1", "poterne.dev/max-replicas": "1"},
	})
	poterne(t, g, "models", "register", firstModel, "--alias", "production", "--task", "chat", "--engine", "sim", "--context-length", "8192",
		"--parameter", "decode-rate=50", "--parameter", "first-token=80ms") // else than others': equal ones are one
	poterne(t, g, "models", "register", otherModel, "--alias", "production", "--task", "chat", "--engine", "sim", "--context-length", "8192",
		"--parameter", "decode-rate=200", "--parameter", "first-token=20ms")
	poterne(t, g, "models", "label", otherModel, "poterne.dev/min-replicas=2", "poterne.dev/max-replicas=2")
	must(t, g, "PUT", "/v1/admin/routes/guard", map[string]any{"route": map[string]any{
		"match": map[string]any{"models": []string{firstModel}}, "retry": map[string]any{"attempts": 2, "backoff": "0.01s"},
		"fallback": map[string]any{"models": []string{otherModel}},
	}})
	must(t, g, "POST", "/v1/admin/budgets", map[string]any{"budget": map[string]any{
		"id": "all", "scope": "tenant", "period": "total", "unit": "tokens", "amount": 100_000_000, "hard": true,
	}})
	waitFor(t, func() bool {
		a, err := g.Do(t.Context(), "POST", "/v1/chat/completions", g.AdminKey, map[string]any{
			"model": otherModel, "max_tokens": 1, "messages": scenario.User("hi"),
		})
		return err == nil && a.Status == http.StatusOK
	})
	<-time.After(2 * time.Second) // the other edge follows the route
	before := billed(t, g)
	worker := soleWorker(t, g, firstModel)
	p := m.Process(worker)
	if p == nil {
		t.Fatalf("there is no process %q", worker)
	}
	load := startRoutedLoad(t.Context(), g, 16)
	waitFor(t, func() bool { return load.answered.Load() >= 20 && load.speaking.Load() >= 4 })
	killed := time.Now()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return load.answered.Load() >= 150 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	waitFor(t, func() bool {
		load.mu.Lock()
		defer load.mu.Unlock()
		n := 0
		for _, a := range load.answers {
			if a.began.After(back) && a.model == firstModel && a.status == http.StatusOK && a.fallback == "" {
				n++
			}
		}
		return n >= 20
	})
	answers := load.stop()
	seen := judge(t, answers, killed)
	t.Logf("%d requests: %v", len(answers), seen)
	for _, what := range []string{"cut", "unavailable", "open"} {
		if seen[what] == 0 {
			t.Errorf("the test saw none of %q", what)
		}
	}

	// Everything is billed once: what was answered, and the streams that were cut.
	want := float64(len(answers))
	waitFor(t, func() bool { return billed(t, g)-before >= want })
	<-time.After(2 * time.Second)
	if got := billed(t, g) - before; got != want {
		t.Errorf("%v requests are billed of %v", got, want)
	}
	waitFor(t, func() bool {
		b, _ := must(t, g, "GET", "/v1/admin/budgets/all", nil)["budget"].(map[string]any)
		standing, _ := b["standing"].(map[string]any)
		reserved, _ := standing["reserved"].(float64)
		settled, _ := standing["settled"].(float64)
		return reserved == 0 && settled > 0
	})
	if adds := must(t, g, "POST", "/v1/admin/usage:check", map[string]any{}); adds["adds_up"] != true {
		t.Errorf("the ledger says %v", adds)
	}
}

// billed is how many requests the ledger has.
func billed(t *testing.T, g scenario.Target) float64 {
	t.Helper()
	rows, _ := must(t, g, "GET", "/v1/admin/usage?group_by=tenant", nil)["rows"].([]any)
	n := 0.0
	for _, r := range rows {
		row, _ := r.(map[string]any)
		requests, _ := row["requests"].(float64)
		n += requests
	}
	return n
}

// judge holds what must be of every request, and counts what there was.
func judge(t *testing.T, answers []routedAnswer, killed time.Time) map[string]int {
	t.Helper()
	seen := make(map[string]int)
	for _, a := range answers {
		whole := a.status == http.StatusOK && a.broken == "" && a.err == "" && (!a.streamed || a.done)
		switch {
		case whole && a.model == firstModel && a.fallback == "":
			seen["first"]++
		case whole && a.model == otherModel && strings.HasPrefix(a.fallback, firstModel+";reason="):
			_, reason, _ := strings.Cut(a.fallback, "reason=")
			seen[reason]++
			if a.ended.Before(killed) {
				t.Errorf("there was a fallback before the worker was killed: %+v", a)
			}
		case a.streamed && a.chunks > 0 && a.began.Before(killed) && a.ended.After(killed) && a.err != "" && !a.done && a.model == firstModel:
			seen["cut"]++
			if late := a.ended.Sub(killed); late > errorWithin {
				t.Errorf("a stream ended %v after the kill: %s", late, a.err)
			}
			if !strings.Contains(a.err, "message") || !strings.Contains(a.err, "code") {
				t.Errorf("a stream ended with no clear error: %s", a.err)
			}
		default:
			t.Errorf("a request was neither answered nor cut: %+v", a)
		}
	}
	return seen
}
