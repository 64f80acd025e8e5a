package edge_test

import (
	"fmt"
	"net/http"
	"testing"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// TestMemberCacheElsewhere: what a conversation says of the cache is understood in
// every shape, and no engine hears of it.
func TestMemberCacheElsewhere(t *testing.T) {
	g := caching(t, nil)
	for path, body := range map[string]string{
		"/v1/messages":  `{"model":"small","max_tokens":5,"messages":[{"role":"user","content":"Hi"}],"cache":{"use":"on"}}`,
		"/v1/responses": `{"model":"small","input":"Hi","cache":{"use":"on"}}`,
	} {
		for _, want := range []string{"miss", "hit"} {
			a := g.do("POST", path, body)
			if a.status != http.StatusOK || a.header.Get(cacheHeader) != want {
				t.Errorf("%s: %d %q, want %s: %s", path, a.status, a.header.Get(cacheHeader), want, a.text)
			}
		}
		if got, there := g.inference.last(t)["cache"]; there {
			t.Errorf("%s: the engine is told %v", path, got)
		}
	}
}

// TestIdempotencyKeyIsForTheRequest: the request takes its key, not what else is done
// for it.
func TestIdempotencyKeyIsForTheRequest(t *testing.T) {
	g := caching(t, func(c *edge.Config) {
		c.Security.Cache.Rules = []respcache.Rule{{
			Tenants: []string{"default"}, Use: respcache.Deterministic, Semantic: respcache.Semantic{Model: "vectors", Threshold: 0.9},
		}}
	})
	for i, want := range []int{http.StatusOK, http.StatusConflict} {
		body := fmt.Sprintf(`{"model":"small","messages":[{"role":"user","content":"Hi"}],"temperature":0,"seed":%d}`, i)
		if a := g.do("POST", chatPath, body, "Idempotency-Key", "compared"); a.status != want {
			t.Errorf("request %d: %d %s", i, a.status, a.text)
		}
	}
	// Another version answers than was to, so that all inputs are embedded anew.
	const path = "/v1/embeddings"
	g.do("POST", path, `{"model":"small","input":["a"]}`)
	g.inference.mu.Lock()
	was := version(3, "3")
	g.inference.resolve = func(*inferencev1.ResolveServingRequest) (*inferencev1.ResolveServingResponse, error) {
		return &inferencev1.ResolveServingResponse{Model: was.GetModel(), Version: was.GetVersion(), Digest: was.GetDigest()}, nil
	}
	g.inference.mu.Unlock()
	g.inference.answering(version(4, "4"))
	for i, want := range []int{http.StatusOK, http.StatusConflict} {
		if a := g.do("POST", path, `{"model":"small","input":["a","b"]}`, "Idempotency-Key", "embedded"); a.status != want {
			t.Errorf("vectors %d: %d %s", i, a.status, a.text)
		}
	}
}
