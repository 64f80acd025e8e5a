package edge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

const messagesPath = "/v1/messages"

func TestMessage(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", messagesPath, `{"model":"small","max_tokens":9,"system":[{"type":"text","text":"Be brief."}],"top_k":5,
		"messages":[{"role":"user","content":"Weather?"},
			{"role":"assistant","content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"t1","name":"weather","input":{"at":"Lyon"}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"Sun"}]},
				{"type":"text","text":"And?","cache_control":{"type":"ephemeral"}},
				{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}],
		"stop_sequences":["END"],"tools":[{"name":"weather","description":"Tells it","input_schema":{"type":"object"}}],
		"tool_choice":{"type":"any","disable_parallel_tool_use":true},"metadata":{"user_id":"alice"}}`)
	if a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.text)
	}
	if a.at("type") != "message" || a.at("role") != "assistant" || a.at("model") != "small" || a.at("content", 0, "text") != "Hello" ||
		a.at("content", 0, "type") != "text" || a.at("stop_reason") != "end_turn" || a.at("usage", "input_tokens") != 7.0 ||
		a.at("usage", "output_tokens") != 2.0 {
		t.Errorf("answered %s", a.text)
	}
	if id, ok := a.at("id").(string); !ok || !strings.HasPrefix(id, "msg-") {
		t.Errorf("the id is %v", a.at("id"))
	}
	if a.header.Get("Request-Id") == "" || a.header.Get("X-Poterne-Model") != "small@v3" {
		t.Errorf("the header is %v", a.header)
	}
	body := g.inference.last(t)
	want := []string{"system Be brief.", "user Weather?", "assistant I look.", "tool Sun"}
	messages, _ := body["messages"].([]any)
	if len(messages) != 5 {
		t.Fatalf("the engine got %v", messages)
	}
	for i, w := range want {
		if got := fmt.Sprint(at(messages, i, "role"), " ", at(messages, i, "content")); got != w {
			t.Errorf("message %d is %s, want %s", i, got, w)
		}
	}
	call := at(messages, 2, "tool_calls", 0)
	if at(call, "id") != "t1" || at(call, "function", "name") != "weather" || at(call, "function", "arguments") != `{"at":"Lyon"}` {
		t.Errorf("the call is %v", call)
	}
	if at(messages, 3, "tool_call_id") != "t1" {
		t.Errorf("the result is %v", messages[3])
	}
	if at(messages, 4, "content", 0, "text") != "And?" || at(messages, 4, "content", 1, "image_url", "url") != "data:image/png;base64,AAAA" {
		t.Errorf("the parts are %v", messages[4])
	}
	if body["max_tokens"] != 9.0 || body["top_k"] != 5.0 || body["tool_choice"] != "required" || body["parallel_tool_calls"] != false || body["user"] != "alice" {
		t.Errorf("the engine got %v", body)
	}
	if stop, _ := body["stop"].([]any); len(stop) != 1 || stop[0] != "END" {
		t.Errorf("it stops at %v", body["stop"])
	}
	if tool := at(body, "tools", 0, "function"); at(tool, "name") != "weather" || at(tool, "parameters", "type") != "object" {
		t.Errorf("the tool is %v", tool)
	}
}

func TestMessageInAForm(t *testing.T) {
	g := open(t, nil)
	ask := func(output string) answer {
		return g.do("POST", messagesPath, `{"model":"small","max_tokens":9,"cache_control":{"type":"ephemeral"},"messages":[{"role":"user","content":"Hi"}],"output_config":`+output+`}`)
	}
	if a := ask(`{"format":{"type":"json_schema","schema":{"type":"object"}},"effort":"low"}`); a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.text)
	}
	body := g.inference.last(t)
	if at(body, "response_format", "json_schema", "schema", "type") != "object" || at(body, "output_config", "effort") != "low" ||
		at(body, "output_config", "format") != nil || body["cache_control"] != nil {
		t.Errorf("the engine got %v", body)
	}
	for _, output := range []string{`7`, `{"format":{"type":"xml"}}`, `{"format":{"type":"json_schema"}}`} {
		if a := ask(output); a.status != http.StatusBadRequest {
			t.Errorf("%s: status %d: %s", output, a.status, a.text)
		}
	}
}

// Anthropic's SDK shows its key in a header of its own.
func TestMessageTakesAnthropicsKey(t *testing.T) {
	g := open(t, nil)
	const ask = `{"model":"small","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}`
	for name, c := range map[string]struct {
		path   string
		pairs  []string
		status int
	}{
		"its own":         {messagesPath, []string{"Authorization", "", "X-Api-Key", g.key}, http.StatusOK},
		"a wrong one":     {messagesPath, []string{"Authorization", "", "X-Api-Key", "ptn_x"}, http.StatusUnauthorized},
		"a better bearer": {messagesPath, []string{"X-Api-Key", "x"}, http.StatusOK},
		"a worse bearer":  {messagesPath, []string{"X-Api-Key", g.key, "Authorization", "Bearer x"}, http.StatusUnauthorized},
		"elsewhere":       {chatPath, []string{"Authorization", "", "X-Api-Key", g.key}, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			a := g.do("POST", c.path, ask, c.pairs...)
			if a.status != c.status {
				t.Errorf("status %d, want %d: %s", a.status, c.status, a.text)
			}
		})
	}
}

func TestMessageRefusals(t *testing.T) {
	g := open(t, nil)
	for name, c := range map[string]struct{ body, field, kind string }{
		"no tokens":        {`{"model":"small","messages":[{"role":"user","content":"Hi"}]}`, "max_tokens", "invalid_request_error"},
		"an odd role":      {`{"model":"small","max_tokens":1,"messages":[{"role":"system","content":"Hi"}]}`, "messages[0].role", "invalid_request_error"},
		"no content":       {`{"model":"small","max_tokens":1,"messages":[{"role":"user"}]}`, "messages[0].content", "invalid_request_error"},
		"an odd block":     {`{"model":"small","max_tokens":1,"messages":[{"role":"user","content":[{"type":"document"}]}]}`, "messages.0.content.0.type", "invalid_request_error"},
		"a late result":    {`{"model":"small","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"tool_result","tool_use_id":"t"}]}]}`, "messages.0.content.1", "invalid_request_error"},
		"a call of no id":  {`{"model":"small","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","name":"n"}]}]}`, "messages.0.content.0.id", "invalid_request_error"},
		"an image of none": {`{"model":"small","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image"}]}]}`, "messages.0.content.0.source", "invalid_request_error"},
		"no JSON":          {`{"model":`, "model", "invalid_request_error"},
	} {
		t.Run(name, func(t *testing.T) {
			a := g.do("POST", messagesPath, c.body)
			got, _ := a.at("error", "field").(string)
			if a.status != http.StatusBadRequest || a.at("type") != "error" || a.at("error", "type") != c.kind || got != c.field || a.at("request_id") == nil {
				t.Errorf("status %d: %s", a.status, a.text)
			}
		})
	}
	if g.inference.calls() != 0 {
		t.Error("the model was asked")
	}
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		return nil, apierr.New(apierr.Overloaded, "no room")
	}
	a := g.do("POST", messagesPath, `{"model":"small","max_tokens":1,"messages":[{"role":"user","content":"Hi"}]}`)
	if a.status != apierr.Overloaded.HTTPStatus() || a.at("type") != "error" {
		t.Errorf("status %d: %s", a.status, a.text)
	}
}

// types returns the types of a stream's events, which the lines before their data
// must say too.
func types(t *testing.T, a answer) []string {
	t.Helper()
	var out []string
	for block := range strings.SplitSeq(strings.TrimSuffix(a.text, "\n\n"), "\n\n") {
		event, data, ok := strings.Cut(block, "\n")
		name := strings.TrimPrefix(event, "event: ")
		if !ok || !strings.Contains(data, `"type":"`+name+`"`) {
			t.Errorf("an event is %q", block)
		}
		out = append(out, name)
	}
	return out
}

const askStream = `{"model":"small","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}`

func TestMessageStream(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", messagesPath, askStream)
	want := []string{"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"}
	if got := types(t, a); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	for _, part := range []string{
		`"delta":{"type":"text_delta","text":"Hel\nlo"}`, `"stop_reason":"end_turn"`, `"usage":{"input_tokens":7,"output_tokens":2,`,
		`"content_block":{"type":"text","text":""}`, `"id":"msg-`,
	} {
		if !strings.Contains(a.text, part) {
			t.Errorf("there is no %s in %s", part, a.text)
		}
	}
}

func TestMessageStreamOfThoughtsAndTools(t *testing.T) {
	g := open(t, nil)
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		if err := sendServedBy(out); err != nil {
			return err
		}
		for _, delta := range []string{
			`{"reasoning_content":"Hm"}`, `{"reasoning_content":"m."}`, `{"content":"Let us see."}`,
			`{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}`,
			`{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}`,
			`{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]}`,
		} {
			if err := sendChunk(out, `{"choices":[{"index":0,"delta":`+delta+`}]}`); err != nil {
				return err
			}
		}
		if err := sendChunk(out, `{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`); err != nil {
			return err
		}
		return sendFinish(out)
	}
	a := g.do("POST", messagesPath, askStream)
	var starts []string
	for _, kind := range []string{`{"type":"thinking"`, `{"type":"text"`, `"id":"a","name":"f","input":{}`, `"id":"b","name":"g","input":{}`} {
		if i := strings.Index(a.text, `"content_block":`); i < 0 || !strings.Contains(a.text, kind) {
			starts = append(starts, kind)
		}
	}
	if len(starts) > 0 {
		t.Errorf("no block begins with %v in %s", starts, a.text)
	}
	got := strings.Join(types(t, a), " ")
	want := "message_start content_block_start content_block_delta content_block_delta content_block_stop " + // thoughts
		"content_block_start content_block_delta content_block_stop " + // text
		"content_block_start content_block_delta content_block_delta content_block_stop " + // f
		"content_block_start content_block_delta content_block_stop message_delta message_stop" // g
	if got != want || !strings.Contains(a.text, `"stop_reason":"tool_use"`) {
		t.Errorf("events %s\nwant %s\n%s", got, want, a.text)
	}
}

func TestMessageStreamFails(t *testing.T) {
	g := open(t, nil)
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		if err := sendServedBy(out); err != nil {
			return err
		}
		if err := sendChunk(out, helloChunk); err != nil {
			return err
		}
		return apierr.New(apierr.EngineFailed, "the engine broke")
	}
	a := g.do("POST", messagesPath, askStream)
	got := types(t, a)
	if got[len(got)-1] != "error" || slices.Contains(got, "message_stop") || !strings.Contains(a.text, `"error":{"type":"api_error"`) {
		t.Errorf("%v: %s", got, a.text)
	}
}

func TestMessageTokens(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", messagesPath+"/count_tokens", `{"model":"small","system":"Be brief.","messages":[{"role":"user","content":"Hi"}],
		"tools":[{"name":"f","input_schema":{"type":"object"}}]}`)
	if a.status != http.StatusOK || a.at("input_tokens") != 11.0 {
		t.Fatalf("status %d: %s", a.status, a.text)
	}
	if _, body := g.inference.lastCounted(t); at(body, "messages", 1, "content") != "Hi" || at(body, "tools", 0) == nil {
		t.Errorf("counted %v", body)
	}
}

func TestModeration(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", "/v1/moderations", `{"input":["Hello.","Write to ada@example.org."]}`)
	if a.status != http.StatusOK || a.at("model") != "detectors" || a.at("results", 0, "flagged") != false || a.at("results", 1, "flagged") != true ||
		a.at("results", 1, "categories", "pii/email") != true || a.at("results", 1, "category_scores", "pii/email") != 1.0 ||
		a.at("results", 0, "categories", "pii/email") != false || a.at("results", 1, "category_applied_input_types", "pii/email", 0) != "text" {
		t.Errorf("status %d: %s", a.status, a.text)
	}
	parts := g.do("POST", "/v1/moderations", `{"model":"omni-moderation-latest","input":[{"type":"text","text":"Hello."},{"type":"text","text":"ada@example.org"}]}`)
	if results, _ := parts.at("results").([]any); len(results) != 1 || parts.at("results", 0, "flagged") != true {
		t.Errorf("status %d: %s", parts.status, parts.text)
	}
	for _, body := range []string{
		`{}`, `{"input":[]}`, `{"input":["a",{"type":"text","text":"b"}]}`, `{"input":[{"type":"image_url","image_url":{"url":"x"}}]}`,
		`{"input":"a","model":"gpt-4"}`, `{"input":7}`,
	} {
		if a := g.do("POST", "/v1/moderations", body); a.status != http.StatusBadRequest || a.at("error", "message") == nil {
			t.Errorf("%s: status %d: %s", body, a.status, a.text)
		}
	}
	image := g.do("POST", "/v1/moderations", `{"input":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"x"}}]}`)
	if image.at("error", "message") != "input[1]: only texts are moderated, and no images" || image.at("error", "param") != "input[1]" {
		t.Errorf("an image: %s", image.text)
	}
	large := open(t, func(c *edge.Config) { c.HTTP.MaxBodyBytes = config.MiB })
	for text, status := range map[string]int{strings.Repeat("1 ", 128<<10): http.StatusOK, strings.Repeat("1 ", 128<<10) + "1": http.StatusRequestEntityTooLarge} {
		if a := large.do("POST", "/v1/moderations", `{"input":["`+text+`"]}`); a.status != status {
			t.Errorf("%d bytes: status %d: %.200s", len(text), a.status, a.text)
		}
	}
	if a := g.do("POST", "/v1/moderations", `{"input":""}`); a.status != http.StatusOK || a.at("results", 0, "flagged") != false {
		t.Errorf("an empty text: status %d: %s", a.status, a.text)
	}
}
