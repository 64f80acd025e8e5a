package edge_test

import (
	"strings"
	"testing"
	"time"

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
