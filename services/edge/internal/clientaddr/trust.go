package clientaddr

import (
	"context"

	"google.golang.org/grpc/peer"

	"github.com/poterne/poterne/services/edge/internal/arrival"
)

// FromProxy reports whether the request of ctx was handed on by a proxy that is
// trusted, so that what it says about the client's connection is believed.
func (r *Resolver) FromProxy(ctx context.Context) bool {
	if a := arrival.From(ctx); a.Request != nil {
		return r.trusts(parse(a.Request.RemoteAddr))
	}
	p, ok := peer.FromContext(ctx)
	return ok && p.Addr != nil && r.trusts(parse(p.Addr.String()))
}
