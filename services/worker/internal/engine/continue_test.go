package engine

import (
	"strings"
	"testing"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

func TestContinuable(t *testing.T) {
	const ask = `"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"x"}]}]`
	c := newClient(dialect{prefill: prefillFlags})
	for body, want := range map[string]bool{
		`{` + ask + `}`: true,
		`{` + ask + `,"max_tokens":5,"temperature":0.1,"n":1,"stop":null,"tools":[],"logprobs":false,"response_format":{"type":"text"},"seed":3}`: true,
		`{` + ask + `,"n":2}`:                                    false,
		`{` + ask + `,"stop":["a"]}`:                             false,
		`{` + ask + `,"tools":[{"type":"function"}]}`:            false,
		`{` + ask + `,"logprobs":true}`:                          false,
		`{` + ask + `,"response_format":{"type":"json_object"}}`: false,
		`{` + ask + `,"max_tokens":0}`:                           false,
		`{` + ask + `,"max_tokens":1.5}`:                         false,
		`{` + ask + `,"max_tokens":5,"max_tokens":6}`:            false,
		`{` + ask + `,"guided_regex":"x"}`:                       false,
		`{` + ask + `,"continue_final_message":true}`:            false,
		`{"messages":[{"role":"assistant","content":"x"}]}`:      false,
		`{"messages":[]}`:                                        false,
		`{"messages":7}`:                                         false,
		`{}`:                                                     false,
		`{"prompt":"x"}`:                                         false,
		`[`:                                                      false,
	} {
		if got := c.Continuable(Chat, []byte(body)); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
	for body, want := range map[string]bool{
		`{"prompt":"x"}`: true, `{"prompt":["x"]}`: false, `{"prompt":[1,2]}`: false, `{"prompt":"x","echo":true}`: false,
		`{"prompt":"x","suffix":"y"}`: false, `{"prompt":"x","best_of":2}`: false,
	} {
		if got := c.Continuable(Completion, []byte(body)); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
	if newClient(dialect{}).Continuable(Chat, []byte(`{`+ask+`}`)) {
		t.Error("an engine that is not known to take a beginning")
	}
}

func TestExtended(t *testing.T) {
	tests := []struct {
		op   Operation
		how  prefill
		body string
		want []string
	}{
		{Chat, prefillTrailing, `{"messages":[{"role":"user","content":"x"} ],"max_tokens":10,"x":1.0}`, []string{
			`"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"a \"b\""}]`, `"max_tokens":7`, `"x":1.0`,
		}},
		{Chat, prefillFlags, `{"messages":[{"role":"user","content":"x"}]}`, []string{
			`{"role":"assistant","content":"a \"b\""}]`, `"add_generation_prompt":false`, `"continue_final_message":true`,
		}},
		{Completion, prefillFlags, `{"prompt":"say: \u0041","max_completion_tokens":4}`, []string{
			`"prompt":"say: \u0041a \"b\""`, `"max_completion_tokens":1`,
		}},
	}
	for _, tt := range tests {
		p, _ := readPlain(tt.op, []byte(strings.Replace(tt.body, `,"x":1.0`, "", 1)))
		out, spent, err := p.extended(tt.op, tt.how, []byte(tt.body), `a "b"`, 3)
		if err != nil || spent {
			t.Errorf("%s: %v, %v", tt.body, spent, err)
		}
		for _, want := range tt.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s becomes %s, which lacks %s", tt.body, out, want)
			}
		}
		if tt.how == prefillTrailing && strings.Contains(string(out), "continue_final") {
			t.Errorf("got %s", out)
		}
	}
}

// A worker that goes on looks like the one that began, and counts as one.
func TestContinue(t *testing.T) {
	c := script(t, tellsUsage,
		strings.Replace(vllmRole, `"prompt_tokens":9`, `"prompt_tokens":12`, 1),
		`{"id":"y","created":9,"choices":[{"index":0,"delta":{"content":" c"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":1}}`,
		`{"id":"y","created":9,"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":1}}`, "[DONE]")
	c.d.prefill = prefillFlags
	from := Continuation{Text: "a b", Usage: &commonv1.TokenUsage{PromptTokens: 9, CompletionTokens: 2}, Head: Head{ID: "x", Created: 5}}
	body := []byte(`{"messages":[{"role":"user","content":"x"}],"max_tokens":10,"stream_options":{"include_usage":true}}`)
	var r recorder
	usage, err := c.Continue(t.Context(), Chat, body, true, from, &r)
	if err != nil || usage.GetPromptTokens() != 9 || usage.GetCompletionTokens() != 3 {
		t.Fatalf("usage %v, %v", usage, err)
	}
	want := []string{
		`{"id":"x","created":5,"choices":[{"index":0,"delta":{"content":" c"},"finish_reason":"stop"}]}`,
		`{"id":"x","created":5,"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":0}},"choices":[]}`,
	}
	if got := strings.Join(r.chunks, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("passed on\n%s", got)
	}
	if p := r.progress[0]; p.Text != " c" || !p.Stopped || p.Usage.GetCompletionTokens() != 3 {
		t.Errorf("told %+v", p)
	}
}

// Nothing is left to generate: the engine is not asked.
func TestContinueAfterTheLastToken(t *testing.T) {
	c := newClient(dialect{base: "http://127.0.0.1:1", model: "m", prefill: prefillTrailing, running: tellsTimings})
	from := Continuation{Text: "a b", Usage: &commonv1.TokenUsage{PromptTokens: 9, CompletionTokens: 2}, Head: Head{ID: "x", Created: 5}}
	for op, body := range map[Operation]string{
		Chat: `{"messages":[{"role":"user","content":"x"}],"max_tokens":2}`, Completion: `{"prompt":"x","max_tokens":2}`,
	} {
		var r recorder
		usage, err := c.Continue(t.Context(), op, []byte(body), true, from, &r)
		if err != nil || usage.GetCompletionTokens() != 2 || r.accepted != 1 || len(r.chunks) != 1 {
			t.Fatalf("usage %v, %v, chunks %q", usage, err, r.chunks)
		}
		if text, finish, _ := r.text(t); text != "" || finish != "length" || !strings.Contains(r.chunks[0], `"id":"x"`) {
			t.Errorf("got %q", r.chunks)
		}
	}
}
