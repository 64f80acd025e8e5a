package engine

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

// shownCounts is what of a usage object is shown to the caller.
type shownCounts struct {
	Usage struct {
		Prompt     float64 `json:"prompt_tokens"`
		Completion float64 `json:"completion_tokens"`
		Total      float64 `json:"total_tokens"`
	} `json:"usage"`
}

// What an engine counts that cannot be is neither paid nor shown; what can be is shown as
// it came.
func TestImpossibleCounts(t *testing.T) {
	const more = `,"max_tokens":50`
	for name, tt := range map[string]struct {
		op                 Operation
		request, usage     string
		prompt, completion int32
		odd                bool
	}{
		"10^20":                      {Chat, more, `{"prompt_tokens":1,"completion_tokens":99999999999999999999,"total_tokens":2}`, 1, 50 + special, true},
		"1e400":                      {Chat, more, `{"prompt_tokens":1,"completion_tokens":1e400}`, 1, 0, true},
		"fewer than none":            {Chat, more, `{"prompt_tokens":1,"completion_tokens":-5,"total_tokens":-4}`, 1, 0, true},
		"more than asked for":        {Chat, more, `{"prompt_tokens":1,"completion_tokens":67}`, 1, 66, true},
		"a few special tokens":       {Chat, more, `{"prompt_tokens":1,"completion_tokens":66,"total_tokens":67,"own":1.5}`, 1, 66, false},
		"several answers":            {Chat, more + `,"n":3`, `{"prompt_tokens":1,"completion_tokens":190}`, 1, 190, false},
		"more than several":          {Chat, more + `,"n":3`, `{"prompt_tokens":1,"completion_tokens":1000}`, 1, 198, true},
		"the best of several":        {Completion, more + `,"best_of":4`, `{"prompt_tokens":1,"completion_tokens":200}`, 1, 200, false},
		"several prompts":            {Completion, more + `,"prompt":["a","b"]`, `{"prompt_tokens":1500,"completion_tokens":100}`, 1500, 100, false},
		"a prediction":               {Chat, more + `,"prediction":{"type":"content","content":"x"}`, `{"prompt_tokens":1,"completion_tokens":800}`, 1, 800, false},
		"no bound but the context":   {Chat, ``, `{"prompt_tokens":999,"completion_tokens":900}`, 999, 900, false},
		"a prompt above the context": {Chat, more, `{"prompt_tokens":1001,"completion_tokens":5}`, 1000, 5, true},
		"an answer above it":         {Chat, ``, `{"prompt_tokens":1,"completion_tokens":2000}`, 1, 1000 + special, true},
		"a sum that is none":         {Chat, more, `{"prompt_tokens":1,"completion_tokens":5,"total_tokens":1e20}`, 1, 5, true},
		"a part of more than all":    {Chat, more, `{"prompt_tokens":1,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":7}}`, 1, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			noted := 0
			with := func(c *client) *client {
				c.d.context, c.d.impossible = 1000, func(context.Context) { noted++ }
				return c
			}
			check := func(what, shown string, prompt, completion int32) {
				t.Helper()
				if prompt != tt.prompt || completion != tt.completion {
					t.Errorf("%s: %d and %d count, want %d and %d", what, prompt, completion, tt.prompt, tt.completion)
				}
				var got shownCounts
				if err := json.Unmarshal([]byte(shown), &got); err != nil || int32(got.Usage.Prompt) != prompt || int32(got.Usage.Completion) != completion {
					t.Errorf("%s: shown %s, %v", what, shown, err)
				}
				if tt.odd != (got.Usage.Total == float64(prompt+completion) && !strings.Contains(shown, tt.usage)) {
					t.Errorf("%s: shown %s", what, shown)
				}
				if want := map[bool]int{true: 1}[tt.odd]; noted != want {
					t.Errorf("%s: told of %d times, want %d", what, noted, want)
				}
				noted = 0
			}
			whole := with(scripted(t, 200, jsonType, `{"choices":[],"usage":`+tt.usage+`}`, false))
			answer, err := whole.Invoke(t.Context(), tt.op, []byte(`{"messages":[]`+tt.request+`}`))
			if err != nil {
				t.Fatal(err)
			}
			check("an answer", string(answer.Body), answer.Usage.GetPromptTokens(), answer.Usage.GetCompletionTokens())
			var r recorder
			c := with(script(t, tellsAtEnd, `{"choices":[{"index":0,"delta":{"content":"a"}}]}`, `{"choices":[],"usage":`+tt.usage+`}`, "[DONE]"))
			usage, err := c.Stream(t.Context(), tt.op, []byte(`{"messages":[],"stream_options":{"include_usage":true}`+tt.request+`}`), &r)
			if err != nil || len(r.chunks) != 2 {
				t.Fatalf("%q, %v", r.chunks, err)
			}
			if strings.Contains(name, "1e400") { // which is no count: what came is counted
				return
			}
			check("a stream", r.chunks[1], usage.GetPromptTokens(), usage.GetCompletionTokens())
		})
	}
}

// The running counts of choices, too, are held together.
func TestImpossibleRunningCounts(t *testing.T) {
	var r recorder
	c := script(t, tellsUsage, `{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":100}}`,
		`{"choices":[{"index":1,"delta":{"content":"b"}}],"usage":{"prompt_tokens":1,"completion_tokens":100}}`, "[DONE]")
	usage, err := c.Stream(t.Context(), Chat, []byte(`{"messages":[],"n":2,"max_tokens":50,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`), &r)
	if err != nil || usage.GetCompletionTokens() != 2*(50+special) || !strings.Contains(r.chunks[1], `"completion_tokens":132,`) || !strings.Contains(r.chunks[1], `"content":"b"`) {
		t.Errorf("%v, %q, %v", usage, r.chunks, err)
	}
}

// Texts that are embedded have no more tokens than they can.
func TestImpossiblePrompts(t *testing.T) {
	noted := 0
	c := scripted(t, 200, jsonType, `{"data":[{"index":0,"embedding":[1,0]}],"usage":{"prompt_tokens":1e15}}`, false)
	c.d.embed = embedDialect{batch: 1, dimensions: 2}
	c.d.impossible = func(context.Context) { noted++ }
	got, err := c.Embed(t.Context(), EmbedRequest{Inputs: []Input{{Text: "a"}}})
	if err != nil || got.Usage.GetPromptTokens() != mostContext || noted != 1 {
		t.Errorf("%v, told of %d times, %v", got.Usage, noted, err)
	}
}
