package edge_test

import (
	"strings"
	"testing"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge"
)

// TestContentHasThePassages: what is kept of a request is what the engine gets, also
// where the context builder is asked only after the cache.
func TestContentHasThePassages(t *testing.T) {
	g := caching(t, func(c *edge.Config) { c.Security.Audit.Content.Key = masterKey("m1", "a") })
	g.search.hits = []*searchv1.Hit{{DocumentId: "d1", ChunkId: "d1#0", Text: "The price is 5 " + spoken + ".", Score: 1}}
	g.do("PUT", settingsPath, `{"enabled":true}`)
	retrieving := exactly(`,"retrieval":{"collection":"docs"}`)
	for _, c := range []struct {
		state    string
		passages bool
	}{{"miss", true}, {"hit", false}} {
		rec := g.recorded(g.asks(retrieving, nil, map[bool]int{true: 1}[c.passages], c.state))
		got := g.do("GET", contentPath+"/"+text(rec["id"]), "")
		if asked := text(got.at("request")); got.at("state") != "kept" || !strings.Contains(asked, "Hi") || strings.Contains(asked, spoken) != c.passages {
			t.Errorf("%s: kept is %s", c.state, got.text)
		}
		if !strings.Contains(text(got.at("answer")), "Hello") || at([]any{rec}, 0, "documents", 0) != "docs/d1" {
			t.Errorf("%s: kept is %s of %v", c.state, got.text, rec)
		}
	}
}
