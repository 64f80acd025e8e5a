package rpc

import (
	"cmp"
	"crypto/sha256"
	"slices"

	"google.golang.org/protobuf/proto"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/query"
	"github.com/poterne/poterne/services/search/internal/store"
)

// defaultRerank is how many hits a model reranks when a search does not say.
const defaultRerank = 50

func arrangementOf(req *searchv1.SearchRequest) query.Arrangement {
	out := query.Arrangement{Deduplicate: req.GetDeduplicate(), Diversity: req.GetDiversity()}
	if r := req.GetRerank(); r != nil {
		out.Rerank = &query.Rerank{Model: r.GetModel(), TopN: int(cmp.Or(r.GetTopN(), defaultRerank))}
	}
	return out
}

// bindingOf stands for a search, whichever of its pages is asked for and however
// long that is: what one search may go on with must not be taken by another.
func bindingOf(c store.Collection, req *searchv1.SearchRequest) []byte {
	asked, ok := proto.Clone(req).(*searchv1.SearchRequest)
	if !ok {
		return nil // a clone is of the same type
	}
	asked.PageToken, asked.TopK = "", 0
	h := sha256.New()
	for _, s := range []string{c.Tenant, c.UID} {
		_, _ = h.Write(append([]byte(s), 0))
	}
	// What cannot be written was never sent.
	raw, _ := proto.MarshalOptions{Deterministic: true}.Marshal(asked)
	_, _ = h.Write(raw)
	return h.Sum(nil)
}

func nearDuplicatesToProto(n query.NearDuplicates) *searchv1.NearDuplicates {
	if n.Count == 0 {
		return nil
	}
	return &searchv1.NearDuplicates{Count: int32of(n.Count), DocumentIds: slices.Clone(n.Documents)}
}

// explainArrangement tells what was done with a hit after the legs were put
// together.
func explainArrangement(e *searchv1.Explanation, h query.Hit) {
	if r := h.Reranked; r != nil {
		e.Rerank = &searchv1.RerankExplanation{RankBefore: int32of(r.Before), Rank: int32of(r.Rank), Score: r.Score}
	}
	if d := h.Diversified; d != nil {
		e.Diversity = &searchv1.DiversityExplanation{
			RankBefore: int32of(d.Before), Relevance: d.Relevance, Similarity: d.Similarity, Score: d.Score,
		}
	}
}
