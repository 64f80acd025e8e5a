package engine

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

// script answers every request with these chunks.
func script(t *testing.T, running runningUsage, chunks ...string) *client {
	t.Helper()
	c := scripted(t, 200, events, "data: "+strings.Join(chunks, "\n\ndata: ")+"\n\n", false)
	c.d.running = running
	return c
}

const (
	vllmRole  = `{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":{"prompt_tokens":9,"total_tokens":9,"completion_tokens":0}}`
	vllmFirst = `{"id":"x", "choices":[{"index":0,"delta":{"content":"a \"usage\":{} "}}],"usage":{"prompt_tokens":9,"completion_tokens":2}}`
	vllmOther = `{"usage":{"prompt_tokens":9,"completion_tokens":3},"choices":[{"index":1,"delta":{"content":"b"}}]}`
	vllmLast  = `{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}`

	llamaRole  = `{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}],"object":"chat.completion.chunk"}`
	llamaFirst = `{"choices":[{"index":0,"delta":{"content":"a"}}],"x":1.0e1,"timings":{"cache_n":30,"prompt_n":3,"predicted_n":1,"predicted_ms":0.5}}`
	llamaOther = `{"choices":[{"index":1,"delta":{"content":"b"}}],"timings":{"cache_n":32,"prompt_n":1,"predicted_n":2}}`
	llamaLast  = `{"choices":[],"usage":{"completion_tokens":2,"prompt_tokens":33,"prompt_tokens_details":{"cached_tokens":30}},"timings":{"cache_n":30}}`
	textEnd    = `{"choices":[{"text":"","index":0,"finish_reason":"length"}],"usage":{"completion_tokens":1,"prompt_tokens":33},"id":"x"}`
	plainChunk = `{"choices":[{"index":0,"delta":{"content":"a"}}], "usage":null}`
)

// The counts that came with each chunk, and chunks that hold what was asked for
// and otherwise every byte as it came.
func TestRunningCounts(t *testing.T) {
	tests := []struct {
		name    string
		running runningUsage
		more    string // of the request
		chunks  []string
		passed  []string
		counts  [][2]int32 // after each chunk passed on; -1: not told yet
		final   [3]int32   // prompt, completion, cached
	}{
		{
			"vLLM", tellsUsage, `,"n":2`,
			[]string{vllmRole, vllmFirst, vllmOther, vllmLast},
			[]string{
				`{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}`,
				`{"id":"x", "choices":[{"index":0,"delta":{"content":"a \"usage\":{} "}}]}`,
				`{"choices":[{"index":1,"delta":{"content":"b"}}]}`,
			},
			[][2]int32{{9, 0}, {9, 2}, {9, 5}},
			[3]int32{9, 5, 4},
		},
		{
			"vLLM, the usage asked for", tellsUsage, `,"stream_options":{"include_usage":true}`,
			[]string{vllmFirst, vllmLast},
			[]string{`{"id":"x", "choices":[{"index":0,"delta":{"content":"a \"usage\":{} "}}]}`, vllmLast},
			[][2]int32{{9, 2}, {9, 5}},
			[3]int32{9, 5, 4},
		},
		{
			"vLLM, all asked for", tellsUsage, `,"n":2,"stream_options":{"include_usage":true,"continuous_usage_stats":true}`,
			[]string{vllmFirst, vllmOther, vllmLast},
			[]string{vllmFirst, vllmOther, vllmLast},
			[][2]int32{{9, 2}, {9, 5}, {9, 5}},
			[3]int32{9, 5, 4},
		},
		{
			"llama-server", tellsTimings, `,"n":2`,
			[]string{llamaRole, llamaFirst, llamaOther, llamaLast},
			[]string{llamaRole, `{"choices":[{"index":0,"delta":{"content":"a"}}],"x":1.0e1}`, `{"choices":[{"index":1,"delta":{"content":"b"}}]}`},
			[][2]int32{{-1, -1}, {33, 1}, {33, 3}},
			[3]int32{33, 3, 30}, // it sends one usage for each choice
		},
		{
			"llama-server, timings asked for", tellsTimings, `,"timings_per_token":true,"stream_options":{"include_usage":true}`,
			[]string{llamaFirst, llamaLast},
			[]string{llamaFirst, llamaLast},
			[][2]int32{{33, 1}, {33, 2}},
			[3]int32{33, 2, 30},
		},
		{
			"a completion's end", tellsTimings, "",
			[]string{llamaFirst, textEnd},
			[]string{`{"choices":[{"index":0,"delta":{"content":"a"}}],"x":1.0e1}`, `{"choices":[{"text":"","index":0,"finish_reason":"length"}],"id":"x"}`},
			[][2]int32{{33, 1}, {33, 1}},
			[3]int32{33, 1, 30},
		},
		{
			"told at the end", tellsAtEnd, `,"stream_options":{"include_usage":true}`,
			[]string{plainChunk, plainChunk, vllmLast},
			[]string{plainChunk, plainChunk, vllmLast},
			[][2]int32{{0, 1}, {0, 2}, {9, 5}},
			[3]int32{9, 5, 4},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r recorder
			c := script(t, tt.running, append(tt.chunks, "[DONE]")...)
			usage, err := c.Stream(t.Context(), Chat, []byte(`{"messages":[]`+tt.more+`}`), &r)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(r.chunks, "\n"); got != strings.Join(tt.passed, "\n") {
				t.Fatalf("passed on\n%s\nwant\n%s", got, strings.Join(tt.passed, "\n"))
			}
			for i, p := range r.progress {
				got := [2]int32{-1, -1}
				if p.Usage != nil {
					got = [2]int32{p.Usage.GetPromptTokens(), p.Usage.GetCompletionTokens()}
				}
				if got != tt.counts[i] {
					t.Errorf("chunk %d: counts %v, want %v", i, got, tt.counts[i])
				}
			}
			if got := [3]int32{usage.GetPromptTokens(), usage.GetCompletionTokens(), usage.GetCachedPromptTokens()}; got != tt.final || usage.GetEstimated() {
				t.Errorf("in the end %v, want %v", usage, tt.final)
			}
		})
	}
}

// A stream that breaks still tells what was used, and says so when it counted
// by itself.
func TestCountsOfABrokenStream(t *testing.T) {
	for _, tt := range []struct {
		running    runningUsage
		chunks     []string
		completion int32
		estimated  bool
	}{
		{tellsUsage, []string{vllmRole, vllmFirst}, 2, false},
		{tellsTimings, []string{llamaRole, llamaFirst}, 1, false},
		{tellsAtEnd, []string{llamaRole, plainChunk, plainChunk}, 2, true},
		{tellsAtEnd, []string{llamaRole}, 0, false},
	} {
		usage, err := script(t, tt.running, tt.chunks...).Stream(t.Context(), Chat, []byte(wholeBody), &recorder{})
		if apierr.ReasonOf(err) != apierr.EngineFailed || usage.GetCompletionTokens() != tt.completion || usage.GetEstimated() != tt.estimated {
			t.Errorf("%q: %v, usage %v", tt.chunks, err, usage)
		}
	}
}

func TestReadCount(t *testing.T) {
	for text, want := range map[string]int32{
		"0": 0, "12": 12, "12.0": 12, "1e2": 100, "-3": 0, "99999999999": 1<<31 - 1, `"7"`: 0, "null": 0, "": 0, "NaN": 0, "1e400": 0,
	} {
		if got := readCount([]byte(text)); got != want {
			t.Errorf("%q is read as %d, want %d", text, got, want)
		}
	}
}

// BenchmarkInspect compares what a chunk with counts costs with decoding the
// members that are looked at.
func BenchmarkInspect(b *testing.B) {
	chunk := []byte(`{"id":"chatcmpl-1234567890","object":"chat.completion.chunk","created":1795617476,"model":"some-model",` +
		`"choices":[{"index":0,"delta":{"content":" four"},"logprobs":null,"finish_reason":null}],` +
		`"usage":{"prompt_tokens":1200,"total_tokens":1240,"completion_tokens":40}}`)
	b.Run("walk", func(b *testing.B) {
		s := &stream{running: tellsUsage}
		b.ReportAllocs()
		for b.Loop() {
			if out, err := s.inspect(chunk); err != nil || len(out) >= len(chunk) {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var c struct {
				Choices []json.RawMessage `json:"choices"`
				Usage   json.RawMessage   `json:"usage"`
				Error   json.RawMessage   `json:"error"`
			}
			if err := json.Unmarshal(chunk, &c); err != nil || usageOf(c.Usage).GetCompletionTokens() != 40 {
				b.Fatal(err)
			}
		}
	})
}
