package contextbuilder

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/detect"
)

// choice is which hits may be packed, and which may not and why.
type choice struct {
	hits    []*searchv1.Hit
	unlike  []*searchv1.Hit // below the similarity or relevance that was asked for
	blocked []*searchv1.Hit // by a detector
}

// choose leaves out what is not near enough to the question, and what must not reach
// the model: a passage in which something blocks is left out, so that no document can
// have questions refused.
func (b *Builder) choose(ctx context.Context, req *edgev1.CreateChatCompletionRequest, found *searchv1.SearchResponse) (choice, error) {
	r := req.GetRetrieval()
	if r.MinSimilarity != nil && found.GetMode() == modeLexical {
		return choice{}, apierr.New(apierr.Unavailable, "the question could not be embedded, so that nobody knows how similar passages are to it")
	}
	var c choice
	for _, h := range found.GetHits() {
		if !near(r, h) {
			c.unlike = append(c.unlike, h)
			continue
		}
		if in := b.look.Of(ctx, detect.Passage, req.GetModel()); in != nil {
			h.Text, h.Title = in.Text(h.GetText()), in.Text(h.GetTitle())
			if in.Blocked() {
				c.blocked = append(c.blocked, h)
				continue
			}
		}
		c.hits = append(c.hits, h)
	}
	return c, nil
}

// near reports whether a hit reaches what the request asks for. One of which the
// score is not known does not.
func near(r *edgev1.Retrieval, h *searchv1.Hit) bool {
	if r.MinRelevance != nil && (h.RelevanceScore == nil || h.GetRelevanceScore() < r.GetMinRelevance()) {
		return false
	}
	if r.MinSimilarity == nil {
		return true
	}
	for _, leg := range h.GetExplanation().GetLegs() {
		if leg.GetLeg() == "vector" {
			return leg.GetRank() > 0 && leg.GetScore() >= r.GetMinSimilarity()
		}
	}
	return false
}
