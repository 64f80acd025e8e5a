//go:build real

package e2e

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/poterne/poterne/e2e/scenario"
)

// counted is what callers were told.
type counted struct {
	mu     sync.Mutex
	states map[string]float64
	// saved are the tokens of answers that were kept, by kind.
	saved map[string]float64
}

func (c *counted) add(t *testing.T, a scenario.Answer) {
	t.Helper()
	state, usage := a.Header.Get("X-Poterne-Cache"), a.JSON(t)["usage"]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states[state]++
	if state == "hit" {
		for kind, name := range map[string]string{"prompt": "prompt_tokens", "completion": "completion_tokens"} {
			n, _ := scenario.Path(usage, name).(float64)
			c.saved[kind] += n
		}
	}
}

// metrics are the values of a metric by one of its labels.
func metrics(t *testing.T, ops, name, label string) map[string]float64 {
	t.Helper()
	a, err := scenario.Target{URL: ops}.Do(t.Context(), http.MethodGet, "/metrics", "", nil)
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("%v, HTTP %d", err, a.Status)
	}
	out := make(map[string]float64)
	for line := range strings.SplitSeq(string(a.Body), "\n") {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		_, of, _ := strings.Cut(line, label+`="`)
		of, _, _ = strings.Cut(of, `"`)
		var n float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &n); err != nil {
			t.Fatal(err)
		}
		out[of] += n
	}
	return out
}

// TestRealCacheCounts compares the metrics of the cache with what a load was told, of
// one process with the answers in its memory.
func TestRealCacheCounts(t *testing.T) {
	g, _ := startAllInOne(t, t.TempDir(), "--engine", "sim", "--cache")
	told := &counted{states: map[string]float64{}, saved: map[string]float64{}}
	var all sync.WaitGroup
	for worker := range 6 {
		all.Go(func() {
			for i := range 60 {
				seed := (i*7 + worker) % 13
				chat := map[string]any{
					"model": "sim-chat", "temperature": 0, "max_tokens": 3 + seed, "seed": seed, "messages": scenario.User("How many are they?"),
					"cache": map[string]any{"truncated": true},
				}
				path, body := "/v1/chat/completions", any(chat)
				switch i % 4 {
				case 1:
					path, body = "/v1/embeddings", map[string]any{"model": "sim-embedding", "input": strings.Repeat("word ", 1+seed)}
				case 2:
					chat["temperature"] = 0.7 // which passes by
				}
				told.add(t, g.Call(t, http.MethodPost, path, body, http.StatusOK))
			}
		})
	}
	all.Wait()
	results := metrics(t, g.OpsURL, "poterne_edge_cache_requests_total", "result")
	saved := metrics(t, g.OpsURL, "poterne_edge_cache_saved_tokens_total", "kind")
	t.Logf("told %v, saved %v", told.states, told.saved)
	for _, state := range []string{"hit", "miss", "bypass"} {
		if results[state] != told.states[state] || told.states[state] == 0 {
			t.Errorf("%s: counted %v, told %v", state, results[state], told.states[state])
		}
	}
	for _, kind := range []string{"prompt", "completion"} {
		if saved[kind] != told.saved[kind] || saved[kind] == 0 {
			t.Errorf("%s tokens saved: counted %v, told %v", kind, saved[kind], told.saved[kind])
		}
	}
	want := told.states["hit"] / (told.states["hit"] + told.states["miss"])
	if got := metrics(t, g.OpsURL, "poterne_edge_cache_hit_ratio", "none")[""]; math.Abs(got-want) > 1e-9 {
		t.Errorf("the hit ratio is %v, and was %v", got, want)
	}
	// The same by the command line's source, and what is not billed is what was saved.
	stats := g.Call(t, http.MethodGet, "/v1/admin/cache", nil, http.StatusOK).JSON(t)
	for name, want := range map[string]float64{
		"hits": told.states["hit"], "misses": told.states["miss"], "bypasses": told.states["bypass"],
		"saved_prompt_tokens": told.saved["prompt"], "saved_completion_tokens": told.saved["completion"],
	} {
		if got, _ := stats[name].(float64); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	// 13 answers and 13 vectors were made once each, whoever came at once.
	if told.states["miss"] != 26 {
		t.Errorf("%v answers were made of 26", told.states["miss"])
	}
}
