package edge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// holder makes a key, and returns the headers that show it.
func (g *gate) holder(tenant, subject, role, more string) []string {
	g.t.Helper()
	a := g.do("POST", "/v1/admin/api-keys", fmt.Sprintf(`{"name":"k","tenant":%q,"subject":%q,"roles":[%q]%s}`, tenant, subject, role, more))
	if a.status != http.StatusOK {
		g.t.Fatalf("%d %s", a.status, a.text)
	}
	return []string{"Authorization", "Bearer " + text(a.at("key"))}
}

// explained is what is told of a request, and its decisions as "step outcome".
func (g *gate) explained(id string, pairs ...string) (answer, []string) {
	g.t.Helper()
	a := g.do("GET", "/v1/requests/"+id, "", pairs...)
	var out []string
	list, _ := a.at("decisions").([]any)
	for _, d := range list {
		out = append(out, text(at(d, "step"))+" "+text(at(d, "outcome")))
	}
	return a, out
}

// fact returns an attribute of the first decision of a step.
func fact(a answer, step, name string) string {
	list, _ := a.at("decisions").([]any)
	for _, d := range list {
		attributes, _ := at(d, "attributes").([]any)
		for _, f := range attributes {
			if at(d, "step") == step && at(f, "name") == name {
				return text(at(f, "value"))
			}
		}
	}
	return ""
}

func TestARequestIsExplained(t *testing.T) {
	g := caching(t, nil)
	ada := g.holder("acme", "ada", "reader", "")
	g.do("POST", "/v1/admin/prices", `{"price":{"model":"small","rates":{"input":1000000,"output":2000000}}}`)
	g.do("POST", "/v1/admin/budgets", `{"tenant":"acme","budget":{"id":"cap","scope":"tenant","period":"total","unit":"tokens","amount":1000000,"hard":true}}`)

	chat := g.do("POST", chatPath, fmt.Sprintf(exact, ""), ada...)
	id := chat.header.Get("X-Request-Id")
	a, steps := g.explained(id, ada...)
	want := []string{
		"identity accepted", "policy allowed", "limits allowed", "cache miss", "budget reserved", "serving small@v3", "usage whole", "budget settled", "answer answered",
	}
	if !slices.Equal(steps, want) || a.at("state") != "answered" || a.at("id") != id || a.at("tenant") != "acme" || a.at("subject") != "ada" ||
		a.at("served_by") != "small@v3" || a.at("cache") != "miss" || a.at("cost_micros") == nil || text(a.at("rule")) == "" {
		t.Fatalf("%q\n%s", steps, a.text)
	}
	if fact(a, "identity", "by") != "api-key" || !strings.Contains(fact(a, "limits", "remaining"), `"default";r=`) || fact(a, "cache", "scope") != "tenant" ||
		fact(a, "usage", "completion_tokens") == "" || !strings.HasSuffix(fact(a, "budget", "cap"), " tokens") {
		t.Errorf("%s", a.text)
	}
	if fact(a, "serving", "worker") != "" {
		t.Errorf("a tenant sees the workers: %s", a.text)
	}
	if whole, _ := g.explained(id); fact(whole, "serving", "worker") != "w1" {
		t.Errorf("the platform does not: %s", whole.text)
	}
	if same, _ := g.explained(text(chat.at("id")), ada...); same.at("record_id") != a.at("record_id") || a.at("record_id") == nil {
		t.Errorf("by the answer's id: %s", same.text)
	}

	hit := g.do("POST", chatPath, fmt.Sprintf(exact, ""), ada...)
	a, steps = g.explained(hit.header.Get("X-Request-Id"), ada...)
	if !slices.Contains(steps, "cache hit") || slices.Contains(steps, "budget reserved") || fact(a, "cache", "age_s") == "" || a.at("cost_micros") != nil && a.at("cost_micros") != 0.0 {
		t.Errorf("a hit: %q\n%s", steps, a.text)
	}
	if u := g.do("GET", "/v1/usage", "", ada...); u.at("total", "cache_hits") != 1.0 || u.at("total", "requests") != 1.0 || u.at("total", "saved_output_tokens") == nil {
		t.Errorf("%s", u.text)
	}
	if u := g.do("GET", "/v1/admin/usage:export?group_by=tenant", ""); !strings.Contains(u.text, ",USD,1,") {
		t.Errorf("%s", u.text)
	}
	if c := g.do("POST", "/v1/admin/usage:check", `{}`); c.at("adds_up") != true || c.at("requests") != 1.0 {
		t.Errorf("%s", c.text)
	}

	stream := g.do("POST", chatPath, fmt.Sprintf(exact, `,"stream":true,"stream_options":{"include_usage":true},"user":"other"`), ada...)
	a, steps = g.explained(stream.header.Get("X-Request-Id"), ada...)
	if ttft, _ := a.at("time_to_first_token_ms").(float64); ttft <= 0 || !slices.Contains(steps, "serving small@v3") {
		t.Errorf("a stream: %q\n%s", steps, a.text)
	}
	if !strings.Contains(stream.text, `"poterne_cost":"0.0000`) || strings.Count(stream.text, "poterne_cost") != 1 {
		t.Errorf("what a stream cost: %s", stream.text)
	}
	if again := g.do("POST", chatPath, fmt.Sprintf(exact, `,"stream":true,"stream_options":{"include_usage":true},"user":"other"`), ada...); !strings.Contains(again.text, `"poterne_cost":"0 USD"`) {
		t.Errorf("what a hit cost: %s", again.text)
	}
	if a := g.do("POST", "/v1/admin/audit:verify", "{}"); a.at("intact") != true {
		t.Errorf("verify: %s", a.text)
	}
	if a := g.do("GET", "/v1/admin/audit?request_id="+id, ""); at(a.at("records"), 0, "decisions", 0, "step") != "identity" {
		t.Errorf("the audit record: %s", a.text)
	}
}

func TestRefusalsAreExplained(t *testing.T) {
	g := open(t, nil)
	ada := g.holder("acme", "ada", "reader", "")
	for name, c := range map[string]struct {
		method, path, body string
		pairs              []string
		state, last, step  string
	}{
		"credentials": {"GET", "/v1/models", "", []string{"Authorization", "Bearer wrong"}, "refused", "UNAUTHENTICATED", "identity refused"},
		"policy":      {"GET", "/v1/admin/api-keys", "", ada, "refused", "PERMISSION_DENIED", "policy refused"},
		"scopes":      {"GET", "/v1/collections", "", g.holder("acme", "ada", "reader", `,"scopes":["model:*"]`), "refused", "PERMISSION_DENIED", "policy refused"},
		"form":        {"POST", chatPath, `{"model":"small","messages":[]}`, ada, "refused", "INVALID_ARGUMENT", "answer refused"},
		"body":        {"POST", chatPath, `{"model":`, ada, "refused", "INVALID_ARGUMENT", "answer refused"},
		"header":      {"POST", chatPath, fmt.Sprintf(sayHi, "small", ""), append([]string{"x-poterne-wait", "soon"}, ada...), "refused", "INVALID_ARGUMENT", "answer refused"},
	} {
		r := g.do(c.method, c.path, c.body, c.pairs...)
		a, steps := g.explained(r.header.Get("X-Request-Id"))
		if a.at("state") != c.state || a.at("error_reason") != c.last || !slices.Contains(steps, c.step) || len(steps) == 0 || !strings.HasPrefix(steps[len(steps)-1], "answer ") {
			t.Errorf("%s: %d %q\n%s", name, r.status, steps, a.text)
		}
		if strings.Contains(a.text, "soon") {
			t.Errorf("%s: some of the request is in it: %s", name, a.text)
		}
	}
	slow := g.holder("acme", "ada", "reader", `,"requests_per_minute":1`)
	g.do("GET", "/v1/models", "", slow...)
	r := g.do("GET", "/v1/models", "", slow...)
	if a, steps := g.explained(r.header.Get("X-Request-Id")); r.status != http.StatusTooManyRequests || !slices.Contains(steps, "limits refused") || fact(a, "answer", "reason") != "RATE_LIMITED" {
		t.Errorf("%d %q %s", r.status, steps, a.text)
	}
	g.do("POST", "/v1/admin/budgets", `{"tenant":"acme","budget":{"id":"none","scope":"tenant","period":"total","unit":"tokens","amount":1,"hard":true}}`)
	r = g.do("POST", chatPath, fmt.Sprintf(sayHi, "small", ""), ada...)
	if a, steps := g.explained(r.header.Get("X-Request-Id"), ada...); !slices.Contains(steps, "budget refused") || fact(a, "budget", "budget") != "none" || a.at("state") != "refused" {
		t.Errorf("%d %q %s", r.status, steps, a.text)
	}
}

// Who may not know of a request is told what they are told of none.
func TestOthersRequestsAreNotThere(t *testing.T) {
	g := open(t, nil)
	ada := g.holder("acme", "ada", "reader", "")
	mine := g.do("POST", chatPath, fmt.Sprintf(sayHi, "small", ""), append([]string{"x-request-id", "shared"}, ada...)...)
	none := g.do("GET", "/v1/requests/01890000-0000-7000-8000-000000000000", "", ada...)
	if none.status != http.StatusNotFound {
		t.Fatalf("%d %s", none.status, none.text)
	}
	for _, id := range []string{"shared", text(mine.at("id"))} {
		for name, c := range map[string]struct {
			holder []string
			want   int
		}{
			"the caller": {ada, 200}, "the tenant's administrator": {g.holder("acme", "root", "admin", ""), 200},
			"another subject":               {g.holder("acme", "bob", "developer", ""), 404},
			"another tenant's of that name": {g.holder("other", "ada", "reader", ""), 404}, "another tenant's administrator": {g.holder("other", "ada", "admin", ""), 404},
			"another key for one model":            {g.holder("acme", "ada", "reader", `,"models":["tiny"]`), 404},
			"an administrator's key for one model": {g.holder("acme", "root", "admin", `,"models":["tiny"]`), 404},
		} {
			a := g.do("GET", "/v1/requests/"+id, "", c.holder...)
			if a.status != c.want || c.want == 404 && a.at("detail") != none.at("detail") {
				t.Errorf("%s: %d %s", name, a.status, a.text)
			}
		}
	}
	// The same id, used by another tenant later, hides nothing and tells nothing.
	other := g.holder("other", "eve", "reader", "")
	g.do("GET", "/v1/models", "", append([]string{"x-request-id", "shared"}, other...)...)
	if a, _ := g.explained("shared", ada...); a.at("subject") != "ada" || !strings.HasSuffix(text(a.at("method")), "CreateChatCompletion") {
		t.Errorf("%s", a.text)
	}
	if a, _ := g.explained("shared", append([]string{"x-request-id", "shared"}, ada...)...); !strings.HasSuffix(text(a.at("method")), "CreateChatCompletion") {
		t.Errorf("asked for with the same id: %s", a.text)
	}
	if a := g.do("GET", "/v1/requests/"+strings.Repeat("x", 1025), "", ada...); a.status != http.StatusBadRequest {
		t.Errorf("%d", a.status)
	}
}

func TestARequestInHandSaysSo(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	var once sync.Once
	g := open(t, nil)
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		once.Do(func() { close(begun) })
		<-end
		return nil, status.Error(codes.Unavailable, "no worker")
	}
	done := make(chan answer, 1)
	go func() { done <- g.do("POST", chatPath, fmt.Sprintf(sayHi, "small", ""), "x-request-id", "slow") }()
	<-begun
	a, steps := g.explained("slow")
	if a.at("state") != "in_hand" || !slices.Contains(steps, "policy allowed") || slices.Contains(steps, "answer answered") {
		t.Errorf("%q %s", steps, a.text)
	}
	close(end)
	<-done
	if a, steps := g.explained("slow"); a.at("state") != "failed" || !slices.Contains(steps, "attempt failed") || !slices.Contains(steps, "answer failed") ||
		slices.Contains(steps, "serving small@v3") {
		t.Errorf("%q %s", steps, a.text)
	}
}

func TestDecisionsAreNotKeptWhenThatIsOff(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Security.Audit.Explain = false })
	r := g.do("GET", "/v1/models", "")
	if a, steps := g.explained(r.header.Get("X-Request-Id")); a.status != 200 || len(steps) != 0 || a.at("state") != "answered" {
		t.Errorf("%q %s", steps, a.text)
	}
}
