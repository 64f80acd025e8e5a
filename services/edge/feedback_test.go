package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

func (f *fakeRegistry) RecordFeedback(_ context.Context, req *registryv1.RecordFeedbackRequest) (*registryv1.RecordFeedbackResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.verdicts == nil {
		f.verdicts = make(map[string]*registryv1.RecordFeedbackRequest)
	}
	_, replaced := f.verdicts[req.GetResponseId()]
	f.verdicts[req.GetResponseId()] = req
	return &registryv1.RecordFeedbackResponse{Replaced: replaced}, nil
}

func (f *fakeRegistry) GetResults(_ context.Context, req *registryv1.GetResultsRequest) (*registryv1.GetResultsResponse, error) {
	return &registryv1.GetResultsResponse{Results: &registryv1.Results{Model: req.GetModel(), Baseline: req.GetBaseline()}}, nil
}

func (f *fakeRegistry) GetExperimentResults(_ context.Context, req *registryv1.GetExperimentResultsRequest) (*registryv1.GetExperimentResultsResponse, error) {
	return &registryv1.GetExperimentResultsResponse{Results: &registryv1.Results{Model: req.GetModel(), Experiment: req.GetExperiment()}}, nil
}

func decoded(t *testing.T, raw string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return v
}

// text is a value that should be one; others are "".
func text(v any) string {
	s, _ := v.(string)
	return s
}

// reader makes a key of another subject and returns the headers that use it.
func (g *gate) reader(name string) []string {
	g.t.Helper()
	a := g.do("POST", "/v1/admin/api-keys", fmt.Sprintf(`{"name":%q,"subject":%q,"roles":["reader"]}`, name, name))
	if a.status != 200 {
		g.t.Fatalf("got %d %s", a.status, a.text)
	}
	return []string{"Authorization", "Bearer " + text(a.at("key"))}
}

// answerOf is what the registry knows an answer by.
func answerOf(id string) string {
	_, signed, _ := strings.Cut(id, "-")
	return signed
}

// A verdict leads from the answer's id to what made the answer, for whom it was
// made and for nobody else.
func TestFeedback(t *testing.T) {
	g := open(t, nil)
	ana, ben := g.reader("ana"), g.reader("ben")
	const chat, completion = `{"model":"small","messages":[{"role":"user","content":"Hi"}]`, `{"model":"small","prompt":"Hi"}`
	ids := map[string]string{
		"chat":       text(g.do("POST", chatPath, chat+"}", ana...).at("id")),
		"completion": text(g.do("POST", "/v1/completions", completion, ana...).at("id")),
		"stream":     text(at(decoded(t, events(t, g.do("POST", chatPath, chat+`,"stream":true}`, ana...))[0]), "id")),
	}
	post := func(who []string, body string, args ...any) answer {
		t.Helper()
		return g.do("POST", "/v1/feedback", fmt.Sprintf(body, args...), who...)
	}
	for name, id := range ids {
		a := post(ana, `{"response_id":%q,"verdict":"up","comment":"très bien"}`, id)
		if a.status != 200 || a.at("score") != 1.0 || a.at("response_id") != id || a.at("replaced") == true {
			t.Fatalf("%s: got %d %s", name, a.status, a.text)
		}
		v := g.registry.verdicts[answerOf(id)]
		if v.GetModel() != "small" || v.GetVersion() != 3 || v.GetArm() != "canary" || v.GetScore() != 1 || v.GetComment() != "très bien" ||
			time.Since(v.GetResponseTime().AsTime()) > time.Minute {
			t.Errorf("%s: the registry was told %v", name, v)
		}
	}
	id := ids["chat"]
	if a := post(ana, `{"response_id":%q,"score":-0.5}`, id); a.status != 200 || a.at("replaced") != true || g.registry.verdicts[answerOf(id)].GetScore() != -0.5 {
		t.Errorf("got %d %s", a.status, a.text)
	}
	// One answer has one verdict, however its id is written.
	for _, again := range []string{"cmpl-" + answerOf(id), "a-" + answerOf(id), id[:20] + "\n" + id[20:]} {
		if a := post(ana, `{"response_id":%q,"score":-0.5}`, again); a.status != 200 || a.at("replaced") != true {
			t.Errorf("%q: got %d %s", again, a.status, a.text)
		}
	}
	for name, tt := range map[string]struct {
		who    []string
		body   string
		status int
		code   string
	}{
		"another subject's": {ben, `{"response_id":"` + id + `","verdict":"down"}`, 404, "NOT_FOUND"},
		"the administrator": {nil, `{"response_id":"` + id + `","verdict":"down"}`, 404, "NOT_FOUND"},
		"an engine's id":    {ana, `{"response_id":"chatcmpl-123","verdict":"down"}`, 404, "NOT_FOUND"},
		"nothing said":      {ana, `{"response_id":"` + id + `"}`, 400, "INVALID_ARGUMENT"},
		"both said":         {ana, `{"response_id":"` + id + `","verdict":"up","score":1}`, 400, "INVALID_ARGUMENT"},
		"too good":          {ana, `{"response_id":"` + id + `","score":1.5}`, 400, "INVALID_ARGUMENT"},
		"no number":         {ana, `{"response_id":"` + id + `","score":"NaN"}`, 400, "INVALID_ARGUMENT"},
		"a word":            {ana, `{"response_id":"` + id + `","verdict":"meh"}`, 400, "INVALID_ARGUMENT"},
		"a long comment":    {ana, `{"response_id":"` + id + `","verdict":"up","comment":"` + strings.Repeat("x", 2001) + `"}`, 400, "INVALID_ARGUMENT"},
		"no id":             {ana, `{"verdict":"up"}`, 400, "INVALID_ARGUMENT"},
		"nobody":            {[]string{"Authorization", ""}, `{"response_id":"` + id + `","verdict":"up"}`, 401, "UNAUTHENTICATED"},
	} {
		if a := g.do("POST", "/v1/feedback", tt.body, tt.who...); a.status != tt.status || a.at("code") != tt.code {
			t.Errorf("%s: got %d %s", name, a.status, a.text)
		}
	}
	if got := g.registry.verdicts[answerOf(id)].GetScore(); got != -0.5 {
		t.Errorf("a refused verdict changed the score to %v", got)
	}
}

func TestResultsOverREST(t *testing.T) {
	g := open(t, nil)
	if a := g.do("GET", "/v1/registry/models/small/results?baseline=a&min_requests=10&since=2030-01-02T03:04:05Z", ""); a.status != 200 || a.at("baseline") != "a" {
		t.Errorf("got %d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/registry/models/small/experiments/e/results", ""); a.status != 200 || a.at("experiment") != "e" {
		t.Errorf("got %d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/registry/models/small/results?alpha=2", ""); a.status != 400 || !strings.Contains(a.text, "alpha") {
		t.Errorf("got %d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/registry/models/small/results", "", g.reader("ana")...); a.status != 403 {
		t.Errorf("a reader got %d %s", a.status, a.text)
	}
}
