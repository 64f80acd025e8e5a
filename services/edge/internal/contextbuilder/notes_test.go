package contextbuilder

import (
	"fmt"
	"strings"
	"testing"
	"time"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
)

// noted has a builder work, and returns what was noted as `name=value` lines.
func noted(t *testing.T, context int32, found []*searchv1.Hit, change func(*edgev1.CreateChatCompletionRequest)) (outcome, facts string) {
	t.Helper()
	entry := audit.NewEntry("r")
	entry.Explain(time.Now(), time.Now)
	req := &edgev1.CreateChatCompletionRequest{Messages: []*edgev1.ChatMessage{user("Why?")}, Retrieval: &edgev1.Retrieval{Collection: "c"}}
	if change != nil {
		change(req)
	}
	_, err := New(DefaultConfig(), &fakeSearch{hits: found}, fakeModels(context), unseen{}).Build(audit.NewContext(t.Context(), entry), req, nil)
	list, _ := entry.Decisions()
	if len(list) != 1 || list[0].Step != explain.Retrieval {
		t.Fatalf("noted %v, %v", list, err)
	}
	var lines []string
	for _, a := range list[0].Attributes {
		lines = append(lines, a.Name+"="+a.Value)
	}
	return list[0].Outcome, strings.Join(lines, "\n")
}

// chunk is one of a document, with what it says between two places.
func chunk(document string, n, start, size int) *searchv1.Hit {
	return &searchv1.Hit{
		DocumentId: document, ChunkId: fmt.Sprint(document, "#", n), Text: strings.Repeat("x", size), StartOffset: int32(start), EndOffset: int32(start + size),
	}
}

// What is told of a retrieval is what was done, to the last chunk: merged, cut, dropped
// since there was no room, repeated, or unlike the question.
func TestWhatWasPackedIsNoted(t *testing.T) {
	repeating := chunk("d2", 0, 0, 400)
	repeating.NearDuplicates = &searchv1.NearDuplicates{Count: 3, DocumentIds: []string{"d7", "d8"}}
	least := 0.5
	unlike := chunk("d9", 0, 0, 10)
	like := chunk("d1", 0, 0, 10)
	like.Explanation = &searchv1.Explanation{Legs: []*searchv1.LegExplanation{{Leg: "vector", Rank: 1, Score: 0.9}}}
	unlike.Explanation = &searchv1.Explanation{Legs: []*searchv1.LegExplanation{{Leg: "vector", Rank: 2, Score: 0.1}}}
	for name, tt := range map[string]struct {
		context int32
		found   []*searchv1.Hit
		change  func(*edgev1.CreateChatCompletionRequest)
		outcome string
		facts   []string // with those that must be there; `-name`: none of that name
	}{
		"merged": {
			16384,
			[]*searchv1.Hit{chunk("d1", 1, 100, 100), chunk("d3", 0, 0, 50), chunk("d1", 0, 0, 120)},
			nil, "packed",
			[]string{"found=3", "packed=2", "packed_chunks=d1#0 d1#1 d3#0", "merged_chunks=d1#0+d1#1", "sized_by=bytes", "-cut_chunks", "-dropped_no_room", "-dropped_duplicates"},
		},
		"by relevance": {
			16384,
			[]*searchv1.Hit{chunk("d1", 1, 100, 100), chunk("d1", 0, 0, 120)},
			func(r *edgev1.CreateChatCompletionRequest) { r.Retrieval.Order = OrderRelevance }, "packed",
			[]string{"order=relevance", "packed=2", "packed_chunks=d1#1 d1#0", "-merged_chunks"},
		},
		"near duplicates": {
			16384,
			[]*searchv1.Hit{repeating},
			nil, "packed",
			[]string{"packed_chunks=d2#0", "dropped_duplicates=3", "duplicates_of_documents=d7 d8"},
		},
		"no room for all": {
			2048,
			[]*searchv1.Hit{chunk("d1", 0, 0, 3000), chunk("d2", 0, 0, 3000), chunk("d3", 0, 0, 3000), chunk("d4", 0, 0, 10)},
			nil, "packed",
			[]string{"context_length=2048", "prompt_room=1536", "found=4", "packed=2", "packed_chunks=d1#0 d2#0", "cut_chunks=d2#0", "dropped_no_room=d3#0 d4#0", "sized_by=estimate"},
		},
		"no room at all": {
			256,
			[]*searchv1.Hit{chunk("d1", 0, 0, 3000)},
			func(r *edgev1.CreateChatCompletionRequest) { r.Messages[0] = user(strings.Repeat("Why? ", 200)) }, "empty",
			[]string{"packed=0", "dropped_no_room=d1#0", "-packed_chunks"},
		},
		"below what was asked for": {
			16384,
			[]*searchv1.Hit{like, unlike},
			func(r *edgev1.CreateChatCompletionRequest) { r.Retrieval.MinSimilarity = &least }, "packed",
			[]string{"packed_chunks=d1#0", "dropped_below_threshold=d9#0"},
		},
		"nothing": {16384, nil, nil, "empty", []string{"found=0", "packed=0", "-packed_chunks"}},
		"nothing, and no model is asked": {
			16384, nil, func(r *edgev1.CreateChatCompletionRequest) { yes := true; r.Retrieval.RequirePassages = &yes }, "not-found", []string{"found=0", "packed=0"},
		},
	} {
		outcome, got := noted(t, tt.context, tt.found, tt.change)
		if outcome != tt.outcome {
			t.Errorf("%s: %s, want %s\n%s", name, outcome, tt.outcome, got)
		}
		for _, f := range tt.facts {
			if absent, ok := strings.CutPrefix(f, "-"); ok == strings.Contains("\n"+got, "\n"+absent+"=") && ok {
				t.Errorf("%s: %s is there\n%s", name, absent, got)
			} else if !ok && !strings.Contains("\n"+got+"\n", "\n"+f+"\n") {
				t.Errorf("%s: %s is missing\n%s", name, f, got)
			}
		}
	}
}

// Nothing that a document says is noted, nor what its readers are, nor by which rule
// others are hidden.
func TestNothingButIdsIsNoted(t *testing.T) {
	h := chunk("d1", 0, 0, 10)
	h.Text, h.Title = "the secret itself", "the secret's title"
	_, got := noted(t, 16384, []*searchv1.Hit{h}, func(r *edgev1.CreateChatCompletionRequest) { r.Retrieval.Filter = `year = "hidden"` })
	names := make(map[string]bool)
	for line := range strings.Lines(got) {
		name, _, _ := strings.Cut(line, "=")
		names[name] = true
	}
	for name := range names {
		switch name {
		case "collection", "generation", "order", "found", "context_length", "prompt_room", "sized_by", "passage_bytes", "packed", "packed_chunks":
		default:
			t.Errorf("%s is told", name)
		}
	}
	if strings.Contains(got, "secret") || strings.Contains(got, "hidden") {
		t.Errorf("told is\n%s", got)
	}
}

// Long lists are told in several attributes, with whole ids.
func TestLongListsAreTold(t *testing.T) {
	ids := make([]string, 50)
	for i := range ids {
		ids[i] = fmt.Sprintf("document-%02d#%d", i, i)
	}
	got := texts(ids)
	if joined := strings.Join(got, " "); joined != strings.Join(ids, " ") || len(got) < 2 {
		t.Errorf("%q", got)
	}
	for _, text := range got {
		if len(text) > explain.MaxText {
			t.Errorf("%d bytes would be cut", len(text))
		}
	}
	many := make([]string, 400)
	for i := range many {
		many[i] = fmt.Sprintf("document-%03d", i)
	}
	got = texts(many)
	told := strings.Count(strings.Join(got, " "), "document-")
	if len(got) != maxTexts || !strings.HasSuffix(got[maxTexts-1], fmt.Sprintf(" and %d more", 400-told)) || len(got[maxTexts-1]) > explain.MaxText {
		t.Errorf("%d of them: %q", told, got)
	}
	if got := texts([]string{strings.Repeat("x", 400), "a"}); len(got) != 1 || got[0] != "and 2 more" {
		t.Errorf("%q", got)
	}
	if got := texts(nil); got != nil {
		t.Errorf("%q", got)
	}
}
