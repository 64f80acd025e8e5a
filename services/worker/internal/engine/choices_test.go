package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// oneAnswer is an engine that gives one answer to any request, as many tokens
// as its prompt has bytes and two more, and keeps what it was given.
type oneAnswer struct {
	mu      sync.Mutex
	bodies  []string
	running int
	most    int
	fail    string // fails requests that hold it
}

func (e *oneAnswer) begin(body []byte) (prompt int32, err error) {
	e.mu.Lock()
	e.bodies = append(e.bodies, string(body))
	e.running++
	e.most = max(e.most, e.running)
	e.mu.Unlock()
	<-time.NewTimer(time.Second).C // of the bubble's time
	e.mu.Lock()
	e.running--
	e.mu.Unlock()
	if e.fail != "" && strings.Contains(string(body), e.fail) {
		return 0, errors.New("it failed")
	}
	var req struct{ Prompt string }
	_ = json.Unmarshal(body, &req)
	return int32(len(req.Prompt)), nil
}

func (e *oneAnswer) Invoke(_ context.Context, _ Operation, body []byte) (Answer, error) {
	prompt, err := e.begin(body)
	if err != nil {
		return Answer{}, err
	}
	return Answer{
		Body:  []byte(`{"id":"x","choices":[{"index":0,"text":"t","x_own":1}],"usage":{"prompt_tokens":1},"timings":{"a":1}}`),
		Usage: &commonv1.TokenUsage{PromptTokens: prompt, CompletionTokens: prompt + 2, CachedPromptTokens: 1},
	}, nil
}

func (e *oneAnswer) Stream(_ context.Context, _ Operation, body []byte, sink Sink) (*commonv1.TokenUsage, error) {
	prompt, err := e.begin(body)
	if err != nil {
		return nil, err
	}
	if err := sink.Accepted(); err != nil {
		return nil, err
	}
	for _, chunk := range []string{
		`{"id":"x","choices":[{"index":0,"text":"t"}]}`,
		`{"id":"x","choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":{"prompt_tokens":1},"timings":{}}`,
		`{"id":"x","choices":[],"usage":{"prompt_tokens":1}}`,
	} {
		if err := sink.Chunk([]byte(chunk)); err != nil {
			return nil, err
		}
	}
	return &commonv1.TokenUsage{PromptTokens: prompt, CompletionTokens: prompt + 2}, nil
}

const severalPrompts = `{"prompt":["a","bcd"],"n":2,"seed":7,"x_mine":1.0}`

func TestSeveralAnswersAreCountedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(oneAnswer)
		answer, err := newFanOut(e, 8).Invoke(t.Context(), Completion, []byte(severalPrompts))
		if err != nil {
			t.Fatal(err)
		}
		// Each prompt once, and every answer: 1+3, and 3+3+5+5.
		if u := answer.Usage; u.GetPromptTokens() != 4 || u.GetCompletionTokens() != 16 || u.GetCachedPromptTokens() != 2 {
			t.Errorf("usage %v", u)
		}
		const want = `{"choices":[{"index":0,"text":"t","x_own":1},{"index":1,"text":"t","x_own":1},{"index":2,"text":"t","x_own":1},{"index":3,"text":"t","x_own":1}],` +
			`"usage":{"prompt_tokens":4,"completion_tokens":16,"total_tokens":20,"prompt_tokens_details":{"cached_tokens":2}},"id":"x"}`
		if string(answer.Body) != want {
			t.Errorf("answer %s", answer.Body)
		}
		slices.Sort(e.bodies)
		if got := strings.Join(e.bodies, "\n"); got != `{"prompt":"a","seed":7,"x_mine":1.0}
{"prompt":"a","seed":8,"x_mine":1.0}
{"prompt":"bcd","seed":7,"x_mine":1.0}
{"prompt":"bcd","seed":8,"x_mine":1.0}` {
			t.Errorf("the engine was asked\n%s", got)
		}
		if e.most != 4 {
			t.Errorf("%d ran at once", e.most)
		}
	})
}

func TestSeveralAnswersAreStreamedAsOne(t *testing.T) {
	for _, asked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			body := strings.TrimSuffix(severalPrompts, "}") + fmt.Sprintf(`,"stream_options":{"include_usage":%t}}`, asked)
			var r recorder
			usage, err := newFanOut(new(oneAnswer), 1).Stream(t.Context(), Completion, []byte(body), &r)
			if err != nil || usage.GetPromptTokens() != 4 || usage.GetCompletionTokens() != 16 {
				t.Fatalf("usage %v, %v", usage, err)
			}
			if r.accepted != 1 {
				t.Errorf("accepted %d times", r.accepted)
			}
			want := 8
			if asked {
				want++
				if last := r.chunks[len(r.chunks)-1]; last != `{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":16,"total_tokens":20,"prompt_tokens_details":{"cached_tokens":0}},"id":"x"}` {
					t.Errorf("the last chunk is %s", last)
				}
			}
			if len(r.chunks) != want {
				t.Fatalf("%d chunks: %q", len(r.chunks), r.chunks)
			}
			seen := map[string]int{}
			for _, c := range r.chunks[:8] {
				if strings.Contains(c, "usage") || strings.Contains(c, "timings") {
					t.Errorf("a chunk tells what one answer took: %s", c)
				}
				seen[c]++
			}
			if len(seen) != 8 {
				t.Errorf("chunks %q", r.chunks)
			}
		})
	}
}

// What runs beside a request's own place is bounded for all requests together.
func TestSpareRoomIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(oneAnswer)
		f := newFanOut(e, 2)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := f.Invoke(t.Context(), Chat, []byte(`{"n":5}`)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if e.most != 5 || len(e.bodies) != 15 {
			t.Errorf("%d at once, %d in all", e.most, len(e.bodies))
		}
	})
}

func TestOneFailedAnswerFailsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &oneAnswer{fail: `"prompt":"b"`}
		_, err := newFanOut(e, 1).Invoke(t.Context(), Completion, []byte(`{"prompt":["a","b","c","d","e","f"]}`))
		if err == nil || err.Error() != "it failed" || len(e.bodies) > 3 {
			t.Errorf("%v after %d requests", err, len(e.bodies))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(context.DeadlineExceeded)
		if _, err := newFanOut(e, 1).Invoke(ctx, Chat, []byte(`{"n":2}`)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: %v", err)
		}
	})
}

func TestPartsOf(t *testing.T) {
	for body, want := range map[string]int{
		`{}`: 0, `{"n":null}`: 0, `{"n":1}`: 0, `{"n":3}`: 3, `{"n":1,"n_cmpl":2}`: 2,
		`{"prompt":"a"}`: 0, `{"prompt":["a"]}`: 0, `{"prompt":[1,2,3]}`: 0, `{"prompt":[[1,2],[3]]}`: 2,
		`{"prompt":["a",2]}`: 0, `{"prompt":["a","b"],"n":128}`: 256, `{"prompt":[]}`: 0,
	} {
		parts, err := partsOf(Completion, []byte(body))
		if err != nil || len(parts) != want {
			t.Errorf("%s: %d parts, %v", body, len(parts), err)
		}
	}
	if parts, err := partsOf(Chat, []byte(`{"prompt":["a","b"]}`)); err != nil || parts != nil {
		t.Errorf("a chat has no prompts: %v, %v", parts, err)
	}
	for body, field := range map[string]string{
		`{"n":0}`: "n", `{"n":129}`: "n", `{"n":1.5}`: "n", `{"n":"2"}`: "n", `{"n_cmpl":-1}`: "n_cmpl",
		`{"n":128,"prompt":[` + strings.Repeat(`"a",`, 16) + `"a"]}`: "prompt",
	} {
		if _, err := partsOf(Completion, []byte(body)); apierr.ReasonOf(err) != apierr.InvalidArgument || apierr.From(err).Field != field {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestToolsThatTheTemplateDoesNotKnow(t *testing.T) {
	asked := 0
	caps := `,"chat_template_caps":{"supports_tools":false,"supports_tool_calls":false}`
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/props" {
			fmt.Fprint(w, `{"total_slots":1`+caps+`}`)
			return
		}
		asked++
		fmt.Fprint(w, `{"choices":[]}`)
	}))
	e := newLlamaEngine(NewLlama(LlamaConfig{}).dialect(Model{Name: "m"}, port, nil), 1)
	defer e.Close()
	const tools = `"tools":[{"type":"function","function":{"name":"f"}}]`
	for _, known := range []bool{false, true} {
		if known {
			caps = `,"chat_template_caps":{"supports_tools":true,"supports_tool_calls":true}`
		}
		if _, err := e.Facts(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{`{` + tools + `}`, `{` + tools + `,"tool_choice":"required"}`} {
			_, err := e.Invoke(t.Context(), Chat, []byte(body))
			_, streamed := e.Stream(t.Context(), Chat, []byte(body), new(recorder))
			if refused := apierr.ReasonOf(err) == apierr.InvalidArgument && apierr.From(err).Field == "tools"; refused == known {
				t.Errorf("%s, known %t: %v", body, known, err)
			}
			if refused := apierr.ReasonOf(streamed) == apierr.InvalidArgument; refused == known {
				t.Errorf("%s, streamed, known %t: %v", body, known, streamed)
			}
		}
		for _, body := range []string{`{}`, `{"tools":[]}`, `{` + tools + `,"tool_choice":"none"}`} {
			if _, err := e.Invoke(t.Context(), Chat, []byte(body)); err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
	}
	if asked != 10 {
		t.Errorf("the engine was asked %d times", asked)
	}
}

func TestWhatLlamaServerDropsOfCompletions(t *testing.T) {
	asked := 0
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprint(w, `{"choices":[]}`)
	}))
	e := newLlamaEngine(NewLlama(LlamaConfig{}).dialect(Model{Name: "m"}, port, nil), 1)
	defer e.Close()
	for member, field := range map[string]string{
		`"echo":true`: "echo", `"suffix":"end"`: "suffix", `"best_of":3`: "best_of", `"n":2,"best_of":3`: "best_of", `"best_of":"x"`: "best_of",
		`"echo":false`: "", `"echo":null,"suffix":"","best_of":null`: "", `"suffix":null`: "", `"best_of":1`: "",
	} {
		body := []byte(`{"prompt":"a",` + member + `}`)
		_, err := e.Invoke(t.Context(), Completion, body)
		if field != "" && (apierr.ReasonOf(err) != apierr.InvalidArgument || apierr.From(err).Field != field) || field == "" && err != nil {
			t.Errorf("%s: %v", member, err)
		}
		if _, err := e.Stream(t.Context(), Completion, body, new(recorder)); field != "" && apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s, streamed: %v", member, err)
		}
	}
	if asked != 8 {
		t.Errorf("the engine was asked %d times", asked)
	}
}
