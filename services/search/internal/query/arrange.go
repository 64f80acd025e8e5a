package query

import (
	"cmp"
	"context"
	"slices"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/mmr"
	"github.com/poterne/poterne/services/search/internal/nearduplicate"
	"github.com/poterne/poterne/services/search/internal/ranking"
	"github.com/poterne/poterne/services/search/internal/reranking"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Arrangement is what is done with the candidates after the legs were put
// together and, where there is an order, put in it: near-duplicates are left
// out, then a model reranks the best, then these are diversified. All of it sees
// only candidates, which the index has filtered by the caller's principals.
type Arrangement struct {
	// Deduplicate leaves out passages that nearly repeat one before them.
	Deduplicate bool
	// Rerank has a model put the best in a new order; nil: none does. Neither this
	// nor Diversity goes together with an order that was asked for.
	Rerank *Rerank
	// Diversity is how much hits are to differ from better ones, 0 to 1.
	Diversity float64
}

// Rerank says by which model, and how many.
type Rerank struct {
	Model string
	TopN  int
}

// check refuses what cannot be had together: an order that was asked for says
// where every hit stands, and so would a model or diversity.
func (r Request) check() error {
	if len(r.OrderBy) > 0 && (r.Rerank != nil || r.Diversity > 0) {
		return apierr.Invalid("order_by", "an order goes together with neither rerank nor diversity, which order hits themselves")
	}
	return nil
}

// Reranker scores texts for a query.
type Reranker interface {
	Rerank(ctx context.Context, model, query string, texts []string) (reranking.Scores, error)
}

// diversified is how many of the best are compared with each other: the time
// that takes grows with its square.
const diversified = 200

func candidates(results []fusion.Result, refs map[string]store.Ref) []ranking.Candidate {
	out := make([]ranking.Candidate, len(results))
	for i, r := range results {
		out[i] = ranking.Candidate{Ref: refs[r.ID], Result: r}
	}
	return out
}

// arrange puts the candidates in their final order, and notes in a what was done
// and what was not.
func (s *Searcher) arrange(ctx context.Context, c store.Collection, req Request, what said, found []ranking.Candidate, a *Answer) ([]ranking.Candidate, error) {
	var err error
	if req.Deduplicate {
		if found, err = s.deduplicate(ctx, c, nil, found); err != nil {
			return nil, err
		}
	}
	found = found[:min(len(found), ranking.Window)]
	reranked := 0
	if req.Rerank != nil && len(found) > 0 {
		if found, reranked, err = s.rerank(ctx, c, *req.Rerank, what.Text, found, a); err != nil {
			return nil, err
		}
	}
	if req.Diversity > 0 && len(found) > 0 {
		n := cmp.Or(reranked, min(len(found), diversified))
		if err := s.diversify(ctx, c, found[:n], req.Diversity, a); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// deduplicate returns the candidates that repeat neither what was shown nor a
// better candidate, each with those that repeat it. One that is gone meanwhile
// repeats nothing.
func (s *Searcher) deduplicate(ctx context.Context, c store.Collection, shown []store.Ref, found []ranking.Candidate) ([]ranking.Candidate, error) {
	all := slices.Clone(shown)
	for _, f := range found {
		all = append(all, f.Ref)
	}
	passages, err := s.store.Passages(ctx, c, all)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = passages[r].Chunk.Text
	}
	into, err := nearduplicate.Fold(ctx, texts)
	if err != nil {
		return nil, err
	}
	kept := make([]ranking.Candidate, 0, len(found))
	at := make(map[int]int, len(found)) // in kept, by place in all
	for i, f := range found {
		place := len(shown) + i
		switch better, ok := at[into[place]]; {
		case into[place] < 0:
			at[place] = len(kept)
			kept = append(kept, f)
		case ok:
			kept[better].Folded = append(kept[better].Folded, f.Ref)
		}
	}
	return kept, nil
}

// rerank puts the best candidates in the model's order, and returns how many;
// none, with a warning, when the model cannot be asked now. The text is what is
// looked for, without marks and what must not be there.
func (s *Searcher) rerank(ctx context.Context, c store.Collection, by Rerank, text string, found []ranking.Candidate, a *Answer) ([]ranking.Candidate, int, error) {
	n := min(by.TopN, len(found))
	best, others := slices.Clone(found[:n]), found[n:]
	passages, err := s.store.Passages(ctx, c, references(best))
	if err != nil {
		return nil, 0, err
	}
	texts := make([]string, n)
	for i, b := range best {
		p := passages[b.Ref]
		texts[i] = follow.Indexed(p.Title, p.Chunk.Text)
	}
	scores, err := s.reranker.Rerank(ctx, by.Model, text, texts)
	if err != nil {
		return found, 0, s.notReranked(ctx, err, a)
	}
	for i := range best {
		best[i].Reranked = &ranking.Reranked{Before: i + 1, Score: scores.Values[i]}
	}
	slices.SortStableFunc(best, func(x, y ranking.Candidate) int {
		return cmp.Compare(y.Reranked.Score, x.Reranked.Score)
	})
	for i := range best {
		best[i].Reranked.Rank = i + 1
	}
	a.RerankedBy = scores.By
	return append(best, others...), n, nil
}

// notReranked returns the error of a caller who named what is no reranking
// model, or who is gone, and otherwise warns.
func (s *Searcher) notReranked(ctx context.Context, err error, a *Answer) error {
	e := apierr.From(err)
	switch {
	case ctx.Err() != nil:
		return err
	case e.Reason == apierr.ModelNotFound || e.Reason == apierr.NotFound || e.Reason == apierr.InvalidArgument && e.Field == "model":
		return apierr.Wrap(apierr.InvalidArgument, err, "%s: %s", fieldRerank, e.Message).WithField(fieldRerank)
	}
	a.Warnings = append(a.Warnings, "not reranked: "+e.Message)
	return nil
}

const fieldRerank = "rerank.model"

// diversify puts the candidates in an order in which each differs from those
// before it.
func (s *Searcher) diversify(ctx context.Context, c store.Collection, found []ranking.Candidate, diversity float64, a *Answer) error {
	refs := make([]store.Ref, len(found))
	for i, f := range found {
		refs[i] = f.Ref
	}
	known, err := s.store.Vectors(ctx, c, refs)
	if err != nil {
		return err
	}
	scores, vectors, some := make([]float64, len(found)), make([][]float32, len(found)), false
	for i, f := range found {
		scores[i], vectors[i] = f.Score, known[f.Ref]
		if f.Reranked != nil {
			scores[i] = f.Reranked.Score
		}
		some = some || len(vectors[i]) > 0
	}
	if !some {
		a.Warnings = append(a.Warnings, "not diversified: the collection has no vectors")
		return nil
	}
	before := slices.Clone(found)
	for i, choice := range mmr.Order(scores, vectors, diversity) {
		found[i] = before[choice.Index]
		found[i].Diversified = &ranking.Diversified{
			Before: choice.Index + 1, Relevance: choice.Relevance, Similarity: choice.Similarity, Score: choice.Score,
		}
	}
	return nil
}
