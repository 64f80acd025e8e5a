package edge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

const responsesPath = "/v1/responses"

func TestResponse(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", responsesPath, `{"model":"small","instructions":"Be brief.","input":[
		{"role":"user","content":[{"type":"input_text","text":"Weather?"},{"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"low"}]},
		{"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"Hm."}]},
		{"type":"function_call","call_id":"c1","name":"weather","arguments":"{}"},
		{"type":"function_call","call_id":"c2","name":"weather","arguments":"{\"at\":1}"},
		{"type":"function_call_output","call_id":"c1","output":"Sun"}],
		"tools":[{"type":"function","name":"weather","parameters":{"type":"object"},"strict":true}],"tool_choice":{"type":"function","name":"weather"},
		"parallel_tool_calls":false,"max_output_tokens":9,"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"}}},
		"metadata":{"k":"v"},"user":"alice","top_k":3}`)
	if a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.text)
	}
	if a.at("object") != "response" || a.at("status") != "completed" || a.at("output", 0, "content", 0, "text") != "Hello" ||
		a.at("output", 0, "type") != "message" || a.at("output", 0, "content", 0, "type") != "output_text" || a.at("usage", "total_tokens") != 9.0 ||
		a.at("metadata", "k") != "v" || a.at("store") != true || a.at("error") != nil || a.at("tool_choice", "name") != "weather" {
		t.Errorf("answered %s", a.text)
	}
	body := g.inference.last(t)
	for i, want := range []string{"system Be brief.", "user [map[text:Weather? type:text] map[image_url:map[detail:low url:data:image/png;base64,AAAA] type:image_url]]", "assistant <nil>", "tool Sun"} {
		if got := fmt.Sprint(at(body, "messages", i, "role"), " ", at(body, "messages", i, "content")); got != want {
			t.Errorf("message %d is %s, want %s", i, got, want)
		}
	}
	if at(body, "messages", 2, "tool_calls", 1, "id") != "c2" || at(body, "messages", 2, "reasoning_content") != "Hm." || at(body, "messages", 3, "tool_call_id") != "c1" {
		t.Errorf("the engine got %v", body["messages"])
	}
	if at(body, "tools", 0, "function", "strict") != true || at(body, "tool_choice", "function", "name") != "weather" || body["parallel_tool_calls"] != false ||
		body["max_completion_tokens"] != 9.0 || at(body, "response_format", "json_schema", "name") != "n" || body["top_k"] != 3.0 || body["user"] != "alice" {
		t.Errorf("the engine got %v", body)
	}
	for _, absent := range []string{"input", "instructions", "store", "metadata", "text"} {
		if _, there := body[absent]; there {
			t.Errorf("the engine got %s", absent)
		}
	}
}

// turn asks for a response, and returns its id.
func (g *gate) turn(body string) string {
	g.t.Helper()
	a := g.do("POST", responsesPath, body)
	id, ok := a.at("id").(string)
	if a.status != http.StatusOK || !ok {
		g.t.Fatalf("status %d: %s", a.status, a.text)
	}
	return id
}

func TestResponsesGoOn(t *testing.T) {
	g := open(t, nil)
	first := g.turn(`{"model":"small","input":"One","instructions":"Forget me."}`)
	second := g.turn(`{"model":"small","input":"Two","previous_response_id":"` + first + `"}`)
	body := g.inference.last(t)
	for i, want := range []string{"user One", "assistant Hello", "user Two"} {
		if got := fmt.Sprint(at(body, "messages", i, "role"), " ", at(body, "messages", i, "content")); got != want {
			t.Errorf("message %d is %s, want %s", i, got, want)
		}
	}
	kept := g.do("GET", responsesPath+"/"+second, "")
	if kept.status != http.StatusOK || kept.at("previous_response_id") != first || kept.at("output", 0, "content", 0, "text") != "Hello" {
		t.Errorf("status %d: %s", kept.status, kept.text)
	}
	items := g.do("GET", responsesPath+"/"+second+"/input_items?order=asc&limit=2", "")
	if items.at("data", 0, "content") != "One" || items.at("data", 1, "role") != "assistant" || items.at("has_more") != true {
		t.Errorf("status %d: %s", items.status, items.text)
	}
	last, _ := items.at("last_id").(string)
	rest := g.do("GET", responsesPath+"/"+second+"/input_items?order=asc&after="+last, "")
	if rest.at("data", 0, "content") != "Two" || rest.at("has_more") != false || rest.at("data", 1) != nil {
		t.Errorf("status %d: %s", rest.status, rest.text)
	}
	if a := g.do("DELETE", responsesPath+"/"+first, ""); a.status != http.StatusOK || a.at("deleted") != true {
		t.Errorf("status %d: %s", a.status, a.text)
	}
	for name, a := range map[string]answer{
		"forgotten twice":      g.do("DELETE", responsesPath+"/"+first, ""),
		"forgotten":            g.do("GET", responsesPath+"/"+first, ""),
		"made up":              g.do("GET", responsesPath+"/resp-AAAA", ""),
		"from the forgotten":   g.do("POST", responsesPath, `{"model":"small","input":"x","previous_response_id":"`+first+`"}`),
		"from one behind it":   g.do("POST", responsesPath, `{"model":"small","input":"x","previous_response_id":"`+second+`"}`),
		"with a changed id":    g.do("GET", responsesPath+"/"+second[:len(second)-2]+"AA", ""),
		"items of the unknown": g.do("GET", responsesPath+"/resp-AAAA/input_items", ""),
	} {
		if a.status != http.StatusNotFound || a.at("error", "message") == nil {
			t.Errorf("%s: status %d: %s", name, a.status, a.text)
		}
	}
	if a := g.do("GET", responsesPath+"/"+second, ""); a.status != http.StatusOK {
		t.Errorf("one behind the forgotten: status %d: %s", a.status, a.text)
	}
}

func TestResponsesAreTheirMakers(t *testing.T) {
	g := open(t, nil)
	mine := g.turn(`{"model":"small","input":"Secret"}`)
	for name, body := range map[string]string{
		"another tenant's": `{"name":"a","tenant":"globex","roles":["admin"]}`, "a colleague's": `{"name":"b","roles":["admin"]}`,
	} {
		made := g.do("POST", "/v1/admin/api-keys", body)
		key, ok := made.at("secret").(string)
		if !ok {
			if key, ok = made.at("key").(string); !ok {
				t.Fatalf("status %d: %s", made.status, made.text)
			}
		}
		for _, a := range []answer{
			g.do("GET", responsesPath+"/"+mine, "", "Authorization", "Bearer "+key),
			g.do("DELETE", responsesPath+"/"+mine, "", "Authorization", "Bearer "+key),
			g.do("GET", responsesPath+"/"+mine+"/input_items", "", "Authorization", "Bearer "+key),
			g.do("POST", responsesPath, `{"model":"small","input":"x","previous_response_id":"`+mine+`"}`, "Authorization", "Bearer "+key),
		} {
			if a.status != http.StatusNotFound {
				t.Errorf("%s: status %d: %s", name, a.status, a.text)
			}
		}
	}
	if a := g.do("GET", responsesPath+"/"+mine, ""); a.status != http.StatusOK {
		t.Errorf("status %d: %s", a.status, a.text)
	}
}

func TestResponsesThatAreNotKept(t *testing.T) {
	g := open(t, nil)
	id := g.turn(`{"model":"small","input":"One","store":false}`)
	if a := g.do("GET", responsesPath+"/"+id, ""); a.status != http.StatusNotFound {
		t.Errorf("status %d: %s", a.status, a.text)
	}
	none := open(t, func(c *edge.Config) { c.Responses.Store = false })
	if a := none.do("POST", responsesPath, `{"model":"small","input":"One","store":true}`); a.at("store") != false {
		t.Errorf("it says that it is kept: %s", a.text)
	}
}

// What the detectors take out of a request is not kept of it either.
func TestResponsesAreKeptRedacted(t *testing.T) {
	g := open(t, func(c *edge.Config) {
		c.Detectors.Rules = []edge.DetectorRule{{Kinds: []string{"pii/email"}, Action: "redact"}}
	})
	id := g.turn(`{"model":"small","instructions":"For ada@example.org.","input":[{"role":"user","content":[{"type":"input_text","text":"I am ada@example.org."}]}]}`)
	for _, path := range []string{"/input_items", ""} {
		a := g.do("GET", responsesPath+"/"+id+path, "")
		if a.status != http.StatusOK || strings.Contains(a.text, "ada@") {
			t.Errorf("%s: status %d: %s", path, a.status, a.text)
		}
	}
}

func TestResponseRefusals(t *testing.T) {
	g := open(t, nil)
	for _, c := range []struct{ body, field string }{
		{`{"model":"small"}`, "input"},
		{`{"model":"small","input":[]}`, "input"},
		{`{"model":"small","input":[{"content":"x"}]}`, "input[0].role"},
		{`{"model":"small","input":[{"role":"user"}]}`, "input[0].content"},
		{`{"model":"small","input":[{"role":"user","content":[{"type":"input_file"}]}]}`, "input[0].content[0].type"},
		{`{"model":"small","input":[{"type":"function_call","name":"f"}]}`, "input[0].call_id"},
		{`{"model":"small","input":[{"type":"web_search_call"}]}`, "input.list.items[0].type"},
		{`{"model":"small","input":"x","background":true}`, "background"},
		{`{"model":"small","input":"x","tools":[{"type":"web_search"}]}`, "tools[0].type"},
		{`{"model":"small","input":"x","truncation":"auto"}`, "truncation"},
		{`{"model":"small","input":"x","text":{"format":{"type":"xml"}}}`, "text.format.type"},
		{`{"model":"small","input":"x","metadata":{"k":"` + strings.Repeat("v", 513) + `"}}`, `metadata["k"]`},
	} {
		a := g.do("POST", responsesPath, c.body)
		if a.status != http.StatusBadRequest || a.at("error", "param") != c.field {
			t.Errorf("%s: status %d, want one for %s: %s", c.body, a.status, c.field, a.text)
		}
	}
	if g.inference.calls() != 0 {
		t.Error("the model was asked")
	}
}

func TestResponseStream(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", responsesPath, `{"model":"small","stream":true,"input":"Hi"}`)
	want := []string{
		"response.created", "response.in_progress", "response.output_item.added", "response.content_part.added", "response.output_text.delta",
		"response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
	}
	if got := types(t, a); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	for i := range want {
		if !strings.Contains(a.text, fmt.Sprintf(`"sequence_number":%d,`, i)) && !strings.Contains(a.text, fmt.Sprintf(`"sequence_number":%d}`, i)) {
			t.Errorf("no event has the place %d: %s", i, a.text)
		}
	}
	_, after, _ := strings.Cut(a.text, `"id":"`)
	id, _, _ := strings.Cut(after, `"`)
	kept := g.do("GET", responsesPath+"/"+id, "")
	if kept.status != http.StatusOK || kept.at("output", 0, "content", 0, "text") != "Hel\nlo" || kept.at("usage", "total_tokens") != 9.0 {
		t.Errorf("kept is status %d: %s", kept.status, kept.text)
	}
}

func TestResponseStreamOfThoughtsAndFunctions(t *testing.T) {
	g := open(t, nil)
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		if err := sendServedBy(out); err != nil {
			return err
		}
		for _, delta := range []string{
			`{"reasoning_content":"Hm"}`, `{"content":"Let "}`, `{"content":"us see."}`,
			`{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{"}}]}`,
			`{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}`,
			`{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]}`,
		} {
			if err := sendChunk(out, `{"choices":[{"index":0,"delta":`+delta+`}]}`); err != nil {
				return err
			}
		}
		if err := sendChunk(out, `{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`); err != nil {
			return err
		}
		return sendFinish(out)
	}
	a := g.do("POST", responsesPath, `{"model":"small","stream":true,"input":"Hi"}`)
	got := types(t, a)
	if got[len(got)-1] != "response.incomplete" || !strings.Contains(a.text, `"reason":"max_output_tokens"`) {
		t.Errorf("%v: %s", got, a.text)
	}
	if n := strings.Count(a.text, `"status":"incomplete"`); n != 3 { // the last item, in its own event and in the response, and that
		t.Errorf("%d are incomplete: %s", n, a.text)
	}
	count := make(map[string]int)
	for _, kind := range got {
		count[kind]++
	}
	for kind, n := range map[string]int{
		"response.output_item.added": 4, "response.output_item.done": 4, "response.reasoning_text.delta": 1, "response.reasoning_text.done": 1,
		"response.output_text.delta": 2, "response.output_text.done": 1, "response.function_call_arguments.delta": 3, "response.function_call_arguments.done": 2,
		"response.content_part.added": 2, "response.content_part.done": 2,
	} {
		if count[kind] != n {
			t.Errorf("%d of %s, want %d", count[kind], kind, n)
		}
	}
	if !strings.Contains(a.text, `"call_id":"a","name":"f","arguments":"{}"`) {
		t.Errorf("the call is not whole: %s", a.text)
	}
}

func TestResponseStreamFails(t *testing.T) {
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
	a := g.do("POST", responsesPath, `{"model":"small","stream":true,"input":"Hi"}`)
	got := types(t, a)
	if got[len(got)-1] != "error" || slices.Contains(got, "response.completed") || !strings.Contains(a.text, `"sequence_number":5,"code":"engine_failed"`) {
		t.Errorf("%v: %s", got, a.text)
	}
}
