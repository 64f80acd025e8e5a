package edge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

const routesPath = "/v1/admin/routes"

// route keeps a route.
func (g *gate) route(name, body string) answer {
	g.t.Helper()
	a := g.do(http.MethodPut, routesPath+"/"+name, `{"route":`+body+`}`)
	if a.status != http.StatusOK {
		g.t.Fatalf("%d %s", a.status, a.text)
	}
	return a
}

// failing has every model fail but those named; the others answer.
func (g *gate) failing(err error, well ...string) {
	rest := new(fakeInference)
	isWell := func(model string) bool { return slices.Contains(well, model) }
	g.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		if !isWell(req.GetModel()) {
			return nil, err
		}
		rest.by = &inferencev1.ServedBy{Model: req.GetModel(), Version: 1}
		return rest.Invoke(g.t.Context(), req)
	}
	g.inference.stream = func(req *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		if !isWell(req.GetModel()) {
			return err
		}
		rest.by = &inferencev1.ServedBy{Model: req.GetModel(), Version: 1}
		return rest.InvokeStream(req, out)
	}
}

func (g *gate) askModel(model, more string, pairs ...string) answer {
	g.t.Helper()
	return g.do(http.MethodPost, chatPath, fmt.Sprintf(sayHi, model, more), pairs...)
}

func (g *gate) askedModels() []string {
	g.inference.mu.Lock()
	defer g.inference.mu.Unlock()
	var out []string
	for _, r := range g.inference.invoked {
		out = append(out, r.GetModel())
	}
	g.inference.invoked = nil
	return out
}

func TestAnotherModelAnswersAndItIsSaid(t *testing.T) {
	for name, cached := range map[string]bool{"without a cache": false, "with one": true} {
		t.Run(name, func(t *testing.T) {
			g := open(t, func(c *edge.Config) {
				c.Security.Cache.Enabled, c.Security.Cache.Use = cached, "all"
			})
			g.inference.resolve = func(req *inferencev1.ResolveServingRequest) (*inferencev1.ResolveServingResponse, error) {
				return &inferencev1.ResolveServingResponse{Model: req.GetModel(), Version: 1, Digest: "sha256:" + req.GetModel()}, nil
			}
			g.route("big", `{"match":{"models":["big"]},"retry":{"attempts":2,"backoff":"0.001s"},"fallback":{"models":["worse","small"]}}`)
			g.failing(apierr.New(apierr.Unavailable, "no worker is ready to serve it; try again"), "small")
			for _, more := range []string{"", `,"stream":true`, ""} {
				a := g.askModel("big", more)
				if a.status != http.StatusOK || a.header.Get("X-Poterne-Model") != "small@v1" || a.header.Get("X-Poterne-Route") != "big" ||
					a.header.Get("X-Poterne-Fallback") != "big;reason=unavailable" {
					t.Fatalf("%d %v %s", a.status, a.header, a.text)
				}
				if !strings.Contains(a.text, `"model":"small"`) || len(a.header.Values("X-Poterne-Model")) != 1 {
					t.Errorf("it is not said who answers: %s", a.text)
				}
				if got := strings.Join(g.askedModels(), " "); got != "big big worse worse small" {
					t.Errorf("asked %s", got)
				}
			}
		})
	}
}

func TestNothingIsAskedAgainOnceTheAnswerHasBegun(t *testing.T) {
	g := open(t, nil)
	g.route("big", `{"retry":{"attempts":3,"on":["ROUTE_REASON_ENGINE_FAILED"]},"fallback":{"models":["small"]}}`)
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		_ = sendServedBy(out)
		_ = sendChunk(out, firstChunk)
		_ = sendChunk(out, helloChunk)
		return apierr.New(apierr.EngineFailed, "the engine broke")
	}
	a := g.askModel("big", `,"stream":true`)
	if !strings.Contains(a.text, "the engine broke") || len(g.askedModels()) != 1 {
		t.Errorf("%s", a.text)
	}
}

func TestASlowModelIsLeftForAnother(t *testing.T) {
	g := open(t, nil)
	g.route("big", `{"match":{"models":["big"]},"timeouts":{"first_token":"0.05s","attempt":"0.05s"},"fallback":{"models":["small"]}}`)
	rest := new(fakeInference)
	g.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		if req.GetModel() == "big" {
			<-time.After(time.Second)
		}
		return rest.Invoke(t.Context(), req)
	}
	g.inference.stream = func(req *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		if req.GetModel() == "big" {
			<-out.Context().Done()
			return out.Context().Err()
		}
		return rest.InvokeStream(req, out)
	}
	for _, more := range []string{"", `,"stream":true`} {
		if a := g.askModel("big", more); a.status != http.StatusOK || a.header.Get("X-Poterne-Fallback") != "big;reason=timeout" {
			t.Errorf("%d %v %s", a.status, a.header, a.text)
		}
	}
}

// A fallback is no way around what a key is for, or the policy.
func TestAFallbackMustBeAllowed(t *testing.T) {
	g := open(t, nil)
	made := g.do(http.MethodPost, "/v1/admin/api-keys", `{"name":"narrow","tenant":"acme","subject":"ada","roles":["developer"],"models":["big"]}`)
	key, _ := made.at("key").(string)
	if key == "" {
		t.Fatalf("%d %s", made.status, made.text)
	}
	g.route("big", `{"match":{"models":["big"]},"fallback":{"models":["small"]}}`)
	g.route("moved", `{"match":{"models":["old"]},"model":"small"}`)
	g.failing(apierr.New(apierr.Unavailable, "no worker is ready to serve it; try again"), "small")
	if a := g.askModel("big", "", "Authorization", "Bearer "+key); a.status != http.StatusServiceUnavailable || strings.Join(g.askedModels(), " ") != "big" {
		t.Errorf("%d %s", a.status, a.text)
	} else if told, steps := g.explained(a.header.Get("X-Request-Id"), "Authorization", "Bearer "+key); !slices.Contains(steps, "attempt skipped") || strings.Contains(told.text, "small") {
		t.Errorf("who may not have it is told of it: %s", told.text)
	} else if told, _ := g.explained(a.header.Get("X-Request-Id")); !strings.Contains(told.text, `"withheld_model","value":"small"`) {
		t.Errorf("the platform is not: %s", told.text)
	}
	g.route("moved", `{"match":{"models":["big"]},"priority":5,"model":"small"}`)
	if a := g.askModel("big", "", "Authorization", "Bearer "+key); a.status != http.StatusForbidden || len(g.askedModels()) != 0 {
		t.Errorf("rewritten: %d %s", a.status, a.text)
	}
	if a := g.askModel("big", ""); a.status != http.StatusOK || a.at("model") != "small" || a.header.Get("X-Poterne-Fallback") != "" {
		t.Errorf("who may have it: %d %s", a.status, a.text)
	}
}

func TestRoutesOverREST(t *testing.T) {
	g := open(t, nil)
	a := g.route("big", `{"match":{"models":["b*"],"headers":[{"name":"x-team","prefix":"blue"}]},"fallback":{"models":["small"]},"sticky":{"by":"cookie","name":"poterne"}}`)
	etag, _ := a.at("route", "etag").(string)
	if on, _ := a.at("route", "fallback", "on").([]any); len(on) != 5 {
		t.Errorf("what holds when nothing is said, as docs/routes.md lists it: %v", on)
	}
	if etag == "" || a.at("route", "fallback", "on", 0) != "ROUTE_REASON_UNREACHED" {
		t.Fatalf("%s", a.text)
	}
	for name, c := range map[string]struct {
		body string
		want int
		text string
	}{
		"another etag":   {`{"etag":"0","route":{}}`, http.StatusConflict, "etag"},
		"a loop":         {`{"route":{"match":{"models":["m"]},"fallback":{"models":["m"]}}}`, http.StatusBadRequest, "route.fallback.models[0]"},
		"a strange body": {`{"route":{"retry":{"attempts":99}}}`, http.StatusBadRequest, "attempts"},
		"a secret":       {`{"route":{"match":{"headers":[{"name":"authorization","present":true}]}}}`, http.StatusBadRequest, "route.match.headers[0].name"},
	} {
		if a := g.do(http.MethodPut, routesPath+"/big", c.body); a.status != c.want || !strings.Contains(a.text, c.text) {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	tested := g.do(http.MethodPost, routesPath+":test", `{"model":"big","headers":{"x-team":"blue-1"}}`)
	if tested.at("route", "name") != "big" || tested.at("models", 1) != "small" || tested.at("verdicts", 0, "matches") != true {
		t.Errorf("%s", tested.text)
	}
	tested = g.do(http.MethodPost, routesPath+":test", `{"model":"big"}`)
	if tested.at("route") != nil || tested.at("verdicts", 0, "misses") != "match.headers" {
		t.Errorf("%s", tested.text)
	}
	// A client without the cookie gets one, and with it stays where it is.
	first := g.askModel("big", "", "X-Team", "blue")
	cookie, _, _ := strings.Cut(first.header.Get("Set-Cookie"), ";")
	if !strings.HasPrefix(cookie, "poterne=") || !strings.Contains(first.header.Get("Set-Cookie"), "HttpOnly") {
		t.Fatalf("%v", first.header)
	}
	second := g.askModel("big", "", "X-Team", "blue", "Cookie", cookie)
	g.inference.mu.Lock()
	sessions := []string{g.inference.invoked[0].GetSessionId(), g.inference.invoked[1].GetSessionId()}
	g.inference.mu.Unlock()
	if second.header.Get("Set-Cookie") != "" || sessions[0] == "" || sessions[0] != sessions[1] {
		t.Errorf("%v %v", second.header, sessions)
	}
	if a := g.do(http.MethodDelete, routesPath+"/big?etag="+etag, ""); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := g.do(http.MethodGet, routesPath+"/big", ""); a.status != http.StatusNotFound {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// What is less urgent is turned away first, and told when to come again.
func TestLessUrgentRequestsAreTurnedAwayFirst(t *testing.T) {
	g := open(t, func(c *edge.Config) {
		c.Overload.Enabled, c.Overload.MinLimit, c.Overload.InitialLimit, c.Overload.MaxLimit = true, 2, 2, 2
		c.Overload.BatchShare = 0.5
	})
	entered, leave := make(chan struct{}), make(chan struct{})
	rest := new(fakeInference)
	g.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		if req.GetPriority() == inferencev1.Priority_PRIORITY_STANDARD {
			entered <- struct{}{}
			<-leave
		}
		return rest.Invoke(t.Context(), req)
	}
	done := make(chan answer)
	go func() { done <- g.askModel("small", "", "X-Poterne-Priority", "standard") }()
	<-entered
	if a := g.askModel("small", "", "X-Poterne-Priority", "batch"); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("batch: %d %v", a.status, a.header)
	}
	if a := g.askModel("small", "", "X-Poterne-Priority", "interactive"); a.status != http.StatusOK {
		t.Errorf("interactive: %d %s", a.status, a.text)
	}
	close(leave)
	<-done
	if a := g.askModel("small", "", "X-Poterne-Priority", "batch"); a.status != http.StatusOK {
		t.Errorf("batch, later: %d %s", a.status, a.text)
	}
}

// A fallback that cannot be asked for the request is passed over, and where none
// answers the caller is told how the model failed that they asked for.
func TestAFallbackThatCannotBeAskedIsPassedOver(t *testing.T) {
	broken := apierr.New(apierr.EngineFailed, "the engine broke")
	for name, cannot := range map[string]error{
		"no such model":         apierr.New(apierr.ModelNotFound, "there is no model \"gone\"").WithField("model"),
		"for something else":    apierr.Invalid("model", "model \"gone\" is for embeddings, and not for chat and completion"),
		"nothing serves":        apierr.New(apierr.FailedPrecondition, "model \"gone\" has no version yet: create one").WithField("model"),
		"a version that is not": apierr.New(apierr.PermissionDenied, "the policy does not let you have the version of the model \"gone\""),
		"too small":             apierr.New(apierr.ContextLengthExceeded, "the context of gone is 16 tokens"),
	} {
		t.Run(name, func(t *testing.T) {
			g := open(t, nil)
			g.route("fb", `{"match":{"models":["broken"]},"fallback":{"models":["gone","other"]}}`)
			well := false
			rest := new(fakeInference)
			fails := func(model string) error {
				switch {
				case model == "gone":
					return cannot
				case model == "other" && well:
					return nil
				}
				return broken
			}
			g.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
				if err := fails(req.GetModel()); err != nil {
					return nil, err
				}
				rest.by = &inferencev1.ServedBy{Model: req.GetModel(), Version: 1}
				return rest.Invoke(g.t.Context(), req)
			}
			g.inference.stream = func(req *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
				if err := fails(req.GetModel()); err != nil {
					return err
				}
				rest.by = &inferencev1.ServedBy{Model: req.GetModel(), Version: 1}
				return rest.InvokeStream(req, out)
			}
			for _, more := range []string{"", `,"stream":true`} {
				well = false
				a := g.askModel("broken", more)
				if a.status != http.StatusBadGateway || !strings.Contains(a.text, "the engine broke") || strings.Contains(a.text, "gone") || a.header.Get("X-Poterne-Attempts") != "3" {
					t.Errorf("%s: nobody answers: %d %v %s", more, a.status, a.header, a.text)
				}
				if got := strings.Join(g.askedModels(), " "); got != "broken gone other" {
					t.Errorf("asked %s", got)
				}
				if told, _ := g.explained(a.header.Get("X-Request-Id")); !strings.Contains(told.text, `"gone"`) || !strings.Contains(told.text, `"other"`) {
					t.Errorf("the chain is not explained: %s", told.text)
				}
				well = true
				a = g.askModel("broken", more)
				if a.status != http.StatusOK || a.header.Get("X-Poterne-Fallback") != "broken;reason=engine-failed" || a.header.Get("X-Poterne-Attempts") != "3" {
					t.Errorf("%s: other answers: %d %v %s", more, a.status, a.header, a.text)
				}
				g.askedModels()
			}
		})
	}
}

// What is wrong with the request itself is no reason to ask anybody else.
func TestARequestsOwnFaultAsksNobodyElse(t *testing.T) {
	g := open(t, nil)
	g.route("fb", `{"match":{"models":["broken"]},"fallback":{"models":["other","third"]}}`)
	for _, own := range []error{
		apierr.Invalid("temperature", "temperature must not be above 2"),
		apierr.Invalid("model", "model \"broken\" is for embeddings, and not for chat and completion"),
		apierr.New(apierr.FailedPrecondition, "this request was in hand when 2 engines ended"),
	} {
		g.failing(own)
		if a := g.askModel("broken", ""); a.status != http.StatusBadRequest || len(g.askedModels()) != 1 {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	g.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		if req.GetModel() == "broken" {
			return nil, apierr.New(apierr.EngineFailed, "the engine broke")
		}
		return nil, apierr.Invalid("temperature", "temperature must not be above 1")
	}
	if a := g.askModel("broken", ""); a.status != http.StatusBadGateway || strings.Join(g.askedModels(), " ") != "broken other" {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// A breaker passes a model over for others: where none of these can be asked, the model
// is, and answers when it is well again.
func TestABreakerIsForWhereOthersCanBeAsked(t *testing.T) {
	for name, cached := range map[string]bool{"without a cache": false, "with one": true} {
		t.Run(name, func(t *testing.T) {
			g := open(t, func(c *edge.Config) { c.Security.Cache.Enabled, c.Security.Cache.Use = cached, "all" })
			g.inference.resolve = func(req *inferencev1.ResolveServingRequest) (*inferencev1.ResolveServingResponse, error) {
				return &inferencev1.ResolveServingResponse{Model: req.GetModel(), Version: 1, Digest: "sha256:" + req.GetModel()}, nil
			}
			g.route("fb", `{"match":{"models":["broken"]},"fallback":{"models":["gone"]}}`)
			well, rest := false, new(fakeInference)
			g.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
				switch {
				case req.GetModel() == "gone":
					return nil, apierr.New(apierr.ModelNotFound, "there is no model \"gone\"").WithField("model")
				case !well:
					return nil, apierr.New(apierr.EngineFailed, "the engine broke")
				}
				rest.by = &inferencev1.ServedBy{Model: req.GetModel(), Version: 1}
				return rest.Invoke(g.t.Context(), req)
			}
			for i := range 7 { // five open the breaker
				if a := g.askModel("broken", ""); a.status != http.StatusBadGateway || !strings.Contains(a.text, "the engine broke") {
					t.Errorf("%d: %d %s", i, a.status, a.text)
				}
			}
			well = true
			g.askedModels()
			a := g.askModel("broken", "")
			if a.status != http.StatusOK || a.header.Get("X-Poterne-Fallback") != "" || strings.Join(g.askedModels(), " ") != "gone broken" {
				t.Errorf("%d %v %s", a.status, a.header, a.text)
			}
			if n := len(a.header.Values("Ratelimit")); n > 1 {
				t.Errorf("limits are told %d times", n)
			}
		})
	}
}
