package edge_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

const countPath = "/v1/tokens:count"

// lastCounted is what the engine would have been asked.
func (f *fakeInference) lastCounted(t *testing.T) (*inferencev1.CountTokensRequest, map[string]any) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.counted) == 0 {
		t.Fatal("the inference service was not asked")
	}
	req := f.counted[len(f.counted)-1]
	var body map[string]any
	if err := json.Unmarshal(req.GetBody(), &body); err != nil {
		t.Fatalf("the engine got no JSON: %v", err)
	}
	return req, body
}

func TestCountTokens(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", countPath, `{"model":"small@v3","user":"alice","chat_template_kwargs":{"enable_thinking":false},
		"messages":[{"role":"user","content":"Hi"}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}]}`)
	if a.status != http.StatusOK || a.at("object") != "token_count" || a.at("model") != "small@v3" || a.at("prompt_tokens") != 11.0 || a.at("context_length") != 4096.0 {
		t.Fatalf("status %d: %s", a.status, a.text)
	}
	if a.header.Get("X-Poterne-Model") != "small@v3" || a.header.Get("X-Poterne-Arm") != "canary" {
		t.Errorf("answered by %v", a.header)
	}
	req, body := g.inference.lastCounted(t)
	if req.GetOperation() != workerv1.Operation_OPERATION_CHAT || req.GetModel() != "small@v3" || req.GetRoutingKey() != "alice" {
		t.Errorf("asked for %v", req)
	}
	if body["tools"] == nil || body["messages"] == nil || body["chat_template_kwargs"] == nil || body["prompt"] != nil || body["stream"] != nil {
		t.Errorf("the engine got %v", body)
	}
	g.do("POST", countPath, `{"model":"small","safety_identifier":"bob","messages":[{"role":"user","content":"Hi"}]}`)
	if req, body := g.inference.lastCounted(t); req.GetRoutingKey() != "bob" || body["safety_identifier"] != "bob" {
		t.Errorf("counted for %q, with %v", req.GetRoutingKey(), body)
	}
	for prompt, want := range map[string]any{`"Hello there"`: "Hello there", `[1,2,3]`: 3} {
		if a := g.do("POST", countPath, `{"model":"small","prompt":`+prompt+`}`); a.status != http.StatusOK {
			t.Fatalf("%s: status %d: %s", prompt, a.status, a.text)
		}
		req, body = g.inference.lastCounted(t)
		got := body["prompt"]
		if list, ok := got.([]any); ok {
			got = len(list)
		}
		if req.GetOperation() != workerv1.Operation_OPERATION_COMPLETION || got != want || body["messages"] != nil {
			t.Errorf("%s: asked for %v, %v", prompt, req.GetOperation(), body)
		}
	}
	if g.inference.calls() != 0 {
		t.Error("something was run")
	}
}

func TestCountTokensRefusals(t *testing.T) {
	g := open(t, nil)
	g.inference.count = func(req *inferencev1.CountTokensRequest) (*inferencev1.CountTokensResponse, error) {
		switch req.GetModel() {
		case "mute":
			return nil, apierr.New(apierr.Unimplemented, "the engine counts no tokens")
		case "unknown":
			return &inferencev1.CountTokensResponse{ServedBy: servedBy()}, nil
		}
		t.Errorf("asked for %v", req)
		return nil, apierr.New(apierr.Internal, "no")
	}
	for _, tt := range []struct {
		body, param string
		status      int
	}{
		{`{"model":"m"}`, "messages", 400},
		{`{"model":"m","messages":[]}`, "messages", 400},
		{`{"prompt":"x"}`, "model", 400},
		{`{"model":"m","prompt":"x","messages":[{"role":"user","content":"y"}]}`, "prompt", 400},
		{`{"model":"m","prompt":"x","tools":[{"type":"function","function":{"name":"f"}}]}`, "tools", 400},
		{`{"model":"m","messages":[{"role":"user","content":"y"}],"retrieval":{"collection":"c"}}`, "retrieval", 400},
		{`{"model":"m","messages":[{"role":"user"}]}`, "messages[0].content", 400},
		{`{"model":"mute","prompt":"x"}`, "", 501},
	} {
		a := g.do("POST", countPath, tt.body)
		param, _ := a.at("error", "param").(string)
		if a.status != tt.status || param != tt.param {
			t.Errorf("%s: status %d, %s", tt.body, a.status, a.text)
		}
	}
	a := g.do("POST", countPath, `{"model":"unknown","prompt":""}`)
	if _, told := a.json["context_length"]; a.status != http.StatusOK || told || a.at("prompt_tokens") != 0.0 {
		t.Errorf("what is not known: %d, %s", a.status, a.text)
	}
	if a := g.do("GET", countPath, ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d", a.status)
	}
}
