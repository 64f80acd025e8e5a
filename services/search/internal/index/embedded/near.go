package embedded

import (
	"context"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
)

// Near implements index.Collection. Terms are found whoever may read them, and
// told only with the passages that the caller may read.
func (c *collection) Near(ctx context.Context, principals []string, f filter.Node, questions []index.Near) ([][]index.Neighbour, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if err := c.searchable(ctx); err != nil {
		return nil, err
	}
	out := make([][]index.Neighbour, len(questions))
	slots := c.memory.allowed(principals, f)
	if c.view == nil || slots.IsEmpty() {
		return out, nil
	}
	readable := c.memory.rowsOf(slots)
	for i, q := range questions {
		terms, err := c.view.Near(q.Term, min(q.Edits, index.MaxEdits))
		if err != nil {
			return nil, err
		}
		for _, term := range terms {
			having, err := c.view.Having(ctx, term, c.memory.rows())
			if err != nil {
				return nil, err
			}
			if n := having.AndCardinality(readable); n > 0 {
				out[i] = append(out[i], index.Neighbour{Term: term, Passages: int(n)})
			}
		}
	}
	return out, nil
}
