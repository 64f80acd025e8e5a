package query

import (
	"context"
	"slices"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/ranking"
	"github.com/poterne/poterne/services/search/internal/store"
)

// full reports whether a leg gave as many hits as it was asked for, so that there
// may be more.
func full(legs index.Legs, q index.Query) bool {
	return q.Limit < ranking.Window && (len(legs.Lexical) >= q.Limit || len(legs.Vector) >= q.Limit)
}

// firstToken returns the token of what the first page does not show.
func firstToken(req Request, a Answer, ranked []ranking.Candidate, more bool) string {
	page := ranked[:min(len(ranked), req.TopK)]
	r := ranking.Ranking{
		Mode: string(a.Mode), Fusion: string(a.Fusion), Legs: a.Legs, Weights: make([]float64, len(a.Legs)),
		Generation: a.Generation, RerankedBy: a.RerankedBy, Rest: ranked[len(page):], More: more,
	}
	if len(ranked) > 0 {
		for i, p := range ranked[0].Parts {
			r.Weights[i] = p.Weight
		}
	}
	for _, c := range page {
		r.Seen = append(r.Seen, ranking.Shown{Ref: c.Ref, ID: ranking.NumberOf(c.ID)})
	}
	return token(req, r)
}

// token returns the token of a ranking that goes on, and "" for one that does
// not.
func token(req Request, r ranking.Ranking) string {
	if len(r.Rest) == 0 && !r.More {
		return ""
	}
	if !r.More {
		r.Seen = nil
	}
	if !req.Explain {
		for i := range r.Rest {
			r.Rest[i].Parts = nil
		}
	}
	return ranking.Encode(req.Binding, r)
}

// nextPage shows what a token says. What was found is not looked for again: what
// was deleted or replaced meanwhile, and what the caller may not read, is left
// out.
func (s *Searcher) nextPage(ctx context.Context, c store.Collection, req Request, what said) (Answer, error) {
	r, err := ranking.Decode(req.Binding, req.PageToken)
	if err != nil || !known(r) {
		return Answer{}, apierr.Invalid("page_token", "page_token is not one that this search gave: everything but top_k must be as it was")
	}
	a := Answer{
		Mode: Mode(r.Mode), Fusion: fusion.Method(r.Fusion), Legs: r.Legs, Generation: r.Generation, RerankedBy: r.RerankedBy,
		Language: languageOf(req, what),
	}
	if r.More && len(r.Rest) < req.TopK {
		if r, err = s.deepen(ctx, c, req, what, r, &a); err != nil {
			return Answer{}, err
		}
	}
	for len(a.Hits) < req.TopK && len(r.Rest) > 0 {
		n := min(req.TopK-len(a.Hits), len(r.Rest))
		page := r.Rest[:n]
		r.Rest = r.Rest[n:]
		passages, err := s.readable(ctx, c, req.Principals, references(page))
		if err != nil {
			return Answer{}, err
		}
		if err := keep(req.Required, passages); err != nil {
			return Answer{}, err
		}
		if !allThere(page, passages) {
			if err := s.stillServes(ctx, c); err != nil {
				return Answer{}, err
			}
		}
		a.Hits = append(a.Hits, hits(page, passages, what.terms)...)
		for _, f := range page {
			if p, ok := passages[f.Ref]; ok {
				r.Seen = append(r.Seen, ranking.Shown{Ref: f.Ref, ID: ranking.NumberOf(chunkID(p))})
			}
		}
	}
	a.NextPageToken = token(req, r)
	return a, nil
}

// known reports whether a token speaks of modes and legs that there are.
func known(r ranking.Ranking) bool {
	legs := map[Mode]int{Hybrid: 2, Lexical: 1, Vector: 1}
	return legs[Mode(r.Mode)] > 0 && legs[Mode(r.Mode)] == len(r.Legs)
}

// readable reads the passages that are there and that one of the principals may
// read, whatever was asked for.
func (s *Searcher) readable(ctx context.Context, c store.Collection, principals []string, refs []store.Ref) (map[store.Ref]store.Passage, error) {
	versions := make([]int64, 0, len(refs))
	seen := make(map[int64]bool, len(refs))
	for _, r := range refs {
		if !seen[r.No] {
			seen[r.No] = true
			versions = append(versions, r.No)
		}
	}
	may, err := s.store.Readable(ctx, c, principals, versions)
	if err != nil {
		return nil, err
	}
	allowed := make([]store.Ref, 0, len(refs))
	for _, r := range refs {
		if may[r.No] {
			allowed = append(allowed, r)
		}
	}
	return s.store.Passages(ctx, c, allowed)
}

// deepen looks for what the window still has room for, now that what was found
// at first is used up. What the pages had or will have is left out; nothing of
// it is reranked or diversified. It notes in shown how long the index took.
func (s *Searcher) deepen(ctx context.Context, c store.Collection, req Request, what said, r ranking.Ranking, shown *Answer) (ranking.Ranking, error) {
	req.Mode = Mode(r.Mode)
	q, a, err := s.question(ctx, c, req, what, ranking.Window)
	if err != nil {
		return r, err
	}
	if a.Mode != req.Mode {
		return r, apierr.New(apierr.Unavailable, "the next page cannot be found now: %s", a.Warnings[0])
	}
	a.Fusion = fusion.Method(r.Fusion)
	ordering(&q, a.Mode)
	ic, err := s.indexes.Collection(ctx, c)
	if err != nil {
		return r, err
	}
	legs, err := s.look(ctx, c, ic, q)
	if err != nil {
		return r, err
	}
	shown.LexicalTook, shown.VectorTook = legs.LexicalTook, legs.VectorTook
	results, _, refs := fuse(legs, a, weightsOf(c, req))
	found := without(candidates(results, refs), r)
	if len(q.Order) > 0 {
		asFound(found, legs.Lexical)
		found = before(found, r.Generation)
	}
	if req.Deduplicate {
		if found, err = s.deduplicateAfter(ctx, c, req.Principals, r, found); err != nil {
			return r, err
		}
	}
	room := max(0, ranking.Window-len(r.Seen)-len(r.Rest))
	r.Rest = append(r.Rest, found[:min(len(found), room)]...)
	r.More = false
	return r, nil
}

// without returns the candidates that were not shown, in this version or
// another, and will not be.
func without(found []ranking.Candidate, r ranking.Ranking) []ranking.Candidate {
	seen, listed := make(map[uint64]bool, len(r.Seen)), make(map[store.Ref]bool, len(r.Rest))
	for _, h := range r.Seen {
		seen[h.ID] = true
	}
	for _, f := range r.Rest {
		listed[f.Ref] = true
	}
	out := make([]ranking.Candidate, 0, len(found))
	for _, f := range found {
		if !listed[f.Ref] && !seen[ranking.NumberOf(f.ID)] {
			out = append(out, f)
		}
	}
	return out
}

// before returns the candidates that were written by that generation: anything
// later might have its place before what was shown.
func before(found []ranking.Candidate, generation int64) []ranking.Candidate {
	return slices.DeleteFunc(found, func(f ranking.Candidate) bool { return f.Ref.No > generation })
}

// deduplicateAfter leaves out the candidates that repeat what was shown or will
// be, as far as the caller may still read it.
func (s *Searcher) deduplicateAfter(
	ctx context.Context, c store.Collection, principals []string, r ranking.Ranking, found []ranking.Candidate,
) ([]ranking.Candidate, error) {
	var shown []store.Ref
	for _, h := range r.Seen {
		shown = append(shown, h.Ref)
	}
	for _, f := range r.Rest {
		shown = append(shown, f.Ref)
	}
	may, err := s.readable(ctx, c, principals, shown)
	if err != nil {
		return nil, err
	}
	kept := slices.DeleteFunc(shown, func(ref store.Ref) bool {
		_, ok := may[ref]
		return !ok
	})
	return s.deduplicate(ctx, c, kept, found)
}
