package edge_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// ResolveServing says what served says, as the real one would.
func (f *fakeInference) ResolveServing(_ context.Context, req *inferencev1.ResolveServingRequest) (*inferencev1.ResolveServingResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.resolve != nil {
		return f.resolve(req)
	}
	by := f.served()
	return &inferencev1.ResolveServingResponse{
		Model: by.GetModel(), Version: by.GetVersion(), Digest: by.GetDigest(), Experiment: by.GetExperiment(), Arm: by.GetArm(),
	}, nil
}

func (f *fakeInference) answering(by *inferencev1.ServedBy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by = by
}

func version(n int32, digest string) *inferencev1.ServedBy {
	return &inferencev1.ServedBy{Model: "small", Version: n, Digest: "sha256:" + digest, WorkerId: "w1", Attempts: 1}
}

// caching is a gate that keeps answers.
func caching(t *testing.T, change func(*edge.Config), opts ...edge.Option) *gate {
	t.Helper()
	g := open(t, func(c *edge.Config) {
		c.Security.Cache.Enabled = true
		if change != nil {
			change(c)
		}
	}, opts...)
	g.inference.answering(version(3, "3"))
	return g
}

const (
	exact       = `{"model":"small","messages":[{"role":"user","content":"Hi"}],"temperature":0%s}`
	cacheHeader = "X-Poterne-Cache"
)

func exactly(more string) string { return fmt.Sprintf(exact, more) }

// asks holds what the cache does for requests, one after another, and how many of
// them an engine answered.
func (g *gate) asks(body string, pairs []string, engine int, states ...string) (last answer) {
	g.t.Helper()
	before := g.inference.calls()
	for i, want := range states {
		last = g.do("POST", chatPath, body, pairs...)
		if got := last.header.Get(cacheHeader); got != want {
			g.t.Errorf("%s %q: request %d: %s, want %s (%d %.200s)", body, pairs, i+1, got, want, last.status, last.text)
		}
	}
	if n := g.inference.calls() - before; n != engine {
		g.t.Errorf("%s %q: the engine answered %d, want %d", body, pairs, n, engine)
	}
	return last
}

func TestAnAnswerIsGivenAgain(t *testing.T) {
	g := caching(t, nil)
	ana, ben := g.reader("ana"), g.reader("ben")
	first := g.asks(exactly(""), ana, 1, "miss")
	again := g.asks(exactly(""), ben, 0, "hit")
	if again.at("choices", 0, "message", "content") != "Hello" || again.at("usage", "total_tokens") != 9.0 || again.at("timings", "cache_n") != 3.0 || again.at("model") != "small" {
		t.Errorf("got %s", again.text)
	}
	if h := again.header; h.Get("Age") != "0" || !strings.HasPrefix(h.Get("Cache-Control"), "private, max-age=3") || h.Get("X-Poterne-Model") != "small@v3" {
		t.Errorf("the header is %v", h)
	}
	if first.header.Get("Cache-Control") != "no-store" {
		t.Errorf("what was made is to be kept: %v", first.header)
	}
	if created, _ := again.at("created").(float64); time.Since(time.Unix(int64(created), 0)) > time.Hour {
		t.Errorf("it was created at %v", created)
	}
	// The id is the caller's own: a verdict of theirs counts, and nobody else's.
	id := text(again.at("id"))
	if id == text(first.at("id")) || g.do("POST", "/v1/feedback", `{"response_id":"`+id+`","rating":"RATING_UP"}`, ana...).status == 200 {
		t.Errorf("the id is %s", id)
	}
	rec := g.recordsOf(again.header.Get("X-Request-Id"))
	for range 200 {
		if len(rec) > 0 {
			break
		}
		<-time.After(10 * time.Millisecond)
		rec = g.recordsOf(again.header.Get("X-Request-Id"))
	}
	if at(rec, 0, "cache") != "hit" || at(rec, 0, "served_by") != "small@v3" || at(rec, 0, "completion_tokens") != nil && at(rec, 0, "completion_tokens") != 0.0 {
		t.Errorf("the record is %v", rec)
	}
	stats := g.do("GET", "/v1/admin/cache", "")
	if stats.at("hits") != 1.0 || stats.at("misses") != 1.0 || stats.at("hit_ratio") != 0.5 || stats.at("saved_prompt_tokens") != 7.0 || stats.at("saved_completion_tokens") != 2.0 {
		t.Errorf("the cache did %s", stats.text)
	}
}

func TestWhichRequestsAreKept(t *testing.T) {
	g := caching(t, nil)
	const warm = `{"model":"small","messages":[{"role":"user","content":"warm"}]%s}`
	with := func(more string) string { return fmt.Sprintf(warm, more) }
	on, off := []string{cacheHeader, "on"}, []string{cacheHeader, "off"}
	g.asks(with(""), nil, 2, "bypass", "bypass")
	g.asks(with(`,"temperature":0.7`), nil, 2, "bypass", "bypass")
	g.asks(with(`,"temperature":0.7`), on, 1, "miss", "hit")
	g.asks(with(`,"cache":{"use":"on"}`), nil, 1, "miss", "hit")
	g.asks(exactly(""), off, 2, "bypass", "bypass")
	g.asks(exactly(`,"cache":{"no-store":true}`), nil, 1, "bypass")
	g.asks(exactly(""), []string{"Cache-Control", "no-store"}, 1, "bypass")
	if a := g.do("POST", chatPath, exactly(""), "Cache-Control", "only-if-cached"); a.status != 504 || a.at("error", "code") != "not_cached" && !strings.Contains(strings.ToLower(a.text), "not_cached") {
		t.Errorf("%d %s", a.status, a.text)
	}
	g.asks(exactly(""), nil, 1, "miss", "hit")
	g.asks(exactly(""), []string{"Cache-Control", "only-if-cached"}, 0, "hit")
	g.asks(exactly(""), []string{"Cache-Control", "no-cache"}, 2, "miss", "miss")
	g.asks(exactly(""), []string{"Cache-Control", "max-age=1000"}, 0, "hit")
	if _, sent := g.inference.last(t)["cache"]; sent {
		t.Error("the engine was told about the cache")
	}
	for _, bad := range []string{`,"cache":{"use":"maybe"}`, `,"cache":7`} {
		if a := g.do("POST", chatPath, exactly(bad)); a.status != 400 || a.at("error", "param") == nil {
			t.Errorf("%s: %d %s", bad, a.status, a.text)
		}
	}
	// What else a request says makes it another one.
	for _, more := range []string{`,"max_tokens":5`, `,"user":"u1"`, `,"user":"u2"`, `,"guided_regex":"a"`, `,"seed":9007199254740993`, `,"stop":["a","b"]`} {
		g.asks(exactly(more), nil, 1, "miss", "hit")
	}
	g.asks(exactly(`,"stop":["b","a"]`), nil, 0, "hit")
}

func TestNoCacheIsNoHeader(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", chatPath, exactly(`,"cache":{"use":"on"}`), "Cache-Control", "only-if-cached")
	if a.status != 200 || a.header.Get(cacheHeader) != "bypass" {
		t.Errorf("%d %v", a.status, a.header)
	}
	if _, sent := g.inference.last(t)["cache"]; sent {
		t.Error("the engine was told about the cache")
	}
	if a := g.do("POST", "/v1/admin/cache:purge", `{}`); a.status != 400 {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/admin/cache", ""); a.status != 200 || a.at("enabled") != false {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// An alias that moved, a policy, an arm: what was made by another is not given.
func TestAnotherVersionIsAskedAnew(t *testing.T) {
	g := caching(t, nil)
	g.asks(exactly(""), nil, 1, "miss", "hit")
	g.inference.answering(version(4, "4"))
	if a := g.asks(exactly(""), nil, 1, "miss", "hit"); a.header.Get("X-Poterne-Model") != "small@v4" {
		t.Errorf("answered by %s", a.header.Get("X-Poterne-Model"))
	}
	arm := version(4, "4")
	arm.Experiment, arm.Arm = "price", "canary"
	g.inference.answering(arm)
	if a := g.asks(exactly(""), nil, 1, "miss", "hit"); a.header.Get("X-Poterne-Arm") != "canary" {
		t.Errorf("the arm is %q", a.header.Get("X-Poterne-Arm"))
	}
	g.inference.answering(version(3, "3"))
	g.asks(exactly(""), nil, 0, "hit") // back again
	// Something else answers than was to: it is not kept in the other's name.
	g.inference.mu.Lock()
	g.inference.resolve = func(*inferencev1.ResolveServingRequest) (*inferencev1.ResolveServingResponse, error) {
		return &inferencev1.ResolveServingResponse{Model: "small", Version: 9, Digest: "sha256:9"}, nil
	}
	g.inference.mu.Unlock()
	g.asks(exactly(""), nil, 2, "miss", "miss")
	g.inference.mu.Lock()
	g.inference.resolve = func(*inferencev1.ResolveServingRequest) (*inferencev1.ResolveServingResponse, error) {
		return nil, apierr.New(apierr.Unavailable, "not now")
	}
	g.inference.mu.Unlock()
	g.asks(exactly(""), nil, 1, "bypass")
}

func TestTenantsShareNothing(t *testing.T) {
	g := caching(t, func(c *edge.Config) {
		c.Security.Cache.Rules = []respcache.Rule{{Tenants: []string{"careful"}, Use: respcache.Deterministic, PerSubject: true}, {Tenants: []string{"never"}, Use: respcache.Off}}
	})
	acme, other := g.keyFor("acme", "admin"), g.keyFor("other", "admin")
	g.asks(exactly(""), acme, 1, "miss", "hit")
	g.asks(exactly(""), other, 1, "miss", "hit")
	g.asks(exactly(""), nil, 1, "miss", "hit") // the platform's own
	one, _ := g.newKey(`{"name":"1","tenant":"careful","subject":"one","roles":["reader"]}`)
	two, _ := g.newKey(`{"name":"2","tenant":"careful","subject":"two","roles":["reader"]}`)
	g.asks(exactly(""), one, 1, "miss", "hit")
	g.asks(exactly(""), two, 1, "miss", "hit")
	g.asks(exactly(""), g.keyFor("never", "admin"), 2, "bypass", "bypass")
	// A tenant purges only its own, and learns only of its own.
	for _, c := range []struct {
		key    []string
		body   string
		status int
	}{{acme, `{"tenant":"other"}`, 403}, {acme, `{"tenant":"*"}`, 403}, {g.keyFor("acme", "reader"), `{}`, 403}, {acme, `{}`, 200}} {
		if a := g.do("POST", "/v1/admin/cache:purge", c.body, c.key...); a.status != c.status {
			t.Errorf("%s: %d %s", c.body, a.status, a.text)
		}
	}
	g.asks(exactly(""), acme, 1, "miss", "hit")
	g.asks(exactly(""), other, 0, "hit")
	if a := g.do("GET", "/v1/admin/cache?tenant=other", "", acme...); a.status != 403 {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/admin/cache", "", acme...); a.at("hits") != 2.0 || a.at("entries") != 0.0 {
		t.Errorf("%s", a.text)
	}
	if a := g.do("GET", "/v1/admin/cache?tenant=*", ""); a.at("misses") != 6.0 || a.at("entries") == 0.0 {
		t.Errorf("%s", a.text)
	}
	for body, want := range map[string]string{
		`{"tenant":"other"}`: "", `{"tenant":"*"}`: "", `{"tenant":"*","model":"small"}`: "", `{"model":"small"}`: "",
		`{"tenant":"othre"}`:                     `the tenant "othre" has no API key now`,
		`{"tenant":"other","collection":"gone"}`: `the tenant "other" has no collection "gone" now`,
		`{"collection":"gone"}`:                  "", `{"tenant":"other","collection":"away"}`: "", `{"tenant":"*","collection":"gone"}`: "",
	} {
		if strings.Contains(body, `"small"`) {
			body = strings.Replace(body, "}", `,"collection":"none"}`, 1)
		}
		a := g.do("POST", "/v1/admin/cache:purge", body)
		if w := a.at("warnings", 0); a.status != 200 || (w != nil) != (want != "") || !strings.Contains(text(w), want) {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
	g.asks(exactly(""), other, 1, "miss", "hit")
	g.do("POST", "/v1/admin/cache:purge", `{"tenant":"other","model":"large"}`)
	g.asks(exactly(""), other, 0, "hit")
	g.do("POST", "/v1/admin/cache:purge", `{"tenant":"*","model":"small"}`)
	g.asks(exactly(""), other, 1, "miss")
}

// A key that is narrowed, and one that never was for the model, is refused before
// anything that is kept is looked for.
func TestRightsComeFirst(t *testing.T) {
	g := caching(t, nil)
	all, id := g.newKey(`{"name":"all","subject":"s","roles":["reader"]}`)
	g.asks(exactly(""), all, 1, "miss", "hit")
	if a := g.do("PATCH", "/v1/admin/api-keys/"+id, `{"api_key":{"models":["large"]}}`); a.status != 200 {
		t.Fatal(a.text)
	}
	if a := g.do("POST", chatPath, exactly(""), all...); a.status != 403 || a.header.Get(cacheHeader) != "" {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestWhatIsNeverKept(t *testing.T) {
	g := caching(t, nil)
	whole := func(choice string) {
		g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
			return &inferencev1.InvokeResponse{ServedBy: version(3, "3"), Usage: usage(), Body: []byte(`{"choices":[{"index":0,` + choice + `}]}`)}, nil
		}
	}
	const called = `"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"`
	for name, c := range map[string]struct{ choice, ask string }{
		"tools":     {called, "on, tools"},
		"truncated": {`"message":{"role":"assistant","content":"a"},"finish_reason":"length"`, "truncated"},
		"filtered":  {`"message":{"role":"assistant","content":"a"},"finish_reason":"content_filter"`, ""},
		"broken":    {`"message":{"role":"assistant","content":"a"},"finish_reason":null`, ""},
	} {
		whole(c.choice)
		body := exactly(`,"user":"` + name + `"`)
		g.asks(body, nil, 2, "miss", "miss")
		if c.ask != "" {
			g.asks(body, []string{cacheHeader, c.ask}, 1, "miss", "hit")
		}
	}
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		return nil, apierr.New(apierr.Overloaded, "no room")
	}
	for range 2 {
		if a := g.do("POST", chatPath, exactly(`,"user":"error"`)); a.status != 503 {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	g.inference.unary = nil
	g.asks(exactly(`,"user":"error"`), nil, 1, "miss")
	standIn := version(3, "3")
	standIn.VariantReason = inferencev1.VariantReason_VARIANT_REASON_SATURATION
	g.inference.answering(standIn)
	g.asks(exactly(`,"user":"stand-in"`), nil, 2, "miss", "miss")
}

func TestPassagesAndWhoMayReadThem(t *testing.T) {
	g := caching(t, nil)
	g.search.hits = []*searchv1.Hit{{DocumentId: "d1", ChunkId: "d1#0", Text: "The price is 5.", Score: 1}}
	retrieving := exactly(`,"retrieval":{"collection":"docs"}`)
	lawyer, clerk := g.keyFor("acme", "reader", "law"), g.keyFor("acme", "reader", "sales")
	g.asks(retrieving, lawyer, 1, "miss")
	again := g.asks(retrieving, lawyer, 0, "hit")
	if again.at("choices", 0, "message", "annotations", 0, "document_id") != "d1" {
		t.Errorf("it rests on nothing: %s", again.text)
	}
	g.asks(retrieving, clerk, 1, "miss", "hit")
	g.search.mu.Lock()
	g.search.generation++ // a document was taken away, or its readers changed
	g.search.hits = nil
	g.search.mu.Unlock()
	if a := g.asks(retrieving, lawyer, 1, "miss"); a.at("choices", 0, "message", "annotations", 0) != nil {
		t.Errorf("it rests on what is gone: %s", a.text)
	}
	g.do("POST", "/v1/admin/cache:purge", `{"collection":"other"}`, g.keyFor("acme", "admin")...)
	g.asks(retrieving, lawyer, 0, "hit")
	g.do("POST", "/v1/admin/cache:purge", `{"collection":"docs"}`, g.keyFor("acme", "admin")...)
	g.asks(retrieving, lawyer, 1, "miss")
}

func TestKnownVectorsAreNotMadeAgain(t *testing.T) {
	g := caching(t, nil)
	inputs := func(from, to int) string {
		var list []string
		for i := from; i < to; i++ {
			list = append(list, fmt.Sprintf("%q", fmt.Sprint("text ", i)))
		}
		return `{"model":"small","input":[` + strings.Join(list, ",") + `]}`
	}
	const path = "/v1/embeddings"
	if a := g.do("POST", path, inputs(0, 7)); a.header.Get(cacheHeader) != "miss" {
		t.Errorf("%v", a.header)
	}
	a := g.do("POST", path, inputs(0, 10))
	list, _ := a.at("data").([]any)
	if asked := g.inference.embedded; len(asked) != 2 || len(asked[1].GetInputs()) != 3 || len(list) != 10 || at(list, 9, "index") != 9.0 || a.header.Get(cacheHeader) != "miss" {
		t.Errorf("%d inputs for %d vectors", len(asked[1].GetInputs()), len(list))
	}
	a = g.do("POST", path, strings.Replace(inputs(0, 10), `}`, `,"encoding_format":"base64"}`, 1))
	if a.header.Get(cacheHeader) != "hit" || text(a.at("data", 3, "embedding")) == "" || a.at("usage", "prompt_tokens") != 8.0 {
		t.Errorf("%v %s", a.header, a.text)
	}
	for _, other := range []string{`,"dimensions":2}`, `,"input_type":"query"}`, `,"truncate":true}`} {
		if a := g.do("POST", path, strings.Replace(inputs(0, 1), `}`, other, 1)); a.header.Get(cacheHeader) != "miss" {
			t.Errorf("%s: %v", other, a.header)
		}
	}
	if a := g.do("POST", path, inputs(0, 7), g.keyFor("acme", "admin")...); a.header.Get(cacheHeader) != "miss" {
		t.Errorf("another tenant's: %v", a.header)
	}
	g.inference.answering(version(4, "4"))
	if a := g.do("POST", path, inputs(0, 7)); a.header.Get(cacheHeader) != "miss" {
		t.Errorf("another version's: %v", a.header)
	}
}

func TestQuestionsOfOneMeaning(t *testing.T) {
	g := caching(t, func(c *edge.Config) {
		c.Security.Cache.Rules = []respcache.Rule{{
			Tenants: []string{"acme"}, Use: respcache.Deterministic, Semantic: respcache.Semantic{Model: "vectors", Threshold: 0.9},
		}}
	})
	acme := g.keyFor("acme", "admin")
	asking := func(text, more string) string {
		return fmt.Sprintf(`{"model":"small","messages":[{"role":"system","content":"Be short."},{"role":"user","content":%q}],"temperature":0%s}`, text, more)
	}
	// The fake gives every text the same vector.
	g.asks(asking("What is the price?", ""), acme, 1, "miss", "hit")
	a := g.asks(asking("How much is it?", ""), acme, 0, "hit-semantic")
	if a.header.Get("X-Poterne-Cache-Similarity") != "1.0000" {
		t.Errorf("%v", a.header)
	}
	const tool = `,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]`
	for _, other := range []string{`,"seed":1`, `,"max_tokens":3`, `,"cache":{"semantic":false}`, tool} {
		g.asks(asking("How much would it be?", other), acme, 1, "miss")
	}
	g.asks(strings.Replace(asking("And how much?", ""), "Be short", "Be long", 1), acme, 1, "miss")
	// The same vector, and other numbers.
	g.asks(asking("How much are 2 of it?", ""), acme, 1, "miss", "hit")
	g.asks(asking("What do 2 of these cost?", ""), acme, 0, "hit-semantic")
	g.asks(asking("What do 3 of these cost?", ""), acme, 1, "miss")
	g.asks(asking("What do ３ of 2 cost?", ""), acme, 1, "miss")
	g.asks(asking("How much is it?", ""), nil, 1, "miss") // a tenant that does not want it
	g.asks(asking("How much is this?", ""), nil, 1, "miss")
	if n := len(g.inference.embedded); n == 0 {
		t.Error("nothing was compared")
	}
}
