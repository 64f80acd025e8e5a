package security

import (
	"context"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/arrival"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
)

// facts is what policies may ask about the request of ctx.
func facts(ctx context.Context, c clock.Clock, addresses *clientaddr.Resolver) authz.Facts {
	p, _ := authn.FromContext(ctx)
	return authz.Facts{
		Now: c.Now(), Address: addresses.FromContext(ctx), MTLS: arrival.From(ctx).Certificate != nil,
		Bound: p.Bound, IssueTime: p.IssueTime, Claims: p.Claims,
	}
}
