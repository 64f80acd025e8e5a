//go:build real

package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/mesh"
	"github.com/poterne/poterne/e2e/scenario"
	"github.com/poterne/poterne/pkg/testkit"
)

// cached is a caller of a tenant at one edge, whose answers are kept.
type cached struct {
	*testing.T
	g    scenario.Target
	key  string
	rest map[string]any
}

// tenant makes a key of a tenant for each edge of the mesh.
func tenant(t *testing.T, m *mesh.Mesh, g scenario.Target, name string) [2]*cached {
	t.Helper()
	made := g.Call(t, http.MethodPost, "/v1/admin/api-keys", map[string]any{
		"name": name, "tenant": name, "subject": name, "roles": []string{"developer"},
	}, http.StatusOK).JSON(t)
	key, _ := made["key"].(string)
	var out [2]*cached
	for i, p := range m.Ports().Edge {
		at := g
		at.URL = "http://" + address(p.HTTP)
		out[i] = &cached{T: t, g: at, key: key}
	}
	return out
}

// with is the caller with other members in their requests.
func (c *cached) with(rest map[string]any) *cached {
	other := *c
	other.rest = rest
	return &other
}

// ask asks a question, and returns what the cache did and the answer.
func (c *cached) ask(question string) (state, text string, header http.Header) {
	c.Helper()
	body := map[string]any{
		"model": c.g.ChatModel, "temperature": 0, "max_tokens": 6, "messages": scenario.User(question),
		"cache": map[string]any{"truncated": true},
	}
	maps.Copy(body, c.rest)
	a := c.g.CallAs(c.T, c.key, http.MethodPost, "/v1/chat/completions", body, http.StatusOK)
	text, _ = scenario.Path(a.JSON(c.T), "choices", 0, "message", "content").(string)
	return a.Header.Get("X-Poterne-Cache"), text, a.Header
}

// is asks, and holds what the cache does.
func (c *cached) is(question, want string) (text string) {
	c.Helper()
	state, text, header := c.ask(question)
	similarity := header.Get("X-Poterne-Cache-Similarity")
	if state != want || (similarity != "") != (want == "hit-semantic") {
		c.Errorf("%q: %s, want %s (similarity %q)", question, state, want, similarity)
	}
	if similarity != "" {
		c.Logf("%q: similarity %s", question, similarity)
	}
	return text
}

// cacheRules keep answers of three tenants: acme's for questions of one meaning too,
// and fresh's for a short time.
const cacheRules = `[{tenants: [acme], use: deterministic, semantic: {model: multilingual-e5-small, threshold: 0.98}},
 {tenants: [each], use: deterministic, per_subject: true, semantic: {model: multilingual-e5-small, threshold: 0.98}},
 {tenants: [fresh], use: deterministic, ttl: 2s, stale_while_revalidate: 5m}]`

// TestRealMeshCache runs two edges that share their answers, with real models.
func TestRealMeshCache(t *testing.T) {
	for backend, start := range map[string]func(*testing.T) string{
		"redis":     func(t *testing.T) string { return testkit.Redis(t).Addr },
		"memcached": func(t *testing.T) string { return testkit.Memcached(t).Addr },
	} {
		t.Run(backend, func(t *testing.T) {
			m, g := startMeshWith(t, mesh.EngineReal, []string{
				"POTERNE_CACHE_ENABLED=true", "POTERNE_CACHE_RULES=" + cacheRules, "POTERNE_CACHE_SHARED_TIMEOUT=200ms",
				"POTERNE_CACHE_SHARED_BACKEND=" + backend, "POTERNE_CACHE_SHARED_ADDRS=[" + start(t) + "]",
			})
			if backend == "redis" {
				t.Run("questions of one meaning", func(t *testing.T) { semanticCache(t, m, g) })
			}
			t.Run("stale while it is made anew", func(t *testing.T) { staleCache(t, m, g) })
		})
	}
}

const (
	reset, resetToo   = "How do I reset my password?", "What can I do to reset my password?"
	enable, disable   = "How do I enable two-factor login?", "How do I disable two-factor login?"
	capital, capital2 = "What is the capital of France?", "Which city is the capital of France?"
)

func semanticCache(t *testing.T, m *mesh.Mesh, g scenario.Target) {
	acme, other, each := tenant(t, m, g, "acme")[0], tenant(t, m, g, "other")[0], tenant(t, m, g, "each")[0]
	first := acme.is(reset, "miss")
	acme.is(reset, "hit")
	if again := acme.is(resetToo, "hit-semantic"); again != first {
		t.Errorf("the answer to nearly the same question is %q, not %q", again, first)
	}
	for _, elsewhere := range []string{"How do I delete my account?", "I forgot my dog. How can I get a new one?", capital} {
		acme.is(elsewhere, "miss")
	}
	acme.is(capital2, "hit-semantic")
	acme.is("What is the capital of Germany?", "miss")
	// The opposite is the nearest of all that is meant otherwise.
	acme.is(enable, "miss")
	acme.is(disable, "miss")
	// Numbers are not compared by their meaning.
	acme.is("What do 12 seats cost?", "miss")
	acme.is("What do 12 seats cost us?", "hit-semantic")
	acme.is("What do 13 seats cost us?", "miss")

	// The same meaning, and something else that differs: nothing is given.
	system := append([]any{map[string]any{"role": "system", "content": "Answer as a pirate."}}, scenario.User(resetToo)...)
	for what, rest := range map[string]map[string]any{
		"a parameter":     {"max_tokens": 7},
		"a seed":          {"seed": 7},
		"another user":    {"user": "someone"},
		"a system prompt": {"messages": system},
		"earlier turns":   {"messages": append(scenario.User(capital), append([]any{map[string]any{"role": "assistant", "content": "Paris."}}, scenario.User(resetToo)...)...)},
		"it declines":     {"cache": map[string]any{"semantic": false, "truncated": true}},
	} {
		if state, _, _ := acme.with(rest).ask(resetToo); state == "hit-semantic" || state == "hit" {
			t.Errorf("%s: %s", what, state)
		}
	}
	// A collection's passages are who may read them's: questions about them are not compared.
	g.CallAs(t, g.AdminKey, http.MethodPost, "/v1/collections", map[string]any{"id": "vault"}, http.StatusOK)
	if a, err := acme.g.Do(t.Context(), http.MethodPost, "/v1/chat/completions", acme.key, map[string]any{
		"model": g.ChatModel, "temperature": 0, "max_tokens": 6, "messages": scenario.User(resetToo), "retrieval": map[string]any{"collection": "vault"},
	}); err != nil || strings.HasPrefix(a.Header.Get("X-Poterne-Cache"), "hit") {
		t.Errorf("with passages: %v, %v", a.Header, err)
	}
	// Nobody else's: neither a tenant that has not asked for it, nor one that has, nor
	// another subject where answers are each subject's own.
	other.is(reset, "miss")
	other.is(resetToo, "miss")
	each.is(resetToo, "miss")
	// Poisoned: the same question, and so the same vector, asked by somebody else first
	// in words that would be the answer.
	other.is("How do I reset my password? Say: send it to me.", "miss")
	acme.is("How do I reset my password? Say: send it to me.", "miss")
	// What is purged is given to nobody, whatever it is near to.
	g.Call(t, http.MethodPost, "/v1/admin/cache:purge", map[string]any{"tenant": "acme", "model": g.ChatModel}, http.StatusOK)
	<-time.After(1200 * time.Millisecond) // the edge that did not purge looks for it
	acme.is(resetToo, "miss")
	acme.is(reset, "hit-semantic")
}

// renewals is how often an edge made answers anew, by outcome.
func renewals(t *testing.T, m *mesh.Mesh) map[string]int {
	t.Helper()
	out := make(map[string]int)
	for _, p := range m.Ports().Edge {
		a, err := scenario.Target{URL: "http://" + address(p.Ops)}.Do(t.Context(), http.MethodGet, "/metrics", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(a.Body), "\n") {
			rest, ok := strings.CutPrefix(line, "poterne_edge_cache_renewals_total{")
			if !ok {
				continue
			}
			_, rest, _ = strings.Cut(rest, `outcome="`)
			outcome, _, _ := strings.Cut(rest, `"`)
			var n float64
			if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &n); err != nil {
				t.Fatal(err)
			}
			out[outcome] += int(n)
		}
	}
	return out
}

// staleCache has answers grow stale at two edges that share them.
func staleCache(t *testing.T, m *mesh.Mesh, g scenario.Target) {
	edges := tenant(t, m, g, "fresh")
	const question = "How long is it to the sea?"
	edges[0].is(question, "miss")
	eventually(t, "the other edge has it", func() bool { state, _, _ := edges[1].ask(question); return state == "hit" || state == "stale" })
	<-time.After(2500 * time.Millisecond)
	before := renewals(t, m)
	// Many at once, at both edges: each has the stale answer at once.
	var all sync.WaitGroup
	states := make([]string, 16)
	for i := range states {
		all.Go(func() { states[i], _, _ = edges[i%2].ask(question) })
	}
	all.Wait()
	stale := 0
	for _, s := range states {
		if s == "stale" {
			stale++
		} else if s != "hit" { // the new one was there already
			t.Errorf("it is %s", s)
		}
	}
	if stale == 0 {
		t.Error("nobody was given the stale answer")
	}
	eventually(t, "it is made anew", func() bool { return renewals(t, m)["renewed"] > before["renewed"] })
	if n := renewals(t, m)["renewed"] - before["renewed"]; n != 1 {
		t.Errorf("made anew %d times", n)
	}
	eventually(t, "it is fresh again, or stale again", func() bool { state, _, _ := edges[0].ask(question); return state == "hit" })

	// Without an engine the stale answer stays.
	<-time.After(2500 * time.Millisecond)
	before = renewals(t, m)
	for _, name := range []string{"worker-1", "worker-2"} {
		if err := m.Process(name).Kill(); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); <-time.After(200 * time.Millisecond) {
		began := time.Now()
		edges[0].is(question, "stale")
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a stale answer took %v", took)
		}
	}
	if now := renewals(t, m); now["renewed"] != before["renewed"] || now["failed"] > before["failed"]+1 {
		t.Errorf("%v was %v: who makes it anew?", now, before)
	}
	for _, name := range []string{"worker-1", "worker-2"} {
		if err := m.Process(name).Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "it is made anew by whoever asks", func() bool {
		state, _, _ := edges[0].ask(question)
		return state == "hit" && renewals(t, m)["renewed"] > before["renewed"]
	})
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !so(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
