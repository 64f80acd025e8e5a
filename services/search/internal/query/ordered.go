package query

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/order"
	"github.com/poterne/poterne/services/search/internal/ranking"
	"github.com/poterne/poterne/services/search/internal/store"
)

// ordering returns the keys by which the best are still to be ordered here. The
// index gives a lexical search the first in order of everything that it finds;
// other searches find as many as each leg gives, which are ordered once they are
// fused.
func ordering(q *index.Query, mode Mode) []order.Key {
	if mode == Lexical {
		return nil
	}
	keys := q.Order
	q.Order = nil
	return keys
}

// asFound puts the candidates of one leg in the order that the leg has.
func asFound(found []ranking.Candidate, leg []index.Hit) {
	place := make(map[store.Ref]int, len(leg))
	for i, h := range leg {
		place[store.Ref{No: h.No, Number: h.Chunk}] = i
	}
	slices.SortFunc(found, func(a, b ranking.Candidate) int { return cmp.Compare(place[a.Ref], place[b.Ref]) })
}

// order returns the candidates by the keys, ties by chunk id, and whether all of
// them are still there; those that are not are left out.
func (s *Searcher) order(ctx context.Context, c store.Collection, found []ranking.Candidate, keys []order.Key) (_ []ranking.Candidate, whole bool, err error) {
	passages, err := s.store.Passages(ctx, c, references(found))
	if err != nil {
		return nil, false, err
	}
	type placed struct {
		candidate ranking.Candidate
		values    []order.Value
	}
	all := make([]placed, 0, len(found))
	for _, f := range found {
		p, ok := passages[f.Ref]
		if !ok {
			continue
		}
		values, err := valuesOf(f, p, keys)
		if err != nil {
			return nil, false, err
		}
		all = append(all, placed{f, values})
	}
	slices.SortFunc(all, func(a, b placed) int {
		return cmp.Or(
			order.Compare(keys, func(i int) order.Value { return a.values[i] }, func(i int) order.Value { return b.values[i] }),
			strings.Compare(a.candidate.ID, b.candidate.ID))
	})
	out := make([]ranking.Candidate, len(all))
	for i, a := range all {
		out[i] = a.candidate
	}
	return out, len(out) == len(found), nil
}

func valuesOf(c ranking.Candidate, p store.Passage, keys []order.Key) ([]order.Value, error) {
	var metadata map[string]any
	if err := json.Unmarshal(p.Metadata, &metadata); err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", c.ID, err)
	}
	fields, err := filter.Fields(metadata)
	if err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", c.ID, err)
	}
	out := make([]order.Value, len(keys))
	for i, k := range keys {
		switch k.By {
		case order.Title:
			out[i] = order.OfText(p.Title)
		case order.ID:
			out[i] = order.OfText(p.DocumentID)
		case order.CreateTime:
			out[i] = order.OfTime(p.CreateTime.UnixNano())
		case order.UpdateTime:
			out[i] = order.OfTime(p.UpdateTime.UnixNano())
		case order.Score:
			out[i] = order.Of(filter.NumberValue(c.Score))
		case order.Metadata:
			f, _ := filter.Find(fields, k.Path)
			out[i] = order.OfField(f)
		}
	}
	return out, nil
}
