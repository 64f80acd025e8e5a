package engine

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

// testLimits: whatever names a request bounds its answer by, the smallest holds.
func testLimits(t *testing.T, s subject) {
	t.Helper()
	const chat = `"messages":[{"role":"user","content":"Tell me a long story."}]`
	for _, tt := range []struct {
		op               Operation
		question, limits string
	}{
		{Chat, chat, `"max_tokens":3`},
		{Chat, chat, `"max_completion_tokens":3`},
		{Chat, chat, `"max_tokens":3,"n_predict":40`},
		{Chat, chat, `"max_tokens":3,"n_predict":-1`},
		{Chat, chat, `"max_completion_tokens":3,"n_\u0070redict":40`},
		{Chat, chat, `"max_tokens":3,"max_completion_tokens":40`},
		{Chat, chat, `"max_tokens":40,"max_completion_tokens":3`},
		{Chat, chat, `"n_predict":3`},
		{Chat, chat, `"max_tokens":null,"n_predict":3e0`},
		{Completion, `"prompt":"Once upon a time"`, `"max_tokens":3,"n_predict":40`},
		{Completion, `"prompt":"Once upon a time"`, `"max_completion_tokens":3`},
	} {
		answer, err := s.engine.Invoke(t.Context(), tt.op, fmt.Appendf(nil, `{%s,"ignore_eos":true,%s}`, tt.question, tt.limits))
		if n := answer.Usage.GetCompletionTokens(); err != nil || n < 1 || n > 3 {
			t.Errorf("%s: %d tokens, %v", tt.limits, n, err)
		}
	}
	for _, bad := range []string{`"max_tokens":-1`, `"n_predict":-5`, `"max_tokens":"9"`, `"max_tokens":1.5`, `"n_predict":1e12`} {
		if _, err := s.engine.Invoke(t.Context(), Chat, fmt.Appendf(nil, `{%s,%s}`, chat, bad)); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// testCount: the tokens counted before are those that the usage tells after.
func testCount(t *testing.T, s subject) {
	t.Helper()
	if !s.counts {
		if n, err := s.engine.CountTokens(t.Context(), Chat, []byte(askHello+"}")); apierr.ReasonOf(err) != apierr.Unimplemented {
			t.Errorf("counted %d, %v", n, err)
		}
		return
	}
	for op, body := range map[Operation]string{
		Chat: askHello + "}", Completion: `{"prompt":"The capital of France is","max_tokens":1}`,
	} {
		n, err := s.engine.CountTokens(t.Context(), op, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := s.engine.Invoke(t.Context(), op, []byte(body))
		if want := int(answer.Usage.GetPromptTokens()); err != nil || n != want {
			t.Errorf("%s: counted %d, used %d, %v", body, n, want, err)
		}
	}
	if n, err := s.engine.CountTokens(t.Context(), Completion, []byte(`{"prompt":[5,6,7]}`)); n != 3 || err != nil {
		t.Errorf("tokens: %d, %v", n, err)
	}
	for body, op := range map[string]Operation{
		`{}`: Chat, `{"messages":"x"}`: Chat, `{"prompt":7}`: Completion, `{"prompt":["a","b"]}`: Completion, `[]`: Chat, `{"messages":[`: Chat,
	} {
		if _, err := s.engine.CountTokens(t.Context(), op, []byte(body)); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// What an engine may tell of its load.
const (
	tellRunning    = "running"
	tellWaiting    = "waiting"
	tellKV         = "kv"
	tellPrompt     = "prompt tokens"
	tellGenerated  = "generated tokens"
	tellLookups    = "cache lookups"
	tellHits       = "cache hits"
	tellHitRate    = "hit rate"
	tellThroughput = "generation rate"
	tellMemory     = "memory"
)

func tellsAll() []string {
	return []string{tellRunning, tellWaiting, tellKV, tellPrompt, tellGenerated, tellLookups, tellHits}
}

func tellsSGLang() []string {
	return []string{tellRunning, tellWaiting, tellKV, tellPrompt, tellGenerated, tellHitRate, tellThroughput}
}

// testSignals: the engine tells what it is known to tell, nothing more, and
// within its bounds.
func testSignals(t *testing.T, s subject) {
	t.Helper()
	got, err := s.engine.Signals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]float64)
	for name, v := range map[string]*float64{
		tellRunning: got.Running, tellWaiting: got.Waiting, tellKV: got.KVCacheUsage, tellPrompt: got.PromptTokens,
		tellGenerated: got.GeneratedTokens, tellLookups: got.CacheLookups, tellHits: got.CacheHits,
		tellHitRate: got.CacheHitRate, tellThroughput: got.GenerationRate,
	} {
		if v != nil {
			told[name] = *v
		}
	}
	if got.MemoryBytes != nil {
		told[tellMemory] = float64(*got.MemoryBytes)
	}
	if names := slices.Sorted(maps.Keys(told)); !slices.Equal(names, slices.Sorted(slices.Values(s.tells))) || got.Told() != (len(s.tells) > 0) {
		t.Errorf("told %v, want %v", told, s.tells)
	}
	for name, v := range told {
		share := name == tellKV || name == tellHitRate
		if v < 0 || share && v > 1 || (name == tellPrompt || name == tellGenerated || name == tellMemory) && v < 1 {
			t.Errorf("%s is %v", name, v)
		}
	}
	if hits, lookups := told[tellHits], told[tellLookups]; hits > lookups {
		t.Errorf("%v tokens found of %v looked up", hits, lookups)
	}
}
