package middleware

import (
	"context"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// passage is the context of one request on its way through the steps, with all that
// they find out about it: a lookup of any of that is one, and so is what it takes of
// memory. A step only adds what was not there, before it lets the next one begin.
type passage struct {
	context.Context                  //nolint:containedctx // it is a context
	admission       *admission       // of a request that came by the door; nil for others
	entry           *audit.Entry     // its record
	principal       *authn.Principal // who asks; nil before that is known
	place           obligation.Place // what the policy asks of it, once it is known who asks
}

// Value answers for the packages whose values the passage has.
func (p *passage) Value(key any) any {
	switch key.(type) {
	case audit.Key:
		return p.entry
	case authn.Key:
		if p.principal != nil {
			return p.principal
		}
	case identity.Key:
		if p.principal != nil {
			return &p.principal.Caller
		}
	case obligation.Key:
		if p.principal != nil {
			return &p.place
		}
	}
	return p.Context.Value(key)
}

// withPrincipal returns ctx carrying who asks, with a place for what the policy
// asks of the request.
func withPrincipal(ctx context.Context, who *authn.Principal) context.Context {
	if p, ok := ctx.(*passage); ok && p.principal == nil {
		p.principal = who
		return p
	}
	return &passage{Context: ctx, admission: admitted(ctx), entry: audit.From(ctx), principal: who}
}
