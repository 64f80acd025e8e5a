package edge_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge"
)

// resolving is a gate that remembers what would answer for some time.
func resolving(t *testing.T, during time.Duration) (g *gate, revision, asked *atomic.Int64) {
	t.Helper()
	g = caching(t, func(c *edge.Config) { c.Security.Cache.RememberServing = during })
	revision, asked = new(atomic.Int64), new(atomic.Int64)
	revision.Store(1)
	g.registry.changes = make(chan *registryv1.WatchResponse)
	g.inference.mu.Lock()
	defer g.inference.mu.Unlock()
	g.inference.resolve = func(*inferencev1.ResolveServingRequest) (*inferencev1.ResolveServingResponse, error) {
		asked.Add(1)
		by := g.inference.served()
		return &inferencev1.ResolveServingResponse{
			Model: by.GetModel(), Version: by.GetVersion(), Digest: by.GetDigest(), Revision: revision.Load(),
			Basis: inferencev1.ServingBasis_SERVING_BASIS_MODEL,
		}, nil
	}
	return g, revision, asked
}

// serving is how it was known what would answer the last request.
func (g *gate) serving(a answer) string {
	g.t.Helper()
	told, _ := g.explained(a.header.Get("X-Request-Id"))
	return fact(told, "cache", "serving")
}

// until asks until a request is as a test wants it.
func (g *gate) until(what string, as func(answer) bool) {
	g.t.Helper()
	tick, late := time.NewTicker(5*time.Millisecond), time.After(8*time.Second) // less than what is remembered counts
	defer tick.Stop()
	for {
		a := g.do("POST", chatPath, exactly(""))
		if a.status != http.StatusOK {
			g.t.Fatalf("%s: %d %s", what, a.status, a.text)
		}
		if as(a) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			g.t.Fatalf("%s: it is not so", what)
		}
	}
}

// TestWhatWouldAnswerIsRemembered: once the registry is followed inference is not asked
// for each hit; it is after a change, and after a write through this edge.
func TestWhatWouldAnswerIsRemembered(t *testing.T) {
	t.Parallel()
	g, revision, asked := resolving(t, 10*time.Second)
	g.asks(exactly(""), nil, 1, "miss", "hit", "hit")
	if n := asked.Load(); n != 3 {
		t.Errorf("while the registry is not followed %d are asked of 3", n)
	}
	g.registry.models.Store(splitModel())
	remembered := func(a answer) bool { return g.serving(a) == "remembered" }
	g.until("it is remembered", remembered)
	before := asked.Load()
	last := g.asks(exactly(""), nil, 0, "hit", "hit", "hit")
	if n := asked.Load() - before; n != 0 || !remembered(last) {
		t.Errorf("%d are asked, and it was %s", n, g.serving(last))
	}
	// Somebody moved an alias elsewhere.
	revision.Store(2)
	g.inference.answering(version(4, "4"))
	g.registry.changes <- &registryv1.WatchResponse{Revision: 2, Event: &registryv1.WatchResponse_Changed{Changed: splitModel().GetModels()[0]}}
	g.until("another version answers", func(a answer) bool { return a.header.Get("X-Poterne-Model") == "small@v4" })
	g.until("that is remembered", remembered)
	// A write through this edge, which the registry has not told of yet, nor ever may: the
	// next request is answered as inference has it.
	revision.Store(3)
	g.inference.answering(version(5, "5"))
	if a := g.do("PUT", "/v1/registry/models/small/aliases/production", `{"version":5}`); a.status != http.StatusNotImplemented {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a := g.do("POST", chatPath, exactly("")); a.header.Get("X-Poterne-Model") != "small@v5" || g.serving(a) != "asked" {
		t.Errorf("after a write %s answers, which was %s", a.header.Get("X-Poterne-Model"), g.serving(a))
	}
}

// TestNothingIsRememberedWhereThatIsOff: every request asks.
func TestNothingIsRememberedWhereThatIsOff(t *testing.T) {
	t.Parallel()
	g, _, asked := resolving(t, 0)
	g.registry.models.Store(splitModel())
	for range 3 { // a watcher has taken them: the registry is followed
		g.registry.changes <- &registryv1.WatchResponse{Revision: 1, Event: &registryv1.WatchResponse_Heartbeat{Heartbeat: new(registryv1.Heartbeat)}}
	}
	last := g.asks(exactly(""), nil, 1, "miss", "hit", "hit")
	if n := asked.Load(); n != 3 || g.serving(last) != "asked" {
		t.Errorf("%d are asked of 3, and it was %s", n, g.serving(last))
	}
}
