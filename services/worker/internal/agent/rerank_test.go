package agent

import (
	"context"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// Rerank scores a document by its length.
func (f *fakeEngine) Rerank(ctx context.Context, r engine.RerankRequest) (engine.Relevance, error) {
	out := engine.Relevance{Usage: &commonv1.TokenUsage{PromptTokens: int32(len(r.Documents))}}
	for _, d := range r.Documents {
		done, err := r.Turn(ctx)
		if err != nil {
			return engine.Relevance{}, err
		}
		err = f.work(ctx, d)
		done()
		if err != nil {
			return engine.Relevance{}, err
		}
		out.Scores = append(out.Scores, float64(len(d)))
	}
	return out, nil
}

func TestRerank(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a") // with a context of 2000 tokens
		ask := func(query string, documents ...string) (*workerv1.RerankResponse, error) {
			return r.client.Rerank(r.Context(), &workerv1.RerankRequest{Digest: digest("a"), Query: query, Documents: documents})
		}
		resp, err := ask("q", "a", "bbb")
		if err != nil || len(resp.GetRelevanceScores()) != 2 || resp.GetRelevanceScores()[1] != 3 || resp.GetUsage().GetPromptTokens() != 2 {
			r.Errorf("got %v, %v", resp, err)
		}
		_, err = ask(strings.Repeat("word ", 4000), "x", strings.Repeat("word ", 4001))
		if e := apierr.From(err); e.Reason != apierr.ContextLengthExceeded || e.Field != "documents[1]" {
			r.Errorf("too long together: %v, field %q", err, e.Field)
		}
		if _, err := ask(strings.Repeat("x", 60_000), make20("y")...); apierr.ReasonOf(err) != apierr.PayloadTooLarge {
			r.Errorf("1.2 MB of queries: %v", err)
		}
		if n := r.agent.State("").GetInFlight(); n != 0 {
			r.Errorf("%d in flight", n)
		}
	})
}

func make20(s string) []string {
	out := make([]string, 20)
	for i := range out {
		out[i] = s
	}
	return out
}
