package middleware

import (
	"context"
	"strconv"

	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/explain"
)

// errand returns for whom a request of the gateway's own is made. Its credentials were
// looked at by who makes it; where they hold from is looked at here, as everybody's.
func (s *steps) errand(ctx context.Context, e *authn.Errand) (*authn.Principal, error) {
	audit.From(ctx).Decide(explain.Decision{
		Step: explain.Batch, Outcome: "asked", Detail: "a line of a batch, on behalf of its maker",
		Attributes: []explain.Attribute{{Name: "batch", Value: e.Batch}, {Name: "line", Value: strconv.FormatInt(e.Line, 10)}},
	})
	if err := s.withinNetwork(ctx, &e.Principal); err != nil {
		return nil, err
	}
	return &e.Principal, nil
}
