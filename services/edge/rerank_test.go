package edge_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

const rerankPath = "/v1/rerank"

// Rerank scores a document by its length.
func (f *fakeInference) Rerank(_ context.Context, req *inferencev1.RerankRequest) (*inferencev1.RerankResponse, error) {
	f.mu.Lock()
	f.reranked = append(f.reranked, req)
	f.mu.Unlock()
	out := &inferencev1.RerankResponse{ServedBy: f.served(), Usage: &commonv1.TokenUsage{PromptTokens: 9}}
	for _, d := range req.GetDocuments() {
		out.RelevanceScores = append(out.RelevanceScores, float64(len(d))-2)
	}
	return out, nil
}

func TestRerank(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", rerankPath, `{"model":"small","query":"q","documents":["bb",{"text":"cccc"},"dd"],"truncate":"END"}`)
	if a.status != http.StatusOK || a.header.Get("X-Poterne-Model") != "small@v3" || a.at("model") != "small" || a.at("id") == "" {
		t.Fatalf("got %d %s", a.status, a.text)
	}
	for i, want := range []struct{ index, score float64 }{{1, 2}, {0, 0}, {2, 0}} { // zeros are told, equal ones as they came
		if a.at("results", i, "index") != want.index || a.at("results", i, "relevance_score") != want.score || a.at("results", i, "document") != nil {
			t.Errorf("result %d: %s", i, a.text)
		}
	}
	if a.at("usage", "total_tokens") != 9.0 || a.at("meta", "tokens", "input_tokens") != 9.0 {
		t.Errorf("usage: %s", a.text)
	}
	asked := g.inference.reranked[0]
	if string(asked.GetExtra()) != `{"truncate":"END"}` || asked.GetQuery() != "q" || !slices.Equal(asked.GetDocuments(), []string{"bb", "cccc", "dd"}) {
		t.Errorf("the inference service was asked %v", asked)
	}
	a = g.do("POST", rerankPath, `{"model":"small","query":"q","documents":["a","bbb"],"top_n":1,"return_documents":true}`)
	if a.at("results", 0, "document", "text") != "bbb" || a.at("results", 1) != nil {
		t.Errorf("top_n and documents: %d %s", a.status, a.text)
	}
}

func TestBadReranks(t *testing.T) {
	g := open(t, nil)
	for body, param := range map[string]string{
		`{"query":"q","documents":["a"]}`:                               "model",
		`{"model":"small","documents":["a"]}`:                           "query",
		`{"model":"small","query":"q"}`:                                 "documents",
		`{"model":"small","query":"q","documents":[]}`:                  "documents",
		`{"model":"small","query":"q","documents":"a"}`:                 "documents",
		`{"model":"small","query":"q","documents":["a",7]}`:             "documents[1]",
		`{"model":"small","query":"q","documents":["a",{}]}`:            "documents[1]",
		`{"model":"small","query":"q","documents":[{"text":""},"a"]}`:   "documents[0]",
		`{"model":"small","query":"q","documents":["a"],"top_n":0}`:     "top_n",
		`{"model":"small","query":"q","documents":["a"],"top_n":"few"}`: "top_n",
	} {
		a := g.do("POST", rerankPath, body)
		if a.status != http.StatusBadRequest || a.at("error", "param") != param {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
	if n := len(g.inference.reranked); n != 0 {
		t.Errorf("the inference service was asked %d times", n)
	}
}

// A document without a text is the same fault over gRPC as over REST.
func TestARerankDocumentHasAText(t *testing.T) {
	g := open(t, onFreePorts)
	_, conn := g.serve()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+g.key)
	client := edgev1.NewOpenAIServiceClient(conn)
	text := func(s string) *edgev1.RerankDocument {
		return &edgev1.RerankDocument{Document: &edgev1.RerankDocument_Text{Text: s}}
	}
	object := func(s string) *edgev1.RerankDocument {
		return &edgev1.RerankDocument{Document: &edgev1.RerankDocument_Object{Object: &edgev1.RerankText{Text: s}}}
	}
	for name, d := range map[string]*edgev1.RerankDocument{"nothing": {}, "an object of nothing": object("")} {
		_, err := client.Rerank(ctx, &edgev1.RerankRequest{Model: "small", Query: "q", Documents: []*edgev1.RerankDocument{text("a"), d}})
		if e := apierr.From(err); e.Reason != apierr.InvalidArgument || e.Field != "documents[1]" {
			t.Errorf("%s: %v on %q", name, err, e.Field)
		}
	}
	if _, err := client.Rerank(ctx, &edgev1.RerankRequest{Model: "small", Query: "q", Documents: []*edgev1.RerankDocument{text(""), object("a")}}); err != nil {
		t.Error(err)
	}
	a := g.do("POST", rerankPath, `{"model":"small","query":"q","documents":["",{"text":"a"}]}`)
	if a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.text)
	}
	a = g.do("POST", rerankPath, `{"model":"small","query":"q","documents":[{}]}`)
	if m, _ := a.at("error", "message").(string); !strings.Contains(m, "documents[0] must be a text, or an object with a text") {
		t.Errorf("%d %s", a.status, a.text)
	}
}
