package engine

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

const classesUsage = `{"prompt_tokens":40,"completion_tokens":30,"total_tokens":70,"prompt_tokens_details":{"audio_tokens":4,"cached_tokens":10,"x":{"audio_tokens":9}},` +
	`"completion_tokens_details":{"accepted_prediction_tokens":0,"reasoning_tokens":20,"audio_tokens":3}}`

func classes() *commonv1.TokenUsage {
	return &commonv1.TokenUsage{
		PromptTokens: 40, CachedPromptTokens: 10, AudioPromptTokens: 4, CompletionTokens: 30, ReasoningTokens: 20, AudioCompletionTokens: 3,
	}
}

// An engine's classes are read of a whole answer and of a stream alike.
func TestClassesAreRead(t *testing.T) {
	if got := usageOf([]byte(classesUsage)); !proto.Equal(got, classes()) {
		t.Errorf("of an answer: %v", got)
	}
	var r recorder
	c := script(t, tellsAtEnd, `{"choices":[{"index":0,"delta":{"content":"a"}}]}`, `{"choices":[],"usage":`+classesUsage+`}`, "[DONE]")
	if got, err := c.Stream(t.Context(), Chat, []byte(`{"messages":[]}`), &r); err != nil || !proto.Equal(got, classes()) {
		t.Errorf("of a stream: %v, %v", got, err)
	}
	// No class has more than what it is a part of.
	odd := strings.NewReplacer(`"audio_tokens":4`, `"audio_tokens":41`, `"reasoning_tokens":20`, `"reasoning_tokens":1e9`, `"audio_tokens":3`, `"audio_tokens":-3`).Replace(classesUsage)
	want := classes()
	want.AudioPromptTokens, want.ReasoningTokens, want.AudioCompletionTokens = 40, 30, 0
	if got := usageOf([]byte(odd)); !proto.Equal(got, want) {
		t.Errorf("odd: %v", got)
	}
}

// What several answers, or two engines one after the other, took is added up by class.
func TestClassesAreAddedUp(t *testing.T) {
	sum := total([]part{{first: true}, {}}, []*commonv1.TokenUsage{classes(), classes()})
	want := classes()
	want.CompletionTokens, want.ReasoningTokens, want.AudioCompletionTokens = 60, 40, 6
	if !proto.Equal(sum, want) {
		t.Errorf("of two answers: %v", sum)
	}
	j := &join{from: Continuation{Usage: classes()}}
	if got := j.total(classes()); !proto.Equal(got, want) {
		t.Errorf("of two engines: %v", got)
	}
	if got := usageOf(appendUsage(nil, want)); !proto.Equal(got, want) {
		t.Errorf("written and read: %v", got)
	}
}

// Sums of what engines tell stop at the greatest count; none turns negative.
func TestSumsStopAtTheGreatestCount(t *testing.T) {
	const most = math.MaxInt32
	all := &commonv1.TokenUsage{
		PromptTokens: most, CachedPromptTokens: most, AudioPromptTokens: most, CompletionTokens: most, ReasoningTokens: most, AudioCompletionTokens: most,
	}
	if got := total([]part{{first: true}, {first: true}}, []*commonv1.TokenUsage{all, all}); !proto.Equal(got, all) {
		t.Errorf("of two answers: %v", got)
	}
	j := &join{from: Continuation{Usage: all}}
	if got := j.total(all); !proto.Equal(got, all) {
		t.Errorf("of two engines: %v", got)
	}
	if got := usageOf(appendUsage(nil, all)); !proto.Equal(got, all) {
		t.Errorf("written and read: %v", got)
	}
	if text := string(appendUsage(nil, all)); !strings.Contains(text, `"total_tokens":2147483647,`) {
		t.Errorf("written: %s", text)
	}
	var m meter
	m.choice(0, most)
	m.choice(1, most)
	if got := m.usage.GetCompletionTokens(); got != most {
		t.Errorf("of two choices: %d", got)
	}
	if !m.timings([]byte(`{"cache_n":2147483647,"prompt_n":2147483647,"predicted_n":1}`), false, delta{}) || m.usage.GetPromptTokens() != most {
		t.Errorf("of timings: %v", &m.usage)
	}
}
