package middleware

import (
	"context"

	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/explain"
)

// withinNetwork refuses credentials that do not hold for the address that the
// request comes from.
func (s *steps) withinNetwork(ctx context.Context, p *authn.Principal) error {
	if len(p.Grant.Networks) == 0 || p.Grant.Address(s.Addresses.FromContext(ctx)) {
		return nil
	}
	return &authn.RefusedError{Cause: authn.Network, KeyID: p.Caller.KeyID}
}

// withinGrant refuses what the credentials that were shown are not for. It comes
// before the policy, which says what their holder may do, and may force a model
// that they are not for.
func (s *steps) withinGrant(ctx context.Context, m authz.Method, v authz.Verdict, req any) error {
	p, _ := authn.FromContext(ctx)
	list, err := authz.CheckGrant(m, p.Grant, v.Resource, req)
	if err == nil {
		list, err = authz.CheckForced(p.Grant, v)
	}
	if err != nil {
		s.Metrics.GrantRefused(ctx, list)
		entry := audit.From(ctx)
		entry.AddFinding("grant/" + list + " block")
		explainRefusal(ctx, explain.Policy, "the credentials are not for this: "+list)
		entry.SetRefused() // some are answered as what is not there
	}
	return err
}

// narrowing has step leave in the answer what the credentials are for.
func narrowing(step grpcserver.Interceptor) grpcserver.Interceptor {
	step.Leave = func(ctx context.Context, req, resp any, err error) (any, error) {
		if err != nil {
			return resp, err
		}
		if p, ok := authn.FromContext(ctx); ok {
			authz.Narrow(p.Grant, req, resp)
		}
		return keepClasses(ctx, req, resp)
	}
	return step
}
