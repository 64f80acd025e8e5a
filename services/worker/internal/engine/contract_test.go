package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// subject is an engine under the contract that all kinds keep.
type subject struct {
	engine Engine
	// context is the tokens of one request, to be exceeded; 0 when it has no chat.
	context int
	// dimensions is the length of its vectors; 0 when it does not embed.
	dimensions int
	// received returns the last body that the engine was given; nil when that
	// cannot be seen.
	received func() []byte
	// aborted returns how many requests the engine saw abandoned; nil when that
	// cannot be seen.
	aborted func() int64
	// cuts says that it shortens a prompt that is too long, and does not say so.
	cuts bool
	// counts says that it counts the tokens of prompts.
	counts bool
	// reranks says that it scores documents.
	reranks bool
	// tells names what the engine tells of its load.
	tells []string
}

// testContract is the same for fakes, for the simulator and for real engines.
func testContract(t *testing.T, s subject) {
	t.Helper()
	if err := s.engine.Health(t.Context()); err != nil {
		t.Fatalf("health: %v", err)
	}
	facts, err := s.engine.Facts(t.Context())
	if err != nil {
		t.Fatalf("facts: %v", err)
	}
	if s.context > 0 {
		if facts.ContextLength != 0 && facts.ContextLength != s.context {
			t.Errorf("facts: %+v, want a context of %d", facts, s.context)
		}
		t.Run("unary", func(t *testing.T) { testUnary(t, s) })
		t.Run("stream", func(t *testing.T) { testStream(t, s) })
		t.Run("completion", func(t *testing.T) { testCompletion(t, s) })
		t.Run("errors", func(t *testing.T) { testErrors(t, s) })
		t.Run("cancel", func(t *testing.T) { testCancel(t, s) })
		t.Run("limits", func(t *testing.T) { testLimits(t, s) })
		t.Run("count", func(t *testing.T) { testCount(t, s) })
	}
	if s.dimensions > 0 {
		t.Run("embed", func(t *testing.T) { testEmbed(t, s) })
	}
	if s.reranks {
		t.Run("rerank", func(t *testing.T) { testRerank(t, s) })
	}
	t.Run("signals", func(t *testing.T) { testSignals(t, s) })
}

const askHello = `{"messages":[{"role":"user","content":"Say hello."}],"max_tokens":6,"seed":7,"x_unknown":1.50e1,"model":"theirs"`

func testUnary(t *testing.T, s subject) {
	t.Helper()
	answer, err := s.engine.Invoke(t.Context(), Chat, []byte(askHello+`,"MODEL":"theirs","stream":true,"Stream":true,"stream_options":{"include_usage":true}}`))
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(answer.Body, &body); err != nil || len(body.Choices) != 1 || body.Choices[0].Message.Content == "" {
		t.Fatalf("answer %s: %v", answer.Body, err)
	}
	if u := answer.Usage; u.GetPromptTokens() < 3 || u.GetCompletionTokens() < 1 || u.GetCompletionTokens() > 6 {
		t.Errorf("usage %v", u)
	}
	if s.received != nil {
		got := string(s.received())
		if !strings.Contains(got, `"x_unknown":1.50e1`) || strings.Contains(got, "stream_options") ||
			strings.Contains(got, "theirs") || strings.Contains(strings.ToLower(got), `"stream":true`) {
			t.Errorf("the engine was given %s", got)
		}
	}
}

// recorder is a sink that keeps what it is given.
type recorder struct {
	mu       sync.Mutex
	accepted int
	chunks   []string
	progress []Progress
	onChunk  func(n int) error
}

func (r *recorder) Accepted() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted++
	if len(r.chunks) > 0 {
		return errors.New("accepted after a chunk")
	}
	return nil
}

func (r *recorder) Progress(p *Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := *p
	if p.Usage != nil {
		told.Usage = &commonv1.TokenUsage{
			PromptTokens: p.Usage.GetPromptTokens(), CompletionTokens: p.Usage.GetCompletionTokens(),
			CachedPromptTokens: p.Usage.GetCachedPromptTokens(), Estimated: p.Usage.GetEstimated(),
		}
	}
	r.progress = append(r.progress, told)
}

func (r *recorder) Chunk(data []byte) error {
	r.mu.Lock()
	r.chunks = append(r.chunks, string(data))
	n := len(r.chunks)
	r.mu.Unlock()
	if r.onChunk != nil {
		return r.onChunk(n)
	}
	return nil
}

func (r *recorder) Idle() error { return nil }

// text puts the streamed answer together, and counts chunks without choices.
func (r *recorder) text(t *testing.T) (text, finish string, bare int) {
	t.Helper()
	for _, c := range r.chunks {
		var chunk struct {
			Choices []struct {
				Text  string `json:"text"`
				Delta struct {
					Content string `json:"content"`
				} `json:"delta"`
				Finish string `json:"finish_reason"`
			} `json:"choices"`
		}
		if err := json.Unmarshal([]byte(c), &chunk); err != nil {
			t.Fatalf("chunk %q: %v", c, err)
		}
		if len(chunk.Choices) == 0 {
			bare++
			continue
		}
		text += chunk.Choices[0].Delta.Content + chunk.Choices[0].Text
		if f := chunk.Choices[0].Finish; f != "" {
			finish = f
		}
	}
	return text, finish, bare
}

func testStream(t *testing.T, s subject) {
	t.Helper()
	for asks, tail := range map[bool]string{
		false: `}`, true: `,"stream":false,"stream_options":{"include_usage":true,"x_option":2}}`,
	} {
		var r recorder
		usage, err := s.engine.Stream(t.Context(), Chat, []byte(askHello+tail), &r)
		if err != nil {
			t.Fatal(err)
		}
		text, finish, bare := r.text(t)
		if r.accepted != 1 || text == "" || finish == "" {
			t.Errorf("accepted %d times, text %q, finish %q", r.accepted, text, finish)
		}
		if want := map[bool]int{false: 0, true: 1}[asks]; bare != want {
			t.Errorf("asked for usage: %v; got %d chunks with nothing else", asks, bare)
		}
		if usage.GetPromptTokens() < 3 || usage.GetCompletionTokens() < 1 {
			t.Errorf("usage %v", usage)
		}
		if s.received == nil {
			continue
		}
		got := s.received()
		if !bytes.Contains(got, []byte(`"stream":true`)) || !bytes.Contains(got, []byte(`"include_usage":true`)) ||
			!bytes.Contains(got, []byte(`"x_unknown":1.50e1`)) || asks && !bytes.Contains(got, []byte(`"x_option":2`)) {
			t.Errorf("the engine was given %s", got)
		}
	}
}

func testCompletion(t *testing.T, s subject) {
	t.Helper()
	answer, err := s.engine.Invoke(t.Context(), Completion, []byte(`{"prompt":"The capital of France is","max_tokens":4}`))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(answer.Body, []byte(`"text":"`)) || answer.Usage.GetCompletionTokens() < 1 {
		t.Errorf("answer %s, usage %v", answer.Body, answer.Usage)
	}
	var r recorder
	if _, err := s.engine.Stream(t.Context(), Completion, []byte(`{"prompt":"One, two, three","max_tokens":4}`), &r); err != nil {
		t.Fatal(err)
	}
	if text, _, _ := r.text(t); text == "" {
		t.Errorf("chunks %q", r.chunks)
	}
}

func testErrors(t *testing.T, s subject) {
	t.Helper()
	long, err := json.Marshal(strings.Repeat("word and word ", s.context))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, body string
		want       apierr.Reason
	}{
		{"context exceeded", `{"max_tokens":4,"messages":[{"role":"user","content":` + string(long) + `}]}`, apierr.ContextLengthExceeded},
		{"no messages", `{}`, apierr.InvalidArgument},
		{"wrong type", `{"messages":[{"role":"user","content":"x"}],"temperature":"hot"}`, apierr.InvalidArgument},
		{"not JSON", `{"messages":`, apierr.InvalidArgument},
		{"not an object", `[]`, apierr.InvalidArgument},
		{"odd options", `{"messages":[{"role":"user","content":"x"}],"stream_options":7}`, apierr.InvalidArgument},
	}
	for _, tt := range tests {
		if s.cuts && tt.want == apierr.ContextLengthExceeded {
			if answer, err := s.engine.Invoke(t.Context(), Chat, []byte(tt.body)); err != nil || answer.Usage.GetPromptTokens() > int32(s.context) {
				t.Errorf("%s: %v, %v", tt.name, answer.Usage, err)
			}
			continue
		}
		var r recorder
		_, err := s.engine.Stream(t.Context(), Chat, []byte(tt.body), &r)
		if got := apierr.From(err); got == nil || got.Reason != tt.want || got.Message == "" {
			t.Errorf("%s, streamed: %v", tt.name, err)
		}
		if r.accepted+len(r.chunks) != 0 {
			t.Errorf("%s: the sink was told of a request that was refused", tt.name)
		}
		if tt.name == "odd options" {
			continue // not sent with a unary request
		}
		if _, err := s.engine.Invoke(t.Context(), Chat, []byte(tt.body)); apierr.ReasonOf(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

const askLong = `{"messages":[{"role":"user","content":"Tell me a very long story."}],"max_tokens":1500,"ignore_eos":true}`

func testCancel(t *testing.T, s subject) {
	t.Helper()
	before := int64(0)
	if s.aborted != nil {
		before = s.aborted()
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := recorder{onChunk: func(n int) error {
		if n == 2 {
			cancel()
		}
		return nil
	}}
	start := time.Now()
	if _, err := s.engine.Stream(ctx, Chat, []byte(askLong), &r); !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled stream: %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it ended after %v", took)
	}
	full := errors.New("the sink is full")
	r2 := recorder{onChunk: func(int) error { return full }}
	if _, err := s.engine.Stream(t.Context(), Chat, []byte(askLong), &r2); !errors.Is(err, full) {
		t.Fatalf("a sink that fails: %v", err)
	}
	if s.aborted != nil {
		eventually(t, "the engine sees both abandoned", func() bool { return s.aborted() == before+2 })
	}
}

// eventually waits for what another process or goroutine does.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

func testEmbed(t *testing.T, s subject) {
	t.Helper()
	texts := []string{"a gate in the wall", "a gate in a wall", "the price of bread"}
	inputs := make([]Input, 0, 40)
	for range 13 { // more than some engines take at once
		for _, text := range texts {
			inputs = append(inputs, Input{Text: text})
		}
	}
	out, err := s.engine.Embed(t.Context(), EmbedRequest{Inputs: inputs, InputType: "passage"})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Vectors) != len(inputs) || out.Usage.GetPromptTokens() < int32(len(inputs)) {
		t.Fatalf("%d vectors, usage %v", len(out.Vectors), out.Usage)
	}
	for i, v := range out.Vectors {
		if len(v) != s.dimensions {
			t.Fatalf("vector %d has %d dimensions", i, len(v))
		}
		if c := cosine(v, out.Vectors[i%3]); c < 0.999 {
			t.Errorf("vector %d is not that of its text: %v", i, c)
		}
	}
	near, far := cosine(out.Vectors[0], out.Vectors[1]), cosine(out.Vectors[0], out.Vectors[2])
	if near <= far {
		t.Errorf("alike %v, unlike %v", near, far)
	}
	if _, err := s.engine.Embed(t.Context(), EmbedRequest{Inputs: inputs[:1], Dimensions: s.dimensions}); err != nil {
		t.Errorf("the model's own dimensions: %v", err)
	}
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}
