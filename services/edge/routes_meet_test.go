package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// mirrored waits until models were asked so often, and returns what each was asked.
func (g *gate) mirrored(times int) map[string][]string {
	g.t.Helper()
	out, n := make(map[string][]string), 0
	for end := time.Now().Add(10 * time.Second); n < times; {
		if time.Now().After(end) {
			g.t.Fatalf("asked were %v", out)
		}
		g.inference.mu.Lock()
		for _, r := range g.inference.invoked {
			out[r.GetModel()] = append(out[r.GetModel()], string(r.GetBody()))
			n++
		}
		g.inference.invoked = nil
		g.inference.mu.Unlock()
		<-time.After(time.Millisecond)
	}
	return out
}

// A copy is asked what the first model is, passages included;
// what is answered from the cache is not copied.
func TestAMirrorIsAskedTheSame(t *testing.T) {
	g := caching(t, nil)
	g.search.hits = []*searchv1.Hit{{DocumentId: "d1", ChunkId: "d1#0", Text: "Twenty-seven days."}}
	g.route("copied", `{"match":{"models":["small"]},"mirror":{"model":"other","percent":100}}`)
	for _, kept := range []string{`,"temperature":0`, ""} {
		g.do("POST", chatPath, retrieving+`}`+kept+`}`)
		for model, bodies := range g.mirrored(2) {
			if len(bodies) != 1 || !strings.Contains(bodies[0], "Twenty-seven days.") {
				t.Errorf("%q: %s was asked %q", kept, model, bodies)
			}
		}
	}
	if a := g.do("POST", chatPath, retrieving+`},"temperature":0}`); a.header.Get(cacheHeader) != "hit" {
		t.Errorf("%v %s", a.header, a.text)
	}
	g.do("POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"Hi"}],"stream":true}`)
	if asked := g.mirrored(2); len(asked["other"]) != 1 || len(asked["small"]) != 1 {
		t.Errorf("asked were %v", asked)
	}
}

// What needs to know a model's context to fit something into it does not stand in the
// way of the route's other models.
func TestAnotherModelAnswersFromPassagesAndMemory(t *testing.T) {
	g := open(t, nil)
	g.search.hits = []*searchv1.Hit{{DocumentId: "d1", ChunkId: "d1#0", Text: "Twenty-seven days."}}
	g.route("gone", `{"match":{"models":["gone"]},"fallback":{"models":["small"],"on":["ROUTE_REASON_MODEL_NOT_FOUND"]}}`)
	g.failing(apierr.New(apierr.ModelNotFound, "there is no model"), "small")
	const asked = `{"model":"gone","messages":[{"role":"user","content":"And in March?"}],"memory":{"conversation":"c"}%s}`
	for _, more := range []string{"", `,"retrieval":{"collection":"handbook"}`, `,"stream":true`} {
		if a := g.do("POST", chatPath, fmt.Sprintf(asked, more)); a.status != http.StatusOK || a.header.Get("X-Poterne-Fallback") != "gone;reason=model-not-found" {
			t.Errorf("%s: %d %v %s", more, a.status, a.header, a.text)
		}
	}
	if a := g.do("GET", "/v1/conversations/c", ""); a.at("turn_count") != 3.0 {
		t.Errorf("%s", a.text)
	}
	g.inference.mu.Lock()
	last := string(g.inference.invoked[len(g.inference.invoked)-1].GetBody())
	g.inference.mu.Unlock()
	if strings.Count(last, "And in March?") != 3 {
		t.Errorf("the model read %s", last)
	}
}
