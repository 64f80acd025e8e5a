package prefix_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/inference/internal/prefix"
)

func TestRead(t *testing.T) {
	for body, want := range map[string]prefix.Prompt{
		`{"model":"m","messages":[{"role":"user","content":"a\"}]"}],"max_tokens":7}`: {
			Text: []byte(`[{"role":"user","content":"a\"}]"}]`), MaxTokens: 7,
		},
		"\t" + `{ "prompt" : "a\\" , "tools" : [ {"a":{}} ] , "cache_salt":"s" } `: {
			Text: []byte(`"a\\"`), Tools: []byte(`[ {"a":{}} ]`), Salt: []byte(`"s"`),
		},
		`{"x":{"messages":"inner"},"prompt":["a","b"],"max_completion_tokens":12.5}`: {Text: []byte(`["a","b"]`)},
		`{"prompt":"first","prompt":"last"}`:                                         {Text: []byte(`"last"`)},
		``:                                                                           {},
		`[]`:                                                                         {},
		`{`:                                                                          {},
		`{"prompt`:                                                                   {},
		`{"prompt":"a`:                                                               {},
		`{"prompt":]`:                                                                {},
		`{"prompt":`:                                                                 {},
		`{"prompt":"a"`:                                                              {Text: []byte(`"a"`)},
		`{"max_tokens":99999999999999}`:                                              {},
	} {
		got := prefix.Read([]byte(body))
		if !bytes.Equal(got.Text, want.Text) || !bytes.Equal(got.Tools, want.Tools) || !bytes.Equal(got.Salt, want.Salt) || got.MaxTokens != want.MaxTokens {
			t.Errorf("%s: text %s tools %s salt %s max %d", body, got.Text, got.Tools, got.Salt, got.MaxTokens)
		}
	}
}

// FuzzRead: nothing crashes, and of a valid object the same is found as by the
// standard library.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{"messages":[{"content":"a\\\"b"}],"tools":[]}`, `{"prompt":"x","max_tokens":5}`, `{"a":[1,{"b":"]"}],"prompt":-1e5}`,
		`{"prompt":"` + strings.Repeat(`\\`, 50) + `"}`, `{"":{},"cache_salt":null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := prefix.Read(body)
		prefix.ChainOf(nil, "v", got)
		var want map[string]json.RawMessage
		// Names with escapes, and the order of two names for one thing, are the
		// standard library's to understand and not of interest here.
		if bytes.ContainsRune(body, '\\') || json.Unmarshal(body, &want) != nil || want == nil {
			return
		}
		_, messages := want["messages"]
		_, prompt := want["prompt"]
		switch {
		case messages && !prompt && !bytes.Equal(got.Text, want["messages"]):
			t.Errorf("messages: %q, want %q", got.Text, want["messages"])
		case prompt && !messages && !bytes.Equal(got.Text, want["prompt"]):
			t.Errorf("prompt: %q, want %q", got.Text, want["prompt"])
		case !bytes.Equal(got.Tools, want["tools"]):
			t.Errorf("tools: %q, want %q", got.Tools, want["tools"])
		}
	})
}
