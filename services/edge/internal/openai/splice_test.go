package openai

import (
	"testing"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
)

// same reports whether a spliced chunk says what reading it and writing it would.
func same(t *testing.T, codec *jsoncodec.Codec, raw, text []byte) bool {
	t.Helper()
	read, got := new(edgev1.StreamChatCompletionResponse), new(edgev1.StreamChatCompletionResponse)
	if codec.Unmarshal(raw, read) != nil {
		return true // as the engine had it
	}
	read.Id, read.Object, read.Created, read.Model = "i\"d", objectChatChunk, 7, "m@\u00e9"
	if err := codec.Unmarshal(text, got); err != nil {
		t.Errorf("%s cannot be read: %v", text, err)
		return false
	}
	return proto.Equal(read, got)
}

func named() *spliced {
	s := new(spliced)
	s.name("i\"d", 7, "m@\u00e9")
	return s
}

// begun is a stream's choices, of which these have begun.
func begun(choices ...int32) *started {
	s := new(started)
	for _, c := range choices {
		s.add(c)
	}
	return s
}

func TestSplicedChunksSayWhatReadOnesSay(t *testing.T) {
	codec := jsoncodec.New(jsoncodec.Options{})
	for raw, could := range map[string]bool{
		`{"id":"x","object":"o","created":1,"model":"e","choices":[{"index":0,"delta":{"content":"a\"}]"},"finish_reason":null}]}`: true,
		`{"choices":[{"index":1,"delta":{"role":"assistant","content":null},"logprobs":null}],"usage":null,"timings":{"n":[1]}}`:   true,
		"{\n \"choices\" : [ { \"index\" : 0 , \"delta\" : { } , \"finish_reason\" : \"stop\" } , {\"index\":1,\"delta\":{}} ] }":  true,
		// What else they tell is read.
		`{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}`: false,
		`{"choices":[],"usage":{"prompt_tokens":1}}`:                                    false,
		// A choice's first delta gets what an engine may leave out.
		`{"choices":[{"index":0,"delta":{"content":"a"}},{"index":2,"delta":{"content":"a"}}]}`: false,
		`{"choices":[{"index":128,"delta":{"content":"a"}}]}`:                                   true,
		`{"choices":[{"index":-1,"delta":{"content":"a"}}]}`:                                    true,
		`{"choices":[{"index":0.0,"delta":{"content":"a"}}]}`:                                   false,
		// What is not of the form is left to those that say why.
		`{"choices":[{"index":0,"delta":{},"finish_reason":7}]}`:          false,
		`{"choices":[{"delta":{"content":"a"}}]}`:                         false,
		`{"choices":[{"index":0}]}`:                                       false,
		`{"choices":{"index":0,"delta":{}}}`:                              false,
		`{"choices":[{"index":0,"delta":{}},1]}`:                          false,
		`{"id":"x"}`:                                                      false,
		`{"\u0069d":"y","choices":[{"index":0,"delta":{}}]}`:              false,
		`{"choices":[{"index":0,"delta":{}}],"choices":[]}`:               false,
		`{"id":"x","id":"y","choices":[{"index":0,"delta":{}}]}`:          false,
		`{"choices":[{"index":0,"delta":{}}],"x":1,"x":2}`:                false,
		`{"choices":[{"index":0,"delta":{"content":"a","content":"b"}}]}`: false,
		"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xff\"}}]}":  false,
		`{"choices":[{"index":0,"delta":{"content":"\ud800"}}]}`:          false,
		`{"choices":[{"index":0,"delta":{"content":"a"}}]`:                false,
		`{"choices":[{"index":0,"delta":{"content":"a` + "\n}]}":          false,
		``: false, `[]`: false, `null`: false,
	} {
		s := named()
		switch ok := s.splice([]byte(raw), begun(0, 1)); {
		case ok != could:
			t.Errorf("%s: spliced %v", raw, ok)
		case ok && !same(t, codec, []byte(raw), s.JSON()):
			t.Errorf("%s became %s", raw, s.JSON())
		}
	}
	if new(spliced).splice([]byte(`{"choices":[{"index":0,"delta":{}}]}`), begun(0)) {
		t.Error("a chunk is spliced before the answer has a name")
	}
}

func FuzzSplice(f *testing.F) {
	f.Add([]byte(`{"id":"x","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null,"x":1}`))
	f.Add([]byte(`{"choices":[{"index":1,"delta":{},"logprobs":{"content":[]}},{"index":0,"delta":{}}]}`))
	codec := jsoncodec.New(jsoncodec.Options{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s := named(); s.splice(raw, begun(0, 1)) && !same(t, codec, raw, s.JSON()) {
			t.Errorf("%q became %q", raw, s.JSON())
		}
	})
}
