package edge_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// An engine that is started again is waited for where nobody else answers, and once.
func TestEnginesAreWaitedForWhereThereIsNoOtherModel(t *testing.T) {
	for name, c := range map[string]struct {
		cached  bool
		route   string
		waits   string // 1: the inference service may wait
		vectors string
	}{
		"no route":                   {waits: "big 1"},
		"a fallback":                 {route: `{"fallback":{"models":["worse","last"]}}`, waits: "big 0 worse 0 last 1"},
		"a fallback, and the cache":  {cached: true, route: `{"fallback":{"models":["worse","last"]}}`, waits: "big 0 worse 0 last 1"},
		"a fallback for others":      {route: `{"fallback":{"models":["worse"],"on":["ROUTE_REASON_OVERLOADED"]}}`, waits: "big 1"},
		"a retry":                    {route: `{"retry":{"attempts":3,"backoff":"0.001s"}}`, waits: "big 1 big 0 big 0", vectors: "1 0 0"},
		"a retry, and the cache":     {cached: true, route: `{"retry":{"attempts":2,"backoff":"0.001s"}}`, waits: "big 1 big 0"},
		"a retry, and then fallback": {route: `{"retry":{"attempts":2,"backoff":"0.001s"},"fallback":{"models":["worse"]}}`, waits: "big 0 big 0 worse 1 worse 0"},
	} {
		t.Run(name, func(t *testing.T) {
			g := open(t, func(cfg *edge.Config) { cfg.Security.Cache.Enabled, cfg.Security.Cache.Use = c.cached, "all" })
			g.inference.resolve = func(req *inferencev1.ResolveServingRequest) (*inferencev1.ResolveServingResponse, error) {
				return &inferencev1.ResolveServingResponse{Model: req.GetModel(), Version: 1, Digest: "sha256:" + req.GetModel()}, nil
			}
			if c.route != "" {
				g.route("r", c.route)
			}
			away := apierr.New(apierr.Unavailable, "no worker is ready to serve it; try again")
			g.failing(away)
			g.inference.embedding = func(context.Context) error { return away }
			for _, more := range []string{"", `,"stream":true`} {
				g.askModel("big", more)
				if got := strings.Join(g.waits(), " "); got != c.waits {
					t.Errorf("%s: asked %s; want %s", more, got, c.waits)
				}
			}
			if c.vectors == "" {
				return
			}
			g.do(http.MethodPost, "/v1/embeddings", `{"model":"big","input":"a"}`)
			var got []string
			for _, r := range g.inference.embedded {
				got = append(got, mayWait(r))
			}
			if strings.Join(got, " ") != c.vectors {
				t.Errorf("vectors: %v; want %s", got, c.vectors)
			}
		})
	}
}

// waits is the models asked, and whether each may have waited for an engine.
func (g *gate) waits() []string {
	g.inference.mu.Lock()
	defer g.inference.mu.Unlock()
	var out []string
	for _, r := range g.inference.invoked {
		out = append(out, r.GetModel(), mayWait(r))
	}
	g.inference.invoked = nil
	return out
}

func mayWait(r interface{ GetNoRestartWait() bool }) string {
	if r.GetNoRestartWait() {
		return "0"
	}
	return "1"
}
