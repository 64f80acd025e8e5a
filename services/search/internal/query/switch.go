package query

import (
	"context"

	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/outage"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Search answers the request. A hybrid search whose query cannot be embedded is
// answered by words alone, with a warning; a search by vector fails then. When
// another embedding generation begins to serve meanwhile, and this one cannot
// answer any more, the search is made again by that one, from the beginning.
func (s *Searcher) Search(ctx context.Context, c store.Collection, req Request) (Answer, error) {
	for attempt := 1; ; attempt++ {
		a, err := s.search(ctx, c, req)
		if err == nil || ctx.Err() != nil {
			return a, err
		}
		fresh, failed := s.store.Collection(ctx, c.Tenant, c.ID)
		superseded := follow.Superseded(err)
		switch {
		case failed != nil || fresh.UID != c.UID || attempt == searches,
			!superseded && fresh.EmbeddingGeneration == c.EmbeddingGeneration:
			if superseded {
				err = outage.OfIndex(err)
			}
			return a, err
		}
		c = fresh
	}
}
