package middleware

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
)

// Endpoint is a path over HTTP that is no RPC, and that takes credentials in a way
// of its own: where tokens are asked for.
type Endpoint struct {
	// Name is what its requests are called in the audit trail.
	Name string
	// Resource is what they are about.
	Resource string
	// Authenticate returns who asks; what is refused is a *authn.RefusedError, which
	// costs the address as everywhere.
	Authenticate func(ctx context.Context) (authn.Principal, error)
	// Serve answers for who was let in. It may refuse in the same way.
	Serve func(ctx context.Context, p authn.Principal) error
}

// Serve has a request of the endpoint pass audit, the address limit and the key's
// limit. It returns what was refused, as it is: the endpoint's clients have an
// error of their own form. setHeader adds to the header of the response.
func (d *Door) Serve(ctx context.Context, e Endpoint, setHeader func(metadata.MD)) error {
	var cause error
	chain := grpcserver.Chain{d.steps.audit(), d.steps.addressLimit()} //nolint:contextcheck // each call has its own
	v := &visit{Visitor{Method: e.Name, SetHeader: setHeader}}
	_, err := chain.Unary()(grpc.NewContextWithServerTransportStream(ctx, v), nil, &grpc.UnaryServerInfo{FullMethod: e.Name},
		func(ctx context.Context, _ any) (any, error) {
			cause = d.steps.endpoint(ctx, e, headers{visit: setHeader})
			if r, ok := errors.AsType[*authn.RefusedError](cause); ok {
				return nil, authn.Error(r)
			}
			return nil, cause
		})
	if cause != nil {
		return cause
	}
	return err
}

// Look has a request for what everybody may read pass the address limit. Like all
// that needs no caller it leaves no record.
func (d *Door) Look(ctx context.Context) error {
	return d.steps.checkAddress(ctx)
}

func (s *steps) endpoint(ctx context.Context, e Endpoint, header headers) error {
	entry := audit.From(ctx)
	entry.SetResource(e.Resource)
	p, err := e.Authenticate(ctx)
	if err == nil {
		err = s.withinNetwork(ctx, &p)
	}
	if err == nil {
		entry.SetCaller(p.Caller.Tenant, p.Caller.Subject)
		entry.SetKeyID(p.Caller.KeyID)
		ctx = withPrincipal(ctx, &p)
		var pass *limitrule.Pass
		if pass, err = s.admit(ctx, e.Name, limit.Write, nil, false, header); err == nil {
			defer pass.Leave(ctx)
			err = e.Serve(ctx, p)
		}
	}
	if r, ok := errors.AsType[*authn.RefusedError](err); ok {
		s.note(ctx, r)
		if err := s.charge(ctx, r); err != nil {
			return err
		}
	} else if err != nil && apierr.ReasonOf(err) == apierr.Unavailable {
		s.Metrics.AuthFailure(ctx, string(authn.Unavailable))
	}
	return err
}
