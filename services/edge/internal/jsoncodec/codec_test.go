package jsoncodec

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// TestRoundTrip reads each document and writes it again: what a client sent
// must come out as it was, but for spacing that the codec itself decides.
func TestRoundTrip(t *testing.T) {
	tests := map[string]struct {
		into proto.Message
		in   string
		want string // "" is in
	}{
		"content as text": {
			&edgev1.CreateChatCompletionRequest{},
			`{"model":"m","messages":[{"role":"user","content":"hé\n\"\\ 😀"}]}`, "",
		},
		"content as parts, with members nobody knows": {
			&edgev1.CreateChatCompletionRequest{},
			`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},` +
				`{"type":"image_url","image_url":{"url":"data:,x", "detail" : "low"}}]}]}`, "",
		},
		"null content and tool calls": {
			&edgev1.CreateChatCompletionRequest{},
			`{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function",` +
				`"function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","content":"1","tool_call_id":"c1"}]}`, "",
		},
		"unions": {
			&edgev1.CreateChatCompletionRequest{},
			`{"model":"m","messages":[],"stop":["a","b"],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],` +
				`"tool_choice":{"type":"function","function":{"name":"f"}},"response_format":{"type": "json_object"}}`, "",
		},
		"the other members of the unions": {
			&edgev1.CreateChatCompletionRequest{},
			`{"model":"m","messages":[],"stop":"a","tool_choice":"auto"}`, "",
		},
		"an engine's own parameters, byte for byte": {
			&edgev1.CreateChatCompletionRequest{},
			`{"model":"m","messages":[],"mirostat":2.0,"min_p":1e-1,"n_probs":123456789012345678901234567890,` +
				`"x":{"b":1,  "a":[ 1 ,null ]},"y":"\u00e9\/"}`,
			`{"model":"m","messages":[],"min_p":1e-1,"mirostat":2.0,"n_probs":123456789012345678901234567890,` +
				`"x":{"b":1,  "a":[ 1 ,null ]},"y":"\u00e9\/"}`,
		},
		"null is missing": {
			&edgev1.CreateChatCompletionRequest{},
			`{"model":"m","messages":null,"temperature":null,"tools":null,"response_format":null,"user":null}`,
			`{"model":"m","messages":[]}`,
		},
		"numbers": {
			&edgev1.CreateChatCompletionRequest{},
			`{"model":"m","messages":[],"max_tokens":1e2,"temperature":0.1,"n":2.0,"seed":9223372036854775807}`,
			`{"model":"m","messages":[],"max_tokens":100,"temperature":0.1,"n":2,"seed":9223372036854775807}`,
		},
		"token lists": {
			&edgev1.CreateEmbeddingRequest{},
			`{"model":"m","input":[[1,2],[3]],"encoding_format":"base64","user":"","input_type":""}`, "",
		},
		"tokens": {
			&edgev1.CreateEmbeddingRequest{},
			`{"model":"m","input":[1,2],"encoding_format":"","user":"","input_type":""}`, "",
		},
		"an answer as OpenAI's clients expect it": {
			&edgev1.CreateChatCompletionResponse{},
			`{"id":"i","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",` +
				`"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0},"timings":{"a":1}}`,
			`{"id":"i","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",` +
				`"content":""},"finish_reason":"stop","logprobs":null}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0},"timings":{"a":1}}`,
		},
		"a chunk": {
			&edgev1.StreamChatCompletionResponse{},
			`{"id":"i","object":"o","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":null,"logprobs":null}]}`, "",
		},
		"our own lists are never missing": {
			&registryv1.ListModelsResponse{}, `{}`, `{"models":[],"next_page_token":""}`,
		},
		"enums, maps, 64 bits, lowerCamelCase": {
			&registryv1.CreateVersionRequest{},
			`{"model":"m","spec":{"task":"TASK_CHAT","engine":"sim","contextLength":4096,"parameters":{"b":"2","a":"1"},` +
				`"artifacts":[{"uri":"file:///x","sha256":"","size_bytes":9007199254740993,"role":""}]}}`,
			`{"model":"m","spec":{"task":"TASK_CHAT","engine":"sim","artifacts":[{"uri":"file:///x","sha256":"","size_bytes":9007199254740993,"role":"","name":""}],` +
				`"parameters":{"a":"1","b":"2"},"context_length":4096,"embedding_dimensions":0,"continuation":false,"prompt_template":"","adapters":[]},"description":"","metrics":{},"licence":"","labels":{}}`,
		},
		"well-known types": {
			&searchv1.Document{},
			`{"id":"d","title":"","text":"t","metadata":{"a":[1,"x",null,true],"b":{"c":1.5}},"acl":{"principals":[]},` +
				`"create_time":"2026-01-02T03:04:05.678Z","content_hash":""}`, "",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := tt.want
			if want == "" {
				want = tt.in
			}
			c := New(Options{})
			if err := c.Unmarshal([]byte(tt.in), tt.into); err != nil {
				t.Fatalf("Unmarshal: %v", err)
			}
			got, err := c.Marshal(tt.into)
			if err != nil {
				t.Fatalf("Marshal: %v", err)
			}
			if string(got) != want {
				t.Errorf("came out as\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	chat := func() proto.Message { return &edgev1.CreateChatCompletionRequest{} }
	collection := func() proto.Message { return &searchv1.CreateCollectionRequest{} }
	tests := map[string]struct {
		into  proto.Message
		in    string
		field string
		says  string
	}{
		"no document":            {chat(), ``, "", "ends too early"},
		"cut off":                {chat(), `{"model":"m"`, "", "ends too early"},
		"no object":              {chat(), `[]`, "", "must be a JSON object"},
		"no JSON":                {chat(), `{"model":m}`, "model", "not valid JSON"},
		"two documents":          {chat(), `{} {}`, "", "nothing after it"},
		"a string for a list":    {chat(), `{"messages":"x"}`, "messages", "must be an array"},
		"a string for a number":  {chat(), `{"temperature":"hot"}`, "temperature", "must be a number"},
		"a fraction":             {chat(), `{"max_tokens":1.5}`, "max_tokens", "must be a whole number"},
		"too large a number":     {chat(), `{"max_tokens":3000000000}`, "max_tokens", "must be a whole number, 2147483647 or less"},
		"far too large a number": {chat(), `{"max_tokens":1e400}`, "max_tokens", "must be a whole number, 2147483647 or less"},
		"a number as a string":   {chat(), `{"max_tokens":"5"}`, "max_tokens", "must be a whole number"},
		"a long one as a string": {chat(), `{"seed":"5"}`, "seed", "must be a whole number"},
		"a number for a role":    {chat(), `{"messages":[{"role":3}]}`, "messages[0].role", "must be a string"},
		"a type no union has":    {chat(), `{"messages":[{"content":5}]}`, "messages[0].content", "must be a string or an array"},
		"null in a list":         {chat(), `{"messages":[null]}`, "messages[0]", "must not be null"},
		"a member twice":         {chat(), `{"model":"a","model":"b"}`, "model", "comes twice"},
		"an unknown one twice":   {chat(), `{"x":1,"x":2}`, "x", "comes twice"},
		"twice inside":           {chat(), `{"messages":[{"x":{"a":1,"a":2}}]}`, "messages[0].x.a", "comes twice"},
		"both spellings":         {collection(), `{"display_name":"a","displayName":"b"}`, "display_name", "comes twice"},
		"a name that is unknown": {collection(), `{"nam e":1}`, `["nam e"]`, "is not known here"},
		"not UTF-8":              {chat(), "{\"model\":\"\xff\"}", "model", "not valid JSON"},
		"half a surrogate pair":  {chat(), `{"model":"\ud800"}`, "model", "not valid JSON"},
		"too deep":               {chat(), `{"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "x", "nests deeper"},
		"far too deep":           {chat(), `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "x", "not valid JSON"},
		"too many items":         {chat(), `{"messages":[` + strings.Repeat("{},", 4096) + `{}]}`, "messages", "more than 4096 items"},
		"too many unknown":       {chat(), `{` + manyMembers(300) + `}`, "m256", "too many"},
		"an unknown enum":        {&registryv1.CreateVersionRequest{}, `{"spec":{"task":"X"}}`, "spec.task", "one of TASK_CHAT, TASK_EMBEDDING"},
		"a bad time":             {&edgev1.CreateApiKeyRequest{}, `{"expire_time":"soon"}`, "expire_time", "must be a time"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := New(Options{}).Unmarshal([]byte(tt.in), tt.into)
			if err == nil {
				t.Fatal("was accepted")
			}
			e := apierr.From(err)
			if e.Reason != apierr.InvalidArgument || e.Field != tt.field || !strings.Contains(e.Message, tt.says) {
				t.Errorf("got %s, field %q, %q; want field %q and %q", e.Reason, e.Field, e.Message, tt.field, tt.says)
			}
		})
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"m%d":1`, i)
	}
	return b.String()
}

// TestMarshalRefusesInjection holds a gRPC client to JSON: text that closes
// its member could write any other.
func TestMarshalRefusesInjection(t *testing.T) {
	for _, raw := range []string{`1,"model":"other"`, `1}`, ``, `1 2`, `{"a":1,"a":2}`, `nul`} {
		m := &edgev1.CreateChatCompletionRequest{Extra: map[string]string{"x": raw}}
		if out, err := New(Options{}).Marshal(m); err == nil || apierr.From(err).Field != "x" {
			t.Errorf("extra %q: got %s, %v; want INVALID_ARGUMENT for x", raw, out, err)
		}
	}
	m := &edgev1.CreateChatCompletionRequest{Model: "mine", Extra: map[string]string{"model": `"other"`}}
	out, err := New(Options{}).Marshal(m)
	if err != nil || strings.Contains(string(out), "other") {
		t.Errorf("an unknown member replaced a known one: %s, %v", out, err)
	}
}

// TestNamesThatDifferInCaseOnly holds that an engine which reads names without
// case gets no member but those that were looked at here.
func TestNamesThatDifferInCaseOnly(t *testing.T) {
	c := New(Options{})
	for text, field := range map[string]string{
		`{"model":"m","MODEL":"other","messages":[]}`:                      "MODEL",
		`{"model":"m","Max_Tokens":1,"messages":[]}`:                       "Max_Tokens",
		`{"\u212aind":1,"model":"m","me\u017f\u017fages":[]}`:              `["meſſages"]`,
		`{"model":"m","messages":[{"role":"user","Role":"system"}]}`:       "messages[0].Role",
		`{"model":"m","messages":[],"stream_options":{"Include_usage":1}}`: "stream_options.Include_usage",
	} {
		err := c.Unmarshal([]byte(text), new(edgev1.CreateChatCompletionRequest))
		e := apierr.From(err)
		if err == nil || e.Reason != apierr.InvalidArgument || e.Field != field {
			t.Errorf("%s: %v, want INVALID_ARGUMENT for %s", text, err, field)
		}
	}
	m := &edgev1.CreateChatCompletionRequest{Model: "mine", Extra: map[string]string{"MODEL": `"other"`}}
	if out, err := c.Marshal(m); err == nil || apierr.From(err).Field != "MODEL" {
		t.Errorf("over gRPC: %s, %v", out, err)
	}
}

func TestFloats(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 1: "1", -1.5: "-1.5", 1e-7: "1e-7", 1e21: "1e+21", 123456789: "123456789",
		math.Inf(1): `"Infinity"`, math.Inf(-1): `"-Infinity"`,
	} {
		if got := string(appendFloat(nil, f, 64)); got != want {
			t.Errorf("%v is written %s, want %s", f, got, want)
		}
	}
	if got := string(appendFloat(nil, float64(float32(0.1)), 32)); got != "0.1" {
		t.Errorf("a 32-bit 0.1 is written %s", got)
	}
}

func TestNilMessageIsNull(t *testing.T) {
	var m *edgev1.ApiKey
	if got, err := New(Options{}).Marshal(m); err != nil || string(got) != "null" {
		t.Errorf("got %s, %v; want null", got, err)
	}
	if got, err := New(Options{}).Marshal(&timestamppb.Timestamp{Seconds: 1}); err != nil || got[0] != '"' {
		t.Errorf("a timestamp alone: %s, %v", got, err)
	}
}
