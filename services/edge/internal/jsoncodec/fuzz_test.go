package jsoncodec

import (
	"bytes"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// FuzzStable holds that what was read is written as valid JSON, which reads as
// the same message and is written as the same bytes again.
func FuzzStable(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}],"x":[1, 2]}],"stop":null,"k":{"a":1}}`,
		`{"choices":[{"index":0,"delta":{"content":null}}],"usage":{"prompt_tokens":1}}`,
		`{"input":[[1],[2]],"model":"m"}`,
		`{"spec":{"task":"TASK_CHAT","artifacts":[{"size_bytes":"12"}],"parameters":{"a":"b"}}}`,
		`{"documents":[{"id":"a","metadata":{"x":[1,2,{"y":null}]},"create_time":"2026-01-02T03:04:05Z"}]}`,
		`{"expire_time":"2026-01-02T03:04:05.5Z","roles":["a"]}`,
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
			first, second := kind(), kind()
			if c.Unmarshal(data, first) != nil {
				continue
			}
			once, err := c.Marshal(first)
			if err != nil {
				t.Fatalf("%T was read and cannot be written: %v", first, err)
			}
			if !jsontext.Value(once).IsValid() {
				t.Fatalf("%T is written as no JSON: %s", first, once)
			}
			if err := c.Unmarshal(once, second); err != nil {
				t.Fatalf("%T cannot be read again: %v\n%s", first, err, once)
			}
			if !proto.Equal(first, second) {
				t.Fatalf("%T changed\n%v\n%v", first, first, second)
			}
			twice, err := c.Marshal(second)
			if err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%T is written differently: %v\n%s\n%s", first, err, once, twice)
			}
		}
	})
}

// FuzzUnknownSurvives holds that an unknown member's value is passed on as it
// was sent, whatever it is.
func FuzzUnknownSurvives(f *testing.F) {
	for _, seed := range []string{`1.50`, ` {"b" : 1 , "a":[ ] } `, `"\u0041"`, `null`, `-0e5`} {
		f.Add("x_param", seed)
	}
	c := New(Options{})
	f.Fuzz(func(t *testing.T, name, raw string) {
		doc := append([]byte("{"), appendString(nil, name)...)
		doc = append(append(append(doc, ':'), raw...), '}')
		m := &edgev1.ContentPart{}
		if name == "type" || name == "text" || c.Unmarshal(doc, m) != nil {
			return
		}
		if len(m.GetExtra()) != 1 {
			return // raw held more members
		}
		for _, kept := range m.GetExtra() {
			if trimmed := trimSpace(raw); kept != trimmed {
				t.Fatalf("sent %q, kept %q", trimmed, kept)
			}
		}
	})
}

func trimSpace(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t' || s[0] == '\n' || s[0] == '\r') {
		s = s[1:]
	}
	for n := len(s); n > 0 && (s[n-1] == ' ' || s[n-1] == '\t' || s[n-1] == '\n' || s[n-1] == '\r'); n = len(s) {
		s = s[:n-1]
	}
	return s
}
