package server

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
)

// NameTenants is the name of the interceptor that hides models of other tenants.
const NameTenants = "tenants"

// Tenants is the step of the chain that answers a request about a model of
// another tenant as one about a model that is not there. It knows the model by
// the request's field of that name, whichever method it is: lists of models have
// none, and leave out what the caller does not see.
func (s *Server) Tenants() grpcserver.Interceptor {
	return grpcserver.Interceptor{
		Name: NameTenants,
		Unary: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			if r, ok := req.(interface{ GetModel() string }); ok {
				if err := s.checkSeen(ctx, r.GetModel()); err != nil {
					return nil, err
				}
			}
			return handler(ctx, req)
		},
	}
}

// checkSeen refuses a model that the caller does not see. One that is not there is
// refused as well: of one that is gone there is a history, whose it was is gone with
// it, and methods that answer for what is not there would tell it from what is
// hidden. Only of names that the caller's tenant alone may give the method decides.
func (s *Server) checkSeen(ctx context.Context, model string) error {
	c, known := identity.FromContext(ctx)
	if !known || s.seesAll(c) {
		return nil
	}
	if model == "" {
		return apierr.Invalid("model", "must be named: only callers of the platform's tenant ask of all models")
	}
	name, _, _ := strings.Cut(model, "@")
	tenant, found, err := s.store.TenantOf(ctx, name)
	switch {
	case err != nil:
		return err
	case found && (tenant == "" || tenant == c.Tenant), !found && strings.HasPrefix(name, c.Tenant+"."):
		return nil
	}
	return apierr.New(apierr.ModelNotFound, "the model %q is not in the registry", name).WithField("model").WithMetadata("model", name)
}

// seesAll reports whether the caller is the platform's, who keep everybody's
// models.
func (s *Server) seesAll(c identity.Caller) bool { return c.Tenant == s.opts.PlatformTenant }

// tenantOfNew decides whose a new model is. The names of models are one space, in
// which a tenant would learn of others' models by what is taken: so what a tenant
// makes by itself begins with the tenant's name.
func (s *Server) tenantOfNew(ctx context.Context, name, asked string) (string, error) {
	c, known := identity.FromContext(ctx)
	switch {
	case !known || s.seesAll(c):
		return asked, nil
	case asked != "" && asked != c.Tenant:
		return "", apierr.New(apierr.PermissionDenied, "only callers of the platform's tenant may make a model for another one").WithField("tenant")
	case !strings.HasPrefix(name, c.Tenant+"."):
		return "", apierr.Invalid("name", "the models of a tenant have names that begin with %q", c.Tenant+".")
	}
	return c.Tenant, nil
}
