//go:build real

package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/mesh"
	"github.com/poterne/poterne/e2e/scenario"
)

// TestRealMeshRemembersWhatWouldAnswer runs two edges and two inference services: hits do
// not ask what would answer, and when an alias moves no edge goes on with the old version.
func TestRealMeshRemembersWhatWouldAnswer(t *testing.T) {
	m, g := startMeshWith(t, mesh.EngineSim, []string{"POTERNE_CACHE_ENABLED=true", "POTERNE_CACHE_REMEMBER_SERVING=5s"})
	edges := tenant(t, m, g, "acme")
	for i, p := range m.Ports().Edge {
		// The models have just been registered through an edge: it asks for a while.
		var got map[string]float64
		for began := time.Now(); got["remembered"] < 15 && time.Since(began) < 20*time.Second; {
			edges[i].ask("Hi")
			got = metrics(t, "http://"+address(p.Ops), "poterne_edge_cache_resolutions_total", "source")
		}
		if got["remembered"] < 15 || got["asked"] == 0 {
			t.Errorf("edge %d: %v", i+1, got)
		}
	}
	base := "/v1/registry/models/" + g.ChatModel
	v1 := g.Call(t, http.MethodGet, base+"/versions/1", nil, http.StatusOK).JSON(t)
	spec, _ := v1["spec"].(map[string]any)
	spec["context_length"] = 1024
	v2 := g.Call(t, http.MethodPost, base+"/versions", map[string]any{"spec": spec}, http.StatusOK).JSON(t)
	was := g.Call(t, http.MethodGet, base+"/aliases/production", nil, http.StatusOK).JSON(t)
	g.Call(t, http.MethodPut, base+"/aliases/production", map[string]any{"version": v2["number"], "etag": was["etag"]}, http.StatusOK)
	moved := time.Now()
	want := fmt.Sprintf("%s@v%v", g.ChatModel, v2["number"])
	for i, e := range edges {
		for {
			body := map[string]any{"model": g.ChatModel, "temperature": 0, "max_tokens": 6, "messages": scenario.User("Hi"), "cache": map[string]any{"truncated": true}}
			a, err := e.g.Do(t.Context(), http.MethodPost, "/v1/chat/completions", e.key, body)
			if err != nil {
				t.Fatal(err)
			}
			if a.Header.Get("X-Poterne-Model") == want || a.Status != http.StatusOK { // it may not be loaded yet
				break
			}
			// Less than what is remembered would have counted for, had nothing been told.
			if time.Since(moved) > 3*time.Second {
				t.Fatalf("edge %d goes on with %s", i+1, a.Header.Get("X-Poterne-Model"))
			}
		}
	}
}
