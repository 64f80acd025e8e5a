package security

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/sqldb"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/middleware"
	"github.com/poterne/poterne/services/edge/internal/obligation"
	"github.com/poterne/poterne/services/edge/internal/route"
	"github.com/poterne/poterne/services/edge/internal/routeserver"
)

// openRoutes puts the routes into force. It is here since they share the store, and
// since no route leads to a model that the policy does not give.
func (s *Security) openRoutes(ctx context.Context, cfg Config, d Deps, db *sqldb.DB, authorizer *authz.Authorizer) error {
	m, err := metrics.NewRoutes(d.Telemetry.Meter(metrics.Scope))
	if err != nil {
		return err
	}
	routes := cfg.Routes
	if err := routes.Load(); err != nil {
		return err
	}
	s.Routes = route.New(route.Options{Config: routes, Clock: d.Clock, Observer: m, Log: d.Telemetry.Logger})
	store := route.NewSQLStore(db)
	follower, err := route.NewFollower(ctx, store, s.Routes)
	if err != nil {
		return err
	}
	s.routes = follower.Component()
	s.RouteAdmin = routeserver.New(routeserver.Deps{
		Store: store, Follower: follower, Router: s.Routes, Clock: d.Clock, Log: d.Telemetry.Logger,
		Task: s.task(cfg.Authz.PlatformTenant), Digest: s.digest(cfg.Authz.PlatformTenant),
	})
	s.Allowance = &allowance{authorizer: authorizer, methods: authz.Table()}
	return nil
}

// task returns what tells what a model is for, and whether it is known; true where nobody
// can tell.
func (s *Security) task(platform string) func(model string) (commonv1.Task, bool) {
	return func(model string) (commonv1.Task, bool) {
		name, reference := route.Reference(model)
		m, err := s.models.Find(name, reference, platform)
		if err != nil || len(m.Versions) == 0 {
			return commonv1.Task_TASK_UNSPECIFIED, !errors.Is(err, authz.ErrNoModel)
		}
		return m.Versions[0].Task, true
	}
}

// digest returns what tells the digest of the one version that a model leads to; empty
// where it may lead to several, and where nobody can tell.
func (s *Security) digest(platform string) func(model string) string {
	return func(model string) string {
		name, reference := route.Reference(model)
		m, err := s.models.Find(name, reference, platform)
		if err != nil {
			return ""
		}
		return m.OnlyDigest(reference)
	}
}

// knows reports whether a tenant knows a model; true where nobody can tell.
func (s *Security) knows(tenant, model string) bool {
	_, known := s.task(tenant)(model)
	return known
}

// allowance says whether a request may be answered by another model than it names.
type allowance struct {
	authorizer *authz.Authorizer
	methods    map[string]authz.Method
}

// Allow judges the request of ctx, of the method, as if it named the model: by the
// policy, and by what the credentials that were shown are for. It returns what must then
// be fulfilled, and what may be reached.
func (a *allowance) Allow(ctx context.Context, method, model string, req any) (obligation.Set, obligation.Limits, error) {
	caller, ok := identity.FromContext(ctx)
	principal, known := authn.FromContext(ctx)
	if !ok || !known {
		return obligation.Set{}, obligation.Limits{}, apierr.New(apierr.Internal, "the request was not authenticated")
	}
	m := a.methods[method]
	v, err := a.authorizer.JudgeModel(ctx, m, caller, req, model)
	if err != nil {
		return obligation.Set{}, obligation.Limits{}, err
	}
	if _, err := authz.CheckGrant(m, principal.Grant, v.Resource, req); err != nil {
		return obligation.Set{}, obligation.Limits{}, err
	}
	if _, err := authz.CheckForced(principal.Grant, v); err != nil {
		return obligation.Set{}, obligation.Limits{}, err
	}
	limits := obligation.Limits{Classes: v.Classes}
	if v.Models != nil {
		if limits.Verdicts, err = proto.Marshal(middleware.Verdicts(v.Models)); err != nil {
			return obligation.Set{}, limits, apierr.Wrap(apierr.Internal, err, "what the policy says of the model's versions cannot be passed on")
		}
	}
	return v.Obligations, limits, nil
}
