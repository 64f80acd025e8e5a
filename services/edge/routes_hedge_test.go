package edge_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// pair is a backend that is asked twice: first and second are what the two calls do
// before they answer.
type pair struct {
	calls, cancelled atomic.Int32
	begun            chan struct{} // of the second call
	first, second    func(ctx context.Context, p *pair)
}

func newPair(first, second func(ctx context.Context, p *pair)) *pair {
	return &pair{begun: make(chan struct{}), first: first, second: second}
}

func (p *pair) call(ctx context.Context) error {
	do := p.first
	switch n := p.calls.Add(1); {
	case n == 2:
		close(p.begun)
		do = p.second
	case n > 2:
		return nil
	}
	if do != nil {
		do(ctx, p)
	}
	if ctx.Err() != nil {
		p.cancelled.Add(1)
	}
	return ctx.Err()
}

// waits until its context ends.
func waits(ctx context.Context, _ *pair) {
	select {
	case <-ctx.Done():
	case <-time.After(30 * time.Second):
	}
}

// together answers once the other one is under way, too.
func together(_ context.Context, p *pair) { <-p.begun }

// A second request is made where the first is slow; whichever answers first does so, the
// other one is cancelled, and what is known is billed.
func TestHedges(t *testing.T) {
	g := open(t, nil)
	reader := g.keyFor("acme", "reader")
	g.route("tail", `{"match":{"operations":["ROUTE_OPERATION_EMBED","ROUTE_OPERATION_SEARCH"]},"hedge_delay":"0.03s"}`)
	embed := func() answer {
		return g.do("POST", "/v1/embeddings", `{"model":"small","input":"x"}`, reader...)
	}
	search := func() answer {
		return g.do("POST", "/v1/collections/handbook:search", `{"query":"x"}`)
	}
	usage := func() (requests, tokens any) {
		a := g.do("GET", "/v1/usage", "", reader...)
		return a.at("total", "requests"), a.at("total", "input_tokens")
	}
	embed()
	billed, counted := usage()
	one, ok := counted.(float64)
	if billed != 1.0 || !ok || one == 0 {
		t.Fatalf("an embedding is billed %v, %v", billed, counted)
	}
	asked := 1.0
	for name, c := range map[string]struct {
		first, second    func(ctx context.Context, p *pair)
		calls, cancelled int32
		decision         string
	}{
		"the first is slow":  {waits, nil, 2, 1, "won"},
		"both answer":        {together, nil, 2, -1, ""},
		"the second is slow": {func(context.Context, *pair) { <-time.After(60 * time.Millisecond) }, waits, 2, 1, "lost"},
		"the first is soon":  {nil, nil, 1, 0, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			for what, ask := range map[string]func() answer{"embedding": embed, "search": search} {
				p := newPair(c.first, c.second)
				g.inference.embedding, g.search.searching = p.call, p.call
				begin := time.Now()
				a := ask()
				if a.status != http.StatusOK || time.Since(begin) > 10*time.Second {
					t.Fatalf("%s: %d after %v: %s", what, a.status, time.Since(begin), a.text)
				}
				if what == "embedding" {
					asked++
				}
				if n := p.calls.Load(); n != c.calls {
					t.Errorf("%s: asked %d times", what, n)
				}
				for end := time.Now().Add(10 * time.Second); c.cancelled >= 0 && p.cancelled.Load() != c.cancelled; <-time.After(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("%s: %d were cancelled", what, p.cancelled.Load())
					}
				}
				attempts := map[int32]string{1: "", 2: "2"}[c.calls]
				if a.header.Get("X-Poterne-Route") != "tail" || len(a.header.Values("X-Poterne-Route")) != 1 || a.header.Get("X-Poterne-Attempts") != attempts {
					t.Errorf("%s: it is said %v", what, a.header)
				}
				told, steps := g.explained(a.header.Get("X-Request-Id"))
				switch hedged := slices.Contains(steps, "attempt hedged"); {
				case c.decision == "none" && hedged, c.decision != "none" && !hedged, c.decision == "won" && !strings.Contains(told.text, "it won"), c.decision == "lost" && !strings.Contains(told.text, "it lost"):
					t.Errorf("%s: it is told %v: %s", what, steps, told.text)
				}
			}
		})
	}
	// Where both answered, the one that lost may have been heard.
	if requests, tokens := usage(); requests != asked && requests != asked+1 || tokens != requests.(float64)*one { //nolint:errcheck // it is a number
		t.Errorf("%v requests and %v tokens were billed of %v", requests, tokens, asked)
	}
}

// Of two searches at once each is billed for what is known of it: what the answer tells,
// and what the one tells that failed. Of one that is cancelled nothing is heard over a
// network.
func TestEachOfTwoSearchesIsBilled(t *testing.T) {
	for name, c := range map[string]struct {
		first func(ctx context.Context, p *pair) error
		want  string
	}{
		"the first fails": {func(_ context.Context, p *pair) error {
			<-p.begun
			return apierr.Invalid("rerank.model", "rerank.model: there is none")
		}, "ada embed e5@v2 2: 7 tokens, 0 documents, 21"},
		"the first is cancelled": {func(ctx context.Context, p *pair) error {
			waits(ctx, p)
			return ctx.Err()
		}, "ada embed e5@v2 1: 2 tokens, 0 documents, 6"},
	} {
		t.Run(name, func(t *testing.T) {
			g, ada, admin := searching(t)
			g.route("tail", `{"match":{"operations":["ROUTE_OPERATION_SEARCH"]},"hedge_delay":"0.03s"}`)
			g.search.works = []*searchv1.ModelWork{embedded(2)}
			p := newPair(nil, nil)
			failed := make(chan struct{})
			g.search.searching = func(ctx context.Context) error {
				if p.calls.Add(1) == 1 {
					defer close(failed)
					return failing(ctx, []*searchv1.ModelWork{embedded(5)}, c.first(ctx, p))
				}
				if close(p.begun); name == "the first fails" {
					<-failed
				}
				return nil
			}
			a := g.do("POST", searchPath, `{"query":"days"}`, ada...)
			if a.status != http.StatusOK || a.header.Get("X-Poterne-Attempts") != "2" || a.at("model_work", 0, "input_tokens") != 2.0 || a.at("model_work", 1) != nil {
				t.Fatalf("%d %v %s", a.status, a.header, a.text)
			}
			<-failed // the edge hears of it in a moment
			for end := time.Now().Add(10 * time.Second); g.billed(admin) != c.want && time.Now().Before(end); <-time.After(50 * time.Millisecond) {
			}
			g.wantBilled("both", admin, c.want)
		})
	}
}

// Hedges are taken from the budget of retries: without one, nothing is asked twice.
func TestHedgesKeepToTheBudget(t *testing.T) {
	g := open(t, nil)
	g.route("tail", `{"match":{"operations":["ROUTE_OPERATION_SEARCH"]},"hedge_delay":"0.001s"}`)
	var calls atomic.Int32
	g.search.searching = func(context.Context) error {
		calls.Add(1)
		<-time.After(10 * time.Millisecond)
		return nil
	}
	const searches = 200
	for range searches {
		if a := g.do("POST", "/v1/collections/handbook:search", `{"query":"x"}`); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.text)
		}
	}
	// 20 per cent of them, and 100 in the ten seconds of the window in any case.
	if n := calls.Load() - searches; n < 50 || n > 160 {
		t.Errorf("%d of %d searches were asked a second time", n, searches)
	}
}
