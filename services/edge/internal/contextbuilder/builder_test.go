package contextbuilder

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/inspect"
)

type fakeSearch struct {
	hits  []*searchv1.Hit
	asked *searchv1.SearchRequest
}

func (f *fakeSearch) Search(_ context.Context, in *searchv1.SearchRequest, _ ...grpc.CallOption) (*searchv1.SearchResponse, error) {
	f.asked = in
	return &searchv1.SearchResponse{Hits: f.hits}, nil
}

// fakeModels knows one context length, in tokens.
type fakeModels int32

func (f fakeModels) GetServedModel(context.Context, *inferencev1.GetServedModelRequest, ...grpc.CallOption) (*inferencev1.GetServedModelResponse, error) {
	return &inferencev1.GetServedModelResponse{Model: &inferencev1.ServedModel{ContextLength: int32(f)}}, nil
}

func user(text string) *edgev1.ChatMessage {
	return &edgev1.ChatMessage{Role: "user", Content: textContent(text)}
}

func TestBuildBounds(t *testing.T) {
	hit := &searchv1.Hit{DocumentId: "d", ChunkId: "d#0", Text: strings.Repeat("word ", 400)} // 500 tokens, by estimate
	tests := map[string]struct {
		context   int32
		maxTokens int32
		hits      int
		cited     int
	}{
		"all fit":                  {16384, 0, 5, 5},
		"the last one is cut":      {2048, 512, 5, 3},
		"a long answer takes room": {2048, 4000, 5, 2}, // at most half
		"no room at all":           {256, 200, 5, 0},
		"unknown length":           {0, 0, 5, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			search := &fakeSearch{}
			for range tt.hits {
				search.hits = append(search.hits, hit)
			}
			req := &edgev1.CreateChatCompletionRequest{
				Messages: []*edgev1.ChatMessage{user("Why?")}, Retrieval: &edgev1.Retrieval{Collection: "c"},
			}
			if tt.maxTokens > 0 {
				req.MaxTokens = &tt.maxTokens
			}
			found, err := New(DefaultConfig(), search, fakeModels(tt.context), unseen{}).Build(t.Context(), req, nil)
			if err != nil {
				t.Fatal(err)
			}
			cited := found.Citations
			prompt := text(req.GetMessages()[1].GetContent())
			if len(cited) != tt.cited || strings.Count(prompt, "<passage number=") != tt.cited {
				t.Errorf("%d cited, %d in the prompt, want %d", len(cited), strings.Count(prompt, "<passage number="), tt.cited)
			}
			if tt.context > 256 && (len(prompt)+len(instructions))/charsPerToken > int(tt.context) {
				t.Errorf("the prompt has %d bytes", len(prompt))
			}
			if search.asked.GetTopK() != defaultTopK || search.asked.GetQuery() != "Why?" {
				t.Errorf("search was asked %v", search.asked)
			}
		})
	}
}

func TestBuildParts(t *testing.T) {
	search := &fakeSearch{hits: []*searchv1.Hit{{DocumentId: "d", Text: "fact"}}}
	parts := &edgev1.MessageContent{Content: &edgev1.MessageContent_Parts{Parts: &edgev1.ContentPartList{
		Parts: []*edgev1.ContentPart{textPart("What"), {Type: "image_url"}, textPart("is it?")},
	}}}
	req := &edgev1.CreateChatCompletionRequest{
		Messages: []*edgev1.ChatMessage{
			{Role: "developer", Content: textContent("Rules.")}, {Role: "user", Content: parts}, {Role: "assistant", Content: textContent("hm")},
		},
		Retrieval: &edgev1.Retrieval{Collection: "c"},
	}
	if _, err := New(DefaultConfig(), search, fakeModels(4096), unseen{}).Build(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	if search.asked.GetQuery() != "What\nis it?" || !search.asked.GetPlain() {
		t.Errorf("the query is %v", search.asked)
	}
	if len(req.GetMessages()) != 3 || !strings.HasPrefix(req.GetMessages()[0].GetContent().GetText(), "Rules.\n\n"+instructions[:20]) {
		t.Errorf("the system part is %v", req.GetMessages()[0])
	}
	got := req.GetMessages()[1].GetContent().GetParts().GetParts()
	if len(got) != 4 || !strings.Contains(got[0].GetText(), "fact") || got[2].GetType() != "image_url" {
		t.Errorf("the parts are %v", got)
	}
}

func TestBuildNeedsAQuery(t *testing.T) {
	req := &edgev1.CreateChatCompletionRequest{
		Messages: []*edgev1.ChatMessage{{Role: "system", Content: textContent("x")}}, Retrieval: &edgev1.Retrieval{Collection: "c"},
	}
	_, err := New(DefaultConfig(), &fakeSearch{}, fakeModels(4096), unseen{}).Build(t.Context(), req, nil)
	if e := apierr.From(err); e == nil || e.Field != "retrieval.query" {
		t.Errorf("got %v", err)
	}
	req.Retrieval.Query = "q"
	search := &fakeSearch{}
	if _, err := New(DefaultConfig(), search, fakeModels(4096), unseen{}).Build(t.Context(), req, nil); err != nil || len(req.GetMessages()) != 2 {
		t.Errorf("with a query: %v, %v", req.GetMessages(), err)
	}
	if search.asked.GetPlain() {
		t.Error("the marks of a query that was written as one are not read")
	}
}

// unseen looks at nothing.
type unseen struct{}

func (unseen) Of(context.Context, detect.Side, string) *inspect.Inspection { return nil }
