package contextbuilder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// counted is a tokeniser of which a token has perToken bytes.
func counted(req *edgev1.CreateChatCompletionRequest, perToken float64, calls *int) Count {
	return func(context.Context) (int, error) {
		*calls++
		n := 0
		for _, m := range req.GetMessages() {
			n += len(text(m.GetContent()))
		}
		return int(float64(n)/perToken) + 20, nil
	}
}

func asking(words ...string) *edgev1.CreateChatCompletionRequest {
	return &edgev1.CreateChatCompletionRequest{
		Model: "m", Messages: []*edgev1.ChatMessage{user("Why " + strings.Join(words, " ") + "?")}, Retrieval: &edgev1.Retrieval{Collection: "c"},
	}
}

func hits(n, bytes int) []*searchv1.Hit {
	var out []*searchv1.Hit
	for i := range n {
		id := fmt.Sprintf("d%d", i)
		out = append(out, &searchv1.Hit{DocumentId: id, ChunkId: id + "#0", Text: strings.Repeat("word ", bytes/5)})
	}
	return out
}

// Whatever the tokeniser does, the prompt fits by its count where it counts, the room
// is used, and few counts are asked for.
func TestFitByTheModelsTokeniser(t *testing.T) {
	for name, tt := range map[string]struct {
		context  int32
		perToken float64
		least    int // passages
		calls    int
	}{
		"all fit by their bytes alone": {32768, 1.0, 5, 0},
		"English":                      {2048, 4.2, 3, 2},
		"dense text":                   {2048, 1.5, 1, 3},
		"a byte is a token":            {2048, 1, 1, 3},
		"words are tokens":             {2048, 6, 4, 3},
		"no room":                      {256, 4, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			req := asking()
			found, err := New(DefaultConfig(), &fakeSearch{hits: hits(5, 1500)}, fakeModels(tt.context), unseen{}).Build(t.Context(), req, counted(req, tt.perToken, &calls))
			if err != nil {
				t.Fatal(err)
			}
			var again int
			tokens, _ := counted(req, tt.perToken, &again)(t.Context())
			if room := int(tt.context) - min(512, int(tt.context)/2); tokens > room && len(found.Citations) > 0 && calls > 0 {
				t.Errorf("%d tokens, and room for %d", tokens, room)
			}
			if len(found.Citations) < tt.least || calls > tt.calls || tt.calls == 0 && calls > 0 {
				t.Errorf("%d passages after %d counts, want at least %d after at most %d", len(found.Citations), calls, tt.least, tt.calls)
			}
			if found.Tokens != 0 && found.Tokens != tokens {
				t.Errorf("told %d tokens of %d", found.Tokens, tokens)
			}
		})
	}
}

func TestFitEstimatesWhereTheModelCannotCount(t *testing.T) {
	req := asking()
	found, err := New(DefaultConfig(), &fakeSearch{hits: hits(5, 2000)}, fakeModels(2048), unseen{}).Build(t.Context(), req,
		func(context.Context) (int, error) { return 0, errors.New("it cannot") })
	if err != nil || found.Tokens != 0 || len(found.Citations) != 3 {
		t.Errorf("%d passages, %d tokens, %v", len(found.Citations), found.Tokens, err)
	}
}

func TestOrderMergeAndPlace(t *testing.T) {
	document := "The gate opens at six. The guard has the key. Bread is sold inside."
	chunk := func(n, from, to int, score float64) *searchv1.Hit {
		return &searchv1.Hit{DocumentId: "b", ChunkId: fmt.Sprintf("b#%d", n), Text: document[from:to], StartOffset: int32(from), EndOffset: int32(to), Score: score}
	}
	search := func() *fakeSearch {
		return &fakeSearch{hits: []*searchv1.Hit{
			chunk(1, 18, 45, 0.9), {DocumentId: "c", ChunkId: "c#0", Text: "Other.", Score: 0.8}, chunk(0, 0, 30, 0.7), {DocumentId: "a", ChunkId: "a#0", Text: "First.", Score: 0.1},
		}}
	}
	talk := func() *edgev1.CreateChatCompletionRequest {
		req := asking()
		req.Messages = []*edgev1.ChatMessage{user("Hello"), {Role: "assistant", Content: textContent("Hi")}, user("Why?")}
		return req
	}
	req := talk()
	found, err := New(DefaultConfig(), search(), fakeModels(32768), unseen{}).Build(t.Context(), req, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, a := range found.Citations {
		if int(a.GetNumber()) != i+1 {
			t.Errorf("the %d. has the number %d", i, a.GetNumber())
		}
		got = append(got, a.GetChunkId()+strings.Join(a.GetChunkIds(), "+"))
	}
	if want := []string{"a#0", "b#1b#0+b#1", "c#0"}; !slices.Equal(got, want) {
		t.Errorf("the passages are %q, want %q", got, want)
	}
	first := text(req.GetMessages()[1].GetContent())
	if !strings.Contains(first, document[:45]) || strings.Contains(first, document[:46]) || !strings.HasSuffix(first, "</passages>\n\nHello") || text(req.GetMessages()[3].GetContent()) != "Why?" {
		t.Errorf("the passages stand in %q, and the question is %v", first, req.GetMessages()[3])
	}
	// By relevance, before the question: nothing is merged.
	cfg := DefaultConfig()
	cfg.Order, cfg.Placement = OrderRelevance, PlaceQuestion
	req = talk()
	if found, err = New(cfg, search(), fakeModels(32768), unseen{}).Build(t.Context(), req, nil); err != nil || len(found.Citations) != 4 || found.Citations[0].GetChunkId() != "b#1" {
		t.Errorf("by relevance: %v, %v", found, err)
	}
	if last := text(req.GetMessages()[3].GetContent()); !strings.HasPrefix(last, "<passages>") {
		t.Errorf("the question is %q", last)
	}
}

// Another question that finds the same passages in another order has a prompt that
// begins the same.
func TestTheBeginningIsStable(t *testing.T) {
	prompt := func(order []int, question string) string {
		all, found := hits(4, 100), []*searchv1.Hit(nil)
		for _, i := range order {
			found = append(found, all[i])
		}
		req := asking(question)
		if _, err := New(DefaultConfig(), &fakeSearch{hits: found}, fakeModels(32768), unseen{}).Build(t.Context(), req, nil); err != nil {
			t.Fatal(err)
		}
		return text(req.GetMessages()[0].GetContent()) + text(req.GetMessages()[1].GetContent())
	}
	a, b := prompt([]int{2, 0, 3}, "this"), prompt([]int{0, 3, 2}, "that")
	end := strings.Index(a, "</passages>\n\n")
	if end < 0 || a[:end] != b[:end] {
		t.Errorf("%q and %q begin differently", a, b)
	}
}

func TestThresholds(t *testing.T) {
	near, far := 0.8, 0.1
	hit := func(id string, rank int32, similarity float64, relevance *float64) *searchv1.Hit {
		return &searchv1.Hit{
			DocumentId: id, ChunkId: id, Text: "x", RelevanceScore: relevance,
			Explanation: &searchv1.Explanation{Legs: []*searchv1.LegExplanation{{Leg: "lexical", Rank: 1, Score: 9}, {Leg: "vector", Rank: rank, Score: similarity}}},
		}
	}
	all := []*searchv1.Hit{hit("a", 1, 0.9, &near), hit("b", 2, 0.2, &far), hit("c", 0, 0.9, nil)}
	least := 0.5
	for name, tt := range map[string]struct {
		change func(*edgev1.Retrieval)
		want   int
		field  string
	}{
		"none":           {func(*edgev1.Retrieval) {}, 3, ""},
		"similarity":     {func(r *edgev1.Retrieval) { r.MinSimilarity = &least }, 1, ""},
		"relevance":      {func(r *edgev1.Retrieval) { r.MinRelevance, r.Rerank = &least, &searchv1.Rerank{Model: "j"} }, 1, ""},
		"without rerank": {func(r *edgev1.Retrieval) { r.MinRelevance = &least }, 0, "retrieval.min_relevance"},
		"of words":       {func(r *edgev1.Retrieval) { r.MinSimilarity, r.Mode = &least, "lexical" }, 0, "retrieval.min_similarity"},
		"no prompt":      {func(r *edgev1.Retrieval) { r.Variable = "passages" }, 0, "retrieval.variable"},
	} {
		req := asking()
		tt.change(req.GetRetrieval())
		search := &fakeSearch{hits: all}
		found, err := New(DefaultConfig(), search, fakeModels(32768), unseen{}).Build(t.Context(), req, nil)
		if tt.field != "" {
			if e := apierr.From(err); e == nil || e.Field != tt.field {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || len(found.Citations) != tt.want || !search.asked.GetDeduplicate() {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
}

func TestNothingFound(t *testing.T) {
	yes, no := true, false
	cfg := DefaultConfig()
	for name, tt := range map[string]struct {
		configured bool
		asked      *bool
		want       error
	}{
		"not required": {false, nil, nil}, "asked for": {false, &yes, ErrNothingFound}, "configured": {true, nil, ErrNothingFound}, "asked otherwise": {true, &no, nil},
	} {
		cfg.RequirePassages = tt.configured
		req := asking()
		req.Retrieval.RequirePassages = tt.asked
		if _, err := New(cfg, &fakeSearch{}, fakeModels(4096), unseen{}).Build(t.Context(), req, nil); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// That there is no room for what was found is something else.
	req := asking(strings.Repeat("long ", 2000))
	req.Retrieval.RequirePassages = &yes
	if _, err := New(cfg, &fakeSearch{hits: hits(1, 500)}, fakeModels(1024), unseen{}).Build(t.Context(), req, nil); apierr.ReasonOf(err) != apierr.ContextLengthExceeded {
		t.Errorf("without room: %v", err)
	}
}

func TestAVariableOfThePrompt(t *testing.T) {
	req := asking()
	req.Prompt = &edgev1.ChatPrompt{Id: "answer"}
	req.Retrieval.Variable = "passages"
	if _, err := New(DefaultConfig(), &fakeSearch{hits: hits(2, 100)}, fakeModels(4096), unseen{}).Build(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	if v := req.GetPrompt().GetVariables()["passages"]; !strings.HasPrefix(v, "<passages>\n<passage number=\"1\"") || len(req.GetMessages()) != 1 || text(req.GetMessages()[0].GetContent()) != "Why ?" {
		t.Errorf("the variable is %q, and the messages %v", v, req.GetMessages())
	}
}
