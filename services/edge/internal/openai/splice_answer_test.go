package openai

import (
	"encoding/json"
	"reflect"
	"testing"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
)

// spliceWhole splices an answer of the name "i\"d".
func spliceWhole(raw []byte) (*edgev1.CreateChatCompletionResponse, []byte, bool) {
	answer := &edgev1.CreateChatCompletionResponse{Id: "i\"d", Object: objectChat, Model: "m@\u00e9"}
	text, ok := spliceAnswer(raw, answer, func() int64 { return 7 })
	return answer, text, ok
}

// written is what reading an engine's answer and writing it says, by name; nil: it
// cannot be read.
func written(t *testing.T, codec *jsoncodec.Codec, raw []byte, as *edgev1.CreateChatCompletionResponse) any {
	t.Helper()
	read := new(edgev1.CreateChatCompletionResponse)
	if codec.Unmarshal(raw, read) != nil {
		return nil
	}
	read.Id, read.Object, read.Created, read.Model = as.GetId(), as.GetObject(), as.GetCreated(), as.GetModel()
	for _, choice := range read.GetChoices() {
		completeMessage(choice, nil)
	}
	text, err := codec.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	return values(t, text)
}

func values(t *testing.T, text []byte) (out any) {
	t.Helper()
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

const someUsage = `"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}`

func TestSplicedAnswersSayWhatReadOnesSay(t *testing.T) {
	codec := jsoncodec.New(jsoncodec.Options{})
	for raw, could := range map[string]bool{
		`{"id":"x","object":"o","created":9,"model":"e","choices":[{"index":0,"message":{"role":"assistant","content":"a\"}]"},"finish_reason":"stop"}],` + someUsage + `}`:                                                                                  true,
		`{"choices":[{"message":{"content":null,"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"index":1,"logprobs":null}],` + someUsage + `,"timings":{"n":[1]}}`:                                 true,
		"{\n " + someUsage + ",\"system_fingerprint\" : \"b1\", \"choices\" : [ { \"index\" : 0 , \"message\" : {\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"so\"} } , {\"index\":1,\"message\":{\"role\":\"a\",\"content\":\"b\"}} ] }": true,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":2}}}`:                                                              true,
		// What lacks something is read, and completed.
		`{"choices":[{"index":0,"message":{"content":"a"}}],` + someUsage + `}`:                                  false,
		`{"choices":[{"index":0,"message":{"role":"","content":"a"}}],` + someUsage + `}`:                        false,
		`{"choices":[{"index":0,"message":{"role":"assistant"}}],` + someUsage + `}`:                             false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}]}`:                                 false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],"usage":null}`:                    false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],"usage":{"prompt_tokens":1}}`:     false,
		`{"choices":[{"message":{"role":"assistant","content":"a"}}],` + someUsage + `}`:                         false,
		`{"created":"9","choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],` + someUsage + `}`: false,
		`{"choices":[],` + someUsage + `}`:                                                                       false,
		// What an engine says that it costs is no matter of the caller's.
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"poterne_cost":"9 USD"}}`: false,
		// What is not of the form is left to those that say why.
		`{"choices":[{"index":0.5,"message":{"role":"assistant","content":"a"}}],` + someUsage + `}`:                                                  false,
		`{"choices":[{"index":99999999999,"message":{"role":"assistant","content":"a"}}],` + someUsage + `}`:                                          false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":5}],` + someUsage + `}`:                                  false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":5}}],` + someUsage + `}`:                                                      false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],"usage":{"prompt_tokens":"3","completion_tokens":4,"total_tokens":7}}`: false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a","\u0063ontent":"b"}}],` + someUsage + `}`:                                 false,
		`{"\u0069d":"y","choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],` + someUsage + `}`:                                      false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],"choices":[],` + someUsage + `}`:                                       false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],` + someUsage:                                                          false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a","content":"b"}}],` + someUsage + `}`:                                      false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],` + someUsage + `,"x":1,"x":2}`:                                        false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],` + someUsage + `,` + someUsage + `}`:                                  false,
		"{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"\xff\"}}]," + someUsage + "}":                                   false,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"\ud800"}}],` + someUsage + `}`:                                               false,
		``: false, `[]`: false, `null`: false,
	} {
		answer, text, ok := spliceWhole([]byte(raw))
		if ok != could {
			t.Errorf("%s: spliced %v", raw, ok)
		}
		if !ok {
			continue
		}
		if got, want := values(t, text), written(t, codec, []byte(raw), answer); !reflect.DeepEqual(got, want) {
			t.Errorf("%s became %s, and read it is %v", raw, text, want)
		}
	}
	for raw, created := range map[string]int64{`"created":9,`: 9, ``: 7} {
		answer, _, ok := spliceWhole([]byte(`{` + raw + `"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],` + someUsage + `}`))
		if !ok || answer.GetCreated() != created {
			t.Errorf("%s: spliced %v, created at %d", raw, ok, answer.GetCreated())
		}
	}
}

func FuzzSpliceAnswer(f *testing.F) {
	f.Add([]byte(`{"id":"x","created":1,"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],` + someUsage + `,"x":1}`))
	f.Add([]byte(`{"choices":[{"index":1,"message":{"role":"a","content":null,"tool_calls":[]},"logprobs":{"content":[]}}],` + someUsage + `}`))
	codec := jsoncodec.New(jsoncodec.Options{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		answer, text, ok := spliceWhole(raw)
		if !ok {
			return
		}
		got, want := new(edgev1.CreateChatCompletionResponse), written(t, codec, raw, answer)
		if want == nil {
			return // as the engine had it
		}
		if err := codec.Unmarshal(text, got); err != nil {
			t.Fatalf("%q became %q: %v", raw, text, err)
		}
		if again := written(t, codec, text, answer); !reflect.DeepEqual(again, want) {
			t.Errorf("%q became %q", raw, text)
		}
	})
}
