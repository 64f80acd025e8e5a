package edge_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// TestCapsHoldForAllAnswers: a cap is one of the request, however many answers it
// asks for, in whatever member.
func TestCapsHoldForAllAnswers(t *testing.T) {
	g := withPolicy(t, "p, public, own, model, *, chat|complete, true, allow, max_tokens=100\n")
	for _, c := range []struct {
		path, body string
		each       float64 // 0: it is refused
	}{
		{chatPath, `"n":2`, 50},
		{chatPath, `"n":3,"max_tokens":90`, 33},
		{chatPath, `"n":101`, 0},
		{chatPath, `"n":2,"max_completion_tokens":7`, -1},
		{chatPath, `"best_of":4`, 25},
		{chatPath, `"n_cmpl":10`, 10},
		{chatPath, `"n_cmpl":"x"`, 0},
		{chatPath, `"best_of":-1`, 0},
		{chatPath, `"best_of":1e9`, 0},
		{"/v1/completions", `"prompt":["a","b"],"n":5`, 10},
		{"/v1/completions", `"prompt":["a","b"],"best_of":25`, 2},
		{"/v1/completions", `"prompt":[1,2,3]`, 100},
		{"/v1/completions", `"prompt":[[1,2],[3]]`, 50},
		{"/v1/completions", `"prompt":"a","n":128`, 0},
	} {
		body := `{"model":"small",` + c.body + `}`
		if c.path == chatPath {
			body = `{"model":"small",` + c.body + `,"messages":[{"role":"user","content":"Hi"}]}`
		}
		a := g.do("POST", c.path, body)
		if want := map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[c.each != 0]; a.status != want {
			t.Errorf("%s: %d: %s", c.body, a.status, a.text)
			continue
		}
		if c.each == 0 && !strings.Contains(a.text, "100 tokens be generated in all") {
			t.Errorf("%s: told %s", c.body, a.text)
		}
		if got := g.inference.last(t); c.each > 0 && got["max_tokens"] != c.each {
			t.Errorf("%s: the engine was given %v", c.body, got)
		}
	}
}

// TestRefusalsTellTheirKind and nothing of a rule.
func TestRefusalsTellTheirKind(t *testing.T) {
	g := withPolicy(t, `
p, public, own, model, night, *, hour > 23, allow
p, public, own, model, closed, *, subject != 'somebody-unlikely', deny
p, public, own, model, odd, *, claims.team == 'x', deny
`)
	for model, want := range map[string][2]string{
		"closed": {"a rule of the policy denies you to chat", `"deny"`}, "odd": {"cannot be judged", `"not_judged"`},
	} {
		a := g.do("POST", chatPath, `{"model":"`+model+`","messages":[{"role":"user","content":"Hi"}]}`)
		if a.status != http.StatusForbidden || !strings.Contains(a.text, want[0]) {
			t.Errorf("%s: %d: %s", model, a.status, a.text)
		}
		for _, secret := range []string{"unlikely", "claims", "team", "policy.csv", "base/"} {
			if strings.Contains(a.text, secret) {
				t.Errorf("%s: a caller is told %s", model, a.text)
			}
		}
	}
}

// Watch tells what a test has put there, and then nothing.
func (f *fakeRegistry) Watch(_ *registryv1.WatchRequest, out grpc.ServerStreamingServer[registryv1.WatchResponse]) error {
	part := f.models.Load()
	if part == nil {
		return status.Error(codes.Unavailable, "nobody may watch")
	}
	if err := out.Send(&registryv1.WatchResponse{Revision: 1, Event: &registryv1.WatchResponse_Snapshot{Snapshot: part}}); err != nil {
		return err
	}
	for {
		select {
		case m := <-f.changes:
			if err := out.Send(m); err != nil {
				return err
			}
		case <-out.Context().Done():
			return nil
		}
	}
}

func (f *fakeInference) verdicts(t *testing.T) *inferencev1.PolicyVerdicts {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	out := new(inferencev1.PolicyVerdicts)
	if err := proto.Unmarshal([]byte(f.policy), out); err != nil {
		t.Fatal(err)
	}
	return out
}

func splitModel() *registryv1.SnapshotPart {
	return &registryv1.SnapshotPart{First: true, Last: true, Models: []*registryv1.ModelState{{
		Model: &registryv1.Model{Name: "small", Labels: map[string]string{"tier": "gold"}},
		Versions: []*registryv1.Version{
			{Number: 1, Digest: "sha256:a", Labels: map[string]string{"stage": "proven"}}, {Number: 2, Digest: "sha256:b", Labels: map[string]string{"stage": "trial"}},
		},
		Split: &registryv1.Split{Arms: []*registryv1.Arm{{Name: "control", Version: 1, Weight: 900_000}, {Name: "canary", Version: 2, Weight: 100_000}}},
	}}}
}

// TestVerdictsTravel: what the policy says of versions reaches the inference service,
// of this request and of no other.
func TestVerdictsTravel(t *testing.T) {
	g := withPolicy(t, "p, public, own, model, small, chat, version_labels.stage == 'trial', deny\n")
	ask := func(model string) answer {
		return g.do("POST", chatPath, `{"model":"`+model+`","messages":[{"role":"user","content":"Hi"}]}`, "poterne-policy-bin", "AA==")
	}
	a := ask("small")
	if a.status != http.StatusServiceUnavailable || g.inference.calls() != 0 {
		t.Fatalf("before the registry was heard: %d: %s", a.status, a.text)
	}
	g.registry.models.Store(splitModel())
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for a.status == http.StatusServiceUnavailable {
		<-tick.C
		a = ask("small")
	}
	if a.status != http.StatusOK {
		t.Fatalf("%d: %s", a.status, a.text)
	}
	got := g.inference.verdicts(t)
	if len(got.GetModels()) != 1 || len(got.GetModels()[0].GetVersions()) != 2 || got.GetModels()[0].GetModel() != "small" {
		t.Fatalf("%v", got)
	}
	for _, v := range got.GetModels()[0].GetVersions() {
		if v.GetAllowed() != (v.GetArm() == "control") {
			t.Errorf("%v", v)
		}
	}
	for _, reference := range []string{"small@v2", "small@sha256:b"} {
		if a := ask(reference); a.status != http.StatusForbidden || !strings.Contains(a.text, "a rule of the policy denies") {
			t.Errorf("%s: %d: %s", reference, a.status, a.text)
		}
	}
	if a := ask("nothing"); a.status != http.StatusOK {
		t.Errorf("a model about which no rule asks: %d", a.status)
	}
	if got := g.inference.verdicts(t); len(got.GetModels()) > 0 {
		t.Errorf("verdicts of another request: %v", got)
	}
	a = g.do("POST", "/v1/admin/policies:explain", `{"case":{"caller":{"subject":"ada","roles":["reader"]},"action":"chat","resource":{"type":"model","id":"small"}}}`)
	if a.status != http.StatusOK || !strings.Contains(a.text, `"arm":"canary"`) || !strings.Contains(a.text, `"models_age"`) {
		t.Errorf("explained: %d: %s", a.status, a.text)
	}
}

// TestClassesOfDocuments: searches are held to them by their filter, whatever the
// caller puts there; a document that may not be seen is as if it were not there.
func TestClassesOfDocuments(t *testing.T) {
	g := withPolicy(t, "p, public, own, collection|document, *, *, document_class == 'secret', deny\n")
	g.do("POST", "/v1/collections/c:search", `{"query":"x","required_filter":"NOT class:*"}`)
	if got := g.search.asked[len(g.search.asked)-1].GetRequiredFilter(); got != `NOT class:"secret"` {
		t.Errorf("search was asked with %q", got)
	}
	g.do("POST", chatPath, `{"model":"small","retrieval":{"collection":"c","filter":"a = 1"},"messages":[{"role":"user","content":"Hi"}]}`)
	last := g.search.asked[len(g.search.asked)-1]
	if last.GetRequiredFilter() != `NOT class:"secret"` || last.GetFilter() != "a = 1" {
		t.Errorf("a conversation looked up %v", last)
	}
	for _, c := range [][2]string{{"DELETE", "/v1/collections/c/documents/d"}, {"GET", "/v1/collections/c:backup"}} {
		if a := g.do(c[0], c[1], ""); a.status != http.StatusForbidden {
			t.Errorf("%s %s: %d: %s", c[0], c[1], a.status, a.text)
		}
	}
	open := withPolicy(t, "p, public, own, collection, c, search, true, allow\n")
	open.do("POST", "/v1/collections/c:search", `{"query":"x","required_filter":"NOT class:*"}`)
	if got := open.search.asked[len(open.search.asked)-1].GetRequiredFilter(); got != "" {
		t.Errorf("a caller's own required filter is passed on: %q", got)
	}
}
