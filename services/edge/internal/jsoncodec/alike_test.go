package jsoncodec

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/testkit"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// hello is the messages of a chat.
const hello = `"messages":[{"role":"user","content":"hi"}]`

func TestAlike(t *testing.T) {
	tests := []struct {
		name, doc string
		want      bool
	}{
		{"as clients send it", `{"model":"m",` + hello + `,"max_tokens":16,"temperature":0.2}`, true},
		{"in another order", `{"temperature":0.2,"stream":true,` + hello + `,"model":"m"}`, true},
		{"unknown members", `{"model":"m",` + hello + `,"x":{"b":1,"a":[null,1.50]},"seed":-7}`, true},
		{"escapes that are written", `{"model":"m","messages":[{"role":"user","content":"a\n\"b\\"}]}`, true},
		{"parts", `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":""},{"type":"image_url","image_url":{"url":"data:"}}]}]}`, true},
		{"no content", `{"model":"m","messages":[{"role":"assistant","content":null}]}`, true},
		{"calls", `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]}]}`, true},
		{"texts to stop at", `{"model":"m",` + hello + `,"stop":["a",""]}`, true},
		{"spaces", `{"model": "m",` + hello + `}`, false},
		{"a space behind it", `{"model":"m",` + hello + `} `, false},
		{"null", `{"model":"m",` + hello + `,"temperature":null}`, false},
		{"null of a message", `{"model":"m","messages":[{"role":"user","content":"hi","refusal":null}]}`, false},
		{"an empty text", `{"model":"m",` + hello + `,"user":""}`, false},
		{"an empty list", `{"model":"m",` + hello + `,"tools":[]}`, false},
		{"a member that is always written", `{"model":"m"}`, false},
		{"1.0", `{"model":"m",` + hello + `,"temperature":1.0}`, false},
		{"1e0", `{"model":"m",` + hello + `,"temperature":1e0}`, false},
		{"whole as 1.0", `{"model":"m",` + hello + `,"max_tokens":1.0}`, false},
		{"whole as -0", `{"model":"m",` + hello + `,"seed":-0}`, false},
		{"an escaped letter", `{"model":"\u006d",` + hello + `}`, false},
		{"an escaped slash", `{"model":"a\/b",` + hello + `}`, false},
		{"an escaped name", `{"mod\u0065l":"m",` + hello + `}`, false},
		{"an escaped name that nobody knows", `{"model":"m",` + hello + `,"\u0078":1}`, false},
		{"a map", `{"model":"m",` + hello + `,"prompt":{"id":"p","version":"","variables":{}}}`, false},
	}
	c := New(Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			alike, err := c.UnmarshalAlike([]byte(tt.doc), new(edgev1.CreateChatCompletionRequest))
			if err != nil || alike != tt.want {
				t.Errorf("%s: alike is %v, want %v; %v", tt.doc, alike, tt.want, err)
			}
		})
	}
}

// FuzzAlike holds that what is said to be alike is written with the same members in the
// same spelling, whatever their order.
func FuzzAlike(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}],"x":[1,2]}],"stop":null,"k":{"a":1},"seed":9007199254740993}`,
		`{"model":"m","messages":[],"temperature":1e-7,"top_p":0.1,"presence_penalty":-0,"user":"\u00e9","max_tokens":1e2}`,
		`{"model":"m","messages":[{"role":"tool","content":"\ud83d\ude00\b\f","tool_call_id":"","annotations":[{"type":"x"}]}],"cache":"no-store"}`,
		`{"choices":[{"index":0,"delta":{"content":null}}],"usage":{"prompt_tokens":1}}`,
		`{"input":[[1],[2]],"model":"m"}`,
		`{"spec":{"task":"TASK_CHAT","artifacts":[{"size_bytes":"12"}],"parameters":{"a":"b"}}}`,
		`{"documents":[{"id":"a","metadata":{"x":[1,2,{"y":null}]},"createTime":"2026-01-02T03:04:05Z"}]}`,
	} {
		f.Add([]byte(seed))
	}
	c := New(Options{MaxItems: 1000})
	kinds := []func() proto.Message{
		func() proto.Message { return &edgev1.CreateChatCompletionRequest{} },
		func() proto.Message { return &edgev1.StreamChatCompletionResponse{} },
		func() proto.Message { return &edgev1.CreateEmbeddingRequest{} },
		func() proto.Message { return &edgev1.CreateApiKeyRequest{} },
		func() proto.Message { return &registryv1.CreateVersionRequest{} },
		func() proto.Message { return &searchv1.BatchUpsertDocumentsRequest{} },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range kinds {
			m := kind()
			alike, err := c.UnmarshalAlike(data, m)
			if err != nil || !alike {
				continue
			}
			written, err := c.Marshal(m)
			if err != nil {
				t.Fatalf("%T was read and cannot be written: %v", m, err)
			}
			if got, want := testkit.InOrder(t, written), testkit.InOrder(t, data); got != want {
				t.Fatalf("%T is said to be alike\n%s\n%s", m, got, want)
			}
		}
	})
}
