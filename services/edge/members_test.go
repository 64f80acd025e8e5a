package edge_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestMembersOfAChatHoldInOtherShapes: what a chat has and a response or a message has
// not reaches the engine from there, too, or is refused.
func TestMembersOfAChatHoldInOtherShapes(t *testing.T) {
	g := open(t, nil)
	shapes := map[string]string{
		responsesPath: `{"model":"small","input":"Hi"`,
		messagesPath:  `{"model":"small","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]`,
	}
	for path, begin := range shapes {
		a := g.do("POST", path, begin+`,"seed":7,"stop":["END"],"presence_penalty":0.5,"frequency_penalty":-1,"n":1,"logprobs":false,"user":"ada","safety_identifier":"bob","min_p":0.1,
			"stream_options":{"include_obfuscation":false},"service_tier":"auto"}`)
		if a.status != http.StatusOK {
			t.Fatalf("%s: status %d: %s", path, a.status, a.text)
		}
		body := g.inference.last(t)
		if body["seed"] != 7.0 || at(body, "stop", 0) != "END" || body["presence_penalty"] != 0.5 || body["frequency_penalty"] != -1.0 ||
			body["user"] != "ada" || body["safety_identifier"] != "bob" || body["min_p"] != 0.1 || body["service_tier"] != "auto" {
			t.Errorf("%s: the engine got %v", path, body)
		}
		for _, absent := range []string{"n", "logprobs", "stream_options"} {
			if _, there := body[absent]; there {
				t.Errorf("%s: the engine got %s", path, absent)
			}
		}
		for member, raw := range map[string]string{
			"n": "2", "logprobs": "true", "top_logprobs": "2", "seed": `"x"`, "safety_identifier": `"` + strings.Repeat("x", 257) + `"`, "presence_penalty": "2.5", "max_completion_tokens": "5", "response_format": `{"type":"text"}`,
		} {
			a := g.do("POST", path, begin+`,"`+member+`":`+raw+`}`)
			if a.status != http.StatusBadRequest || !strings.Contains(a.text, `"`+member) {
				t.Errorf("%s: %s: status %d: %s", path, member, a.status, a.text)
			}
		}
	}
}

// TestMembersOfAResponse: those that have another name, or no place, in a chat.
func TestMembersOfAResponse(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", responsesPath, `{"model":"small","input":"Hi","reasoning":{"effort":"low","summary":"auto"},"text":{"verbosity":"low"},
		"include":["reasoning.encrypted_content"],"prompt_cache_key":"k","safety_identifier":"s","conversation":null}`)
	if a.at("safety_identifier") != "s" {
		t.Errorf("the response does not say for whom it is: %s", a.text)
	}
	body := g.inference.last(t)
	if a.status != http.StatusOK || body["reasoning_effort"] != "low" || body["verbosity"] != "low" || body["prompt_cache_key"] != "k" ||
		body["reasoning"] != nil || body["include"] != nil {
		t.Errorf("status %d: %s; the engine got %v", a.status, a.text, body)
	}
	if now, ok := a.at("completed_at").(float64); !ok || now < 1 {
		t.Errorf("completed at %v", a.at("completed_at"))
	}
	for member, raw := range map[string]string{
		"conversation": `"../1"`, "context_management": `[{"type":"compaction"}]`, "include": `["message.output_text.logprobs"]`, "reasoning": `"low"`,
		"max_tokens": "3", "messages": "[]",
	} {
		if a := g.do("POST", responsesPath, `{"model":"small","input":"Hi","`+member+`":`+raw+`}`); a.status != http.StatusBadRequest || !strings.Contains(a.text, member) {
			t.Errorf("%s: status %d: %s", member, a.status, a.text)
		}
	}
}

func TestResponsesAreCountedAndNotCancelled(t *testing.T) {
	g := open(t, nil)
	first := g.turn(`{"model":"small","input":"One"}`)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
	}{
		"cancelled":            {"POST", "/" + first + "/cancel", "", http.StatusBadRequest},
		"cancelled, with {}":   {"POST", "/" + first + "/cancel", "{}", http.StatusBadRequest},
		"cancelled, not there": {"POST", "/resp-AAAA/cancel", "", http.StatusNotFound},
		"as a stream":          {"GET", "/" + first + "?stream=true", "", http.StatusBadRequest},
		"with an include":      {"GET", "/" + first + "?include=reasoning.encrypted_content", "", http.StatusOK},
		"counted":              {"POST", "/input_tokens", `{"model":"small","input":"Two","previous_response_id":"` + first + `"}`, http.StatusOK},
		"counted, not there":   {"POST", "/input_tokens", `{"model":"small","input":"Two","previous_response_id":"resp-AAAA"}`, http.StatusNotFound},
		"counted, as asked": {"POST", "/input_tokens", `{"model":"small","input":"Two","truncation":"disabled","parallel_tool_calls":false,"reasoning":{"effort":"low"},
			"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"}},"verbosity":"low"}}`, http.StatusOK},
		"counted, nothing":   {"POST", "/input_tokens", `{"model":"small","input":"Two","truncation":null,"conversation":null}`, http.StatusOK},
		"counted, truncated": {"POST", "/input_tokens", `{"model":"small","input":"Two","truncation":"auto"}`, http.StatusBadRequest},
		"counted, a text":    {"POST", "/input_tokens", `{"model":"small","input":"Two","text":"short"}`, http.StatusBadRequest},
		"counted, of a form": {"POST", "/input_tokens", `{"model":"small","input":"Two","text":{"format":{"type":"xml"}}}`, http.StatusBadRequest},
		"counted, talk":      {"POST", "/input_tokens", `{"model":"small","input":"Two","conversation":"c1"}`, http.StatusBadRequest},
		"counted, n":         {"POST", "/input_tokens", `{"model":"small","input":"Two","n":2}`, http.StatusBadRequest},
	} {
		if a := g.do(c.method, responsesPath+c.path, c.body); a.status != c.status {
			t.Errorf("%s: status %d: %s", name, a.status, a.text)
		}
	}
	for _, counted := range g.inference.counted {
		for _, name := range []string{"text", "truncation", "conversation"} {
			if strings.Contains(string(counted.GetBody()), `"`+name+`"`) {
				t.Errorf("the engine counts with %s", counted.GetBody())
			}
		}
	}
}

// TestHeadersOfSDKsAreHarmless: they say of what make they are.
func TestHeadersOfSDKsAreHarmless(t *testing.T) {
	g := open(t, nil)
	var header []string
	for _, name := range []string{"Lang", "Package-Version", "OS", "Arch", "Runtime", "Runtime-Version", "Retry-Count", "Timeout", "Helper-Method", "Poll-Helper", "Custom-Poll-Interval"} {
		header = append(header, "X-Stainless-"+name, "1")
	}
	if a := g.do("POST", responsesPath, `{"model":"small","input":"Hi"}`, header...); a.status != http.StatusOK {
		t.Errorf("status %d: %s", a.status, a.text)
	}
}
