package query

import (
	"context"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/outage"
	"github.com/poterne/poterne/services/search/internal/spelling"
	"github.com/poterne/poterne/services/search/internal/store"
	"github.com/poterne/poterne/services/search/internal/syntax"
)

// suggestion returns the query with its unknown words corrected; "" when there
// is nothing to correct.
func (s *Searcher) suggestion(ctx context.Context, c store.Collection, req Request, said syntax.Query) (string, error) {
	ic, err := s.indexes.Collection(ctx, c)
	if err != nil {
		return "", err
	}
	v := vocabulary{store: s.store, index: ic, collection: c, principals: req.Principals}
	if c.Expires {
		v.live = filter.Live(nil, s.clock.Now())
	}
	return spelling.Correct(ctx, v, req.Query, func(start, end int) bool {
		for _, e := range said.Excluded {
			if start < e.End && end > e.Start {
				return true
			}
		}
		return false
	})
}

// vocabulary is of the passages that the principals may read and that have not
// ended, and no others.
type vocabulary struct {
	store      *store.Store
	index      index.Collection
	collection store.Collection
	principals []string
	live       filter.Node
}

func (v vocabulary) Near(ctx context.Context, questions []index.Near) ([][]index.Neighbour, error) {
	found, err := v.index.Near(ctx, v.principals, v.live, questions)
	if err != nil {
		return nil, outage.OfIndex(err)
	}
	return found, nil
}

// textsOfTerm is how many passages show how a term is written.
const textsOfTerm = 5

func (v vocabulary) Texts(ctx context.Context, term string) ([]string, error) {
	legs, err := v.index.Search(ctx, index.Query{
		Terms: []analysis.Term{{Variants: []string{term}, Count: 1}}, Principals: v.principals, Filter: v.live, Limit: textsOfTerm,
	})
	if err != nil {
		return nil, outage.OfIndex(err)
	}
	refs := make([]store.Ref, len(legs.Lexical))
	for i, h := range legs.Lexical {
		refs[i] = store.Ref{No: h.No, Number: h.Chunk}
	}
	passages, err := v.store.Passages(ctx, v.collection, refs)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range refs { // what was replaced meanwhile is missing
		if p, ok := passages[r]; ok {
			out = append(out, follow.Indexed(p.Title, p.Chunk.Text))
		}
	}
	return out, nil
}
