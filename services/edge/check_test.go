package edge_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// What OpenAI's documentation defines is refused here, by the member's name,
// and never reaches an engine.
func TestWrongValuesAreRefused(t *testing.T) {
	g := open(t, nil)
	const tool = `"tools":[{"type":"function","function":{"name":"f"}}]`
	chat := map[string]string{ // members beside the model and a message → the member at fault
		`"max_tokens":"5"`:              "max_tokens",
		`"max_tokens":0`:                "max_tokens",
		`"max_completion_tokens":0`:     "max_completion_tokens",
		`"n":"2"`:                       "n",
		`"temperature":"1"`:             "temperature",
		`"top_logprobs":3`:              "top_logprobs",
		`"logit_bias":"x"`:              "logit_bias",
		`"logit_bias":{"5":"x"}`:        "logit_bias",
		`"logit_bias":{"5":101}`:        "logit_bias",
		`"tools":[{"type":"nope"}]`:     "tools[0].type",
		`"tools":[{}]`:                  "tools[0].type",
		`"tools":[{"type":"custom"}]`:   "tools[0].custom",
		`"tools":[{"type":"function"}]`: "tools[0].function",
		`"tools":[{"type":"function","function":{"name":"a b"}}]`:                "tools[0].function.name",
		`"tools":[{"type":"function","function":{"name":"f","parameters":"x"}}]`: "tools[0].function.parameters",
		`"tools":[{"type":"function","function":{"name":"f","description":5}}]`:  "tools[0].function.description",
		`"tools":[{"type":"function","function":{"name":"f","strict":"yes"}}]`:   "tools[0].function.strict",
		`"tool_choice":"zzz"`:      "tool_choice",
		`"tool_choice":"required"`: "tool_choice",
		`"tool_choice":{"type":"function","function":{"name":"f"}}`:                        "tool_choice.function.name",
		tool + `,"tool_choice":{"type":"function","function":{"name":"g"}}`:                "tool_choice.function.name",
		tool + `,"tool_choice":{"type":"function"}`:                                        "tool_choice.function.name",
		`"response_format":{"type":"zzz"}`:                                                 "response_format.type",
		`"response_format":"json"`:                                                         "response_format",
		`"response_format":{"type":"json_schema"}`:                                         "response_format.json_schema",
		`"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":"y"}}`: "response_format.json_schema.schema",
		`"response_format":{"type":"json_schema","json_schema":{"name":5,"schema":{}}}`:    "response_format.json_schema.name",
	}
	for members, param := range chat {
		refusedFor(t, g, chatPath, `{"model":"small","messages":[{"role":"user","content":"Hi"}],`+members+`}`, param)
	}
	for message, param := range map[string]string{
		`{"role":"user"}`:                                                   "messages[0].content",
		`{"role":"user","content":null}`:                                    "messages[0].content",
		`{"role":"user","content":[]}`:                                      "messages[0].content",
		`{"role":"system"}`:                                                 "messages[0].content",
		`{"role":"assistant"}`:                                              "messages[0].content",
		`{"role":"user","content":[{"type":"text"}]}`:                       "messages[0].content[0].text",
		`{"role":"user","content":[{"type":"image_url"}]}`:                  "messages[0].content[0].image_url",
		`{"role":"user","content":[{"type":"image_url","image_url":"u"}]}`:  "messages[0].content[0].image_url",
		`{"role":"user","content":[{"type":"text","text":"a"},{"text":1}]}`: "messages[0].content[1].text",
	} {
		refusedFor(t, g, chatPath, `{"model":"small","messages":[`+message+`]}`, param)
		refusedFor(t, g, chatPath, `{"model":"small","stream":true,"messages":[`+message+`]}`, param)
	}
	for members, param := range map[string]string{
		`"prompt":[]`: "prompt", `"prompt":["a",1]`: "prompt[1]", `"prompt":[[]]`: "prompt[0]", `"prompt":null`: "prompt",
		`"prompt":"a","max_tokens":"5"`: "max_tokens", `"prompt":"a","logprobs":true`: "logprobs", `"prompt":"a","logprobs":99`: "logprobs",
		`"prompt":"a","logit_bias":5`: "logit_bias", `"prompt":["` + strings.Repeat(`a","`, 2048) + `a"]`: "prompt",
	} {
		refusedFor(t, g, "/v1/completions", `{"model":"small",`+members+`}`, param)
	}
	for input, param := range map[string]string{`""`: "input", `["a",""]`: "input[1]", `["1","2",[3]]`: "input[2]", `[[1,"2"]]`: "input[0][1]"} {
		refusedFor(t, g, "/v1/embeddings", `{"model":"small","input":`+input+`}`, param)
	}
	if n := g.inference.calls() + len(g.inference.embedded); n != 0 {
		t.Errorf("the inference service was asked %d times", n)
	}
}

func refusedFor(t *testing.T, g *gate, path, body, param string) {
	t.Helper()
	a := g.do("POST", path, body)
	message, _ := a.at("error", "message").(string)
	if a.status != 400 || a.at("error", "param") != param || !strings.HasPrefix(message, param) {
		t.Errorf("%.200s: got %d %s", body, a.status, a.text)
	}
}

// What OpenAI accepts, and what only engines know, is let through.
func TestRightValuesAreAccepted(t *testing.T) {
	g := open(t, nil)
	for _, members := range []string{
		`"max_tokens":1`, `"max_tokens":null,"n":2.0,"seed":9007199254740993`, `"logprobs":true,"top_logprobs":0`,
		`"logit_bias":{"5":-100,"6":1.5},"logit_bias_":1`, `"logit_bias":[[5,-1]]`, `"logit_bias":null`, `"tools":[]`, `"tool_choice":"none"`, `"tool_choice":"auto"`,
		`"tools":[{"type":"function","function":{"name":"get-it.now_1","parameters":{},"strict":null}}],"tool_choice":"required"`,
		`"tools":[{"type":"custom","custom":{"name":"x"}}],"tool_choice":{"type":"custom","custom":{"name":"x"}}`,
		`"response_format":{"type":"text"}`, `"response_format":{"type":"json_object"}`, `"top_k":"abc"`, `"grammar":"?"`,
		`"response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":{"type":"odd"}}}`,
	} {
		if a := g.do("POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"Hi"}],`+members+`}`); a.status != 200 {
			t.Errorf("%s: %s", members, a.text)
		}
	}
	for _, message := range []string{
		`{"role":"user","content":""}`, `{"role":"assistant","content":null,"refusal":"no"}`, `{"role":"developer","content":"x"}`,
		`{"role":"assistant","content":null,"function_call":{"name":"f","arguments":""}}`, `{"role":"function","name":"f","content":null}`,
		`{"role":"user","content":[{"type":"video_url","video_url":{"url":"x"}}]}`, `{"role":"assistant","content":[{"type":"refusal","refusal":"x"}]}`,
	} {
		if a := g.do("POST", chatPath, `{"model":"small","messages":[`+message+`]}`); a.status != 200 {
			t.Errorf("%s: %s", message, a.text)
		}
	}
	for _, members := range []string{`"prompt":"","max_tokens":0`, `"prompt":["a","b"],"logprobs":5`, `"prompt":[[1],[2]]`, `"prompt":[1,2]`} {
		if a := g.do("POST", "/v1/completions", `{"model":"small",`+members+`}`); a.status != 200 {
			t.Errorf("%s: %s", members, a.text)
		}
	}
}

func TestMessagesSayWhatIsWrong(t *testing.T) {
	g := open(t, nil)
	for _, tt := range []struct{ method, path, body, want string }{
		{"POST", chatPath, `{}`, "model is required; messages is required"},
		{"POST", chatPath, `{"model":"m","messages":[{"role":"king","content":""}]}`, "messages[0].role must be one of: system, developer, user, assistant, tool, function"},
		{"POST", chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":1.5}`, "max_tokens: must be a whole number"},
		{"GET", "/v1/models?page_size=abc", "", "page_size: must be one whole number"},
	} {
		if a := g.do(tt.method, tt.path, tt.body); a.at("error", "message") != tt.want {
			t.Errorf("%s %s: %s", tt.path, tt.body, a.text)
		}
	}
	const moment = "must be a time of RFC 3339, such as 2026-01-02T15:04:05Z"
	for _, tt := range []struct{ method, path, body, want string }{
		{"GET", "/v1/usage?from=yesterday", "", "from: " + moment},
		{"GET", "/v1/admin/usage:export?to=2026-01-02", "", "to: " + moment},
		{"POST", "/v1/admin/usage:check", `{"from":"yesterday"}`, "from: " + moment},
		{"GET", "/v1/admin/api-keys?state=live", "", "state: must be one of API_KEY_STATE_ACTIVE, API_KEY_STATE_REVOKED, API_KEY_STATE_EXPIRED, API_KEY_STATE_DISABLED"},
	} {
		if a := g.do(tt.method, tt.path, tt.body); a.status != 400 || a.at("detail") != tt.want {
			t.Errorf("%s %s: %s", tt.path, tt.body, a.text)
		}
	}
	a := g.do("POST", "/v1/collections", `{"id":"Hand Book"}`)
	if want := "id must be 1 to 63 of the characters 0-9 a-z - and _, the first of 0-9 and a-z"; a.at("detail") != want ||
		a.at("errors", 0, "detail") != strings.TrimPrefix(want, "id ") {
		t.Errorf("a bad id: %s", a.text)
	}
	a = g.do("GET", "/v1/admin/audit?page_token=zzz", "")
	if a.at("errors", 0, "detail") != "is not one that this method gave" || a.at("detail") != "page_token is not one that this method gave" {
		t.Errorf("a bad page: %s", a.text)
	}
	if a := g.do("POST", "/v1/collections/handbook:srch", `{"query":"x"}`); a.status != 404 {
		t.Errorf("an unknown verb: %d %s", a.status, a.text)
	}
	if a := g.do("PUT", "/v1/collections/handbook:search", "{}"); a.status != 405 || a.header.Get("Allow") == "" {
		t.Errorf("a verb with the wrong method: %d %s", a.status, a.text)
	}
	if a := g.do("POST", "/v1/images/generations", `{}`); a.status != 404 || a.at("error", "code") != "not_found" {
		t.Errorf("one of OpenAI's paths that is not here: %d %s", a.status, a.text)
	}
}

func TestKeysHaveKnownRoles(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", "/v1/admin/api-keys", `{"name":"x","roles":["reader","raeder"]}`)
	if detail, _ := a.at("detail").(string); a.status != 400 || a.at("errors", 0, "field") != "roles[1]" || !strings.HasSuffix(detail, "known are: admin, approver, developer, reader, scanner") {
		t.Errorf("got %d %s", a.status, a.text)
	}
	if a := g.do("POST", "/v1/admin/api-keys", `{"name":"x","roles":["reader"]}`); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.text)
	}
}

const legacyLogprobs = `{"id":"chatcmpl-7","choices":[{"index":%s,"text":"é b","logprobs":{"content":[` +
	`{"token":"é","bytes":[195,169],"logprob":-1,"top_logprobs":[{"token":"é","logprob":-1},{"token":"e","logprob":-2}]},` +
	`{"token":" b","bytes":null,"logprob":-0.5,"top_logprobs":[]}]},"finish_reason":null}]}`

// llama-server answers the older API in the newer one's shape.
func TestCompletionsInTheOlderShape(t *testing.T) {
	g := open(t, nil)
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		return &inferencev1.InvokeResponse{ServedBy: servedBy(), Usage: usage(), Body: []byte(strings.ReplaceAll(legacyLogprobs, "%s", "0"))}, nil
	}
	a := g.do("POST", "/v1/completions", `{"model":"small","prompt":"x","logprobs":2}`)
	const want = `"logprobs":{"tokens":["é"," b"],"token_logprobs":[-1,-0.5],"top_logprobs":[{"e":-2,"é":-1},{}],"text_offset":[0,1]}`
	if !strings.HasPrefix(text(a.at("id")), "cmpl-") || !strings.Contains(a.text, want) {
		t.Errorf("got %s", a.text)
	}
	own := `{"choices":[{"index":0,"text":"x","logprobs":{"tokens":["x"],"text_offset":[9]},"finish_reason":"stop"}]}`
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		return &inferencev1.InvokeResponse{ServedBy: servedBy(), Usage: usage(), Body: []byte(own)}, nil
	}
	if a := g.do("POST", "/v1/completions", `{"model":"small","prompt":"x","logprobs":2}`); !strings.Contains(a.text, `"logprobs":{"tokens":["x"],"text_offset":[9]}`) {
		t.Errorf("an engine's own form became %s", a.text)
	}

	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		for _, chunk := range []string{
			strings.ReplaceAll(legacyLogprobs, "%s", "0"), strings.ReplaceAll(legacyLogprobs, "%s", "1"), strings.ReplaceAll(legacyLogprobs, "%s", "0"),
			`{"id":"chatcmpl-7","choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`,
		} {
			if err := sendChunk(out, chunk); err != nil {
				return err
			}
		}
		return sendFinish(out)
	}
	got := events(t, g.do("POST", "/v1/completions", `{"model":"small","prompt":"x","logprobs":2,"stream":true,"stream_options":{"include_usage":true}}`))
	if len(got) != 6 || !strings.Contains(got[0], `"text_offset":[0,1]`) || !strings.Contains(got[1], `"text_offset":[0,1]`) ||
		!strings.Contains(got[2], `"text_offset":[3,4]`) || strings.Contains(got[3], "usage") || !strings.Contains(got[0], `"id":"cmpl-`) ||
		!strings.Contains(got[4], `"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}`) {
		t.Errorf("the stream is\n%s", strings.Join(got, "\n"))
	}
}
