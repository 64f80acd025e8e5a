// Package limitserver is the edge's LimitService. Every method's permission was
// checked before it is called. Start reading at Server.
package limitserver

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
	"github.com/poterne/poterne/services/edge/internal/outputonly"
)

const (
	defaultPageSize = 50
	// storeRetry is when to try again after the store did not answer.
	storeRetry = time.Second
)

// Deps is what a Server works with; all of it is needed.
type Deps struct {
	Store    limitrule.Store
	Follower *limitrule.Follower
	Engine   *limitrule.Engine
	// Platform is the tenant whose limits are the platform's.
	Platform string
	// PerMinute returns the limit of a tenant's key by its id, and whether the tenant
	// has such a key; without an id, that of credentials that have none of their own.
	PerMinute func(ctx context.Context, tenant, keyID string) (int, bool, error)
	// Keys is where the keys are looked for that limits name.
	Keys Keys
	// Model reports whether a tenant knows a model of this name; true where nobody can
	// tell.
	Model func(tenant, name string) bool
	// AnyModel is Model for some names.
	AnyModel func(tenant string, meant func(name string) bool) bool
	// Classes is the class of every method.
	Classes map[string]limit.Class
	Clock   clock.Clock
	Log     *slog.Logger
}

// Server is the LimitService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedLimitServiceServer
	Deps
}

// New returns a server.
func New(d Deps) *Server { return &Server{Deps: d} }

// whose returns the caller, and the tenant that a request is about.
func whose(ctx context.Context, tenant string) (identity.Caller, string, error) {
	c, ok := identity.FromContext(ctx)
	if !ok {
		return c, "", apierr.New(apierr.Internal, "the request was not authenticated")
	}
	if tenant == "" {
		tenant = c.Tenant
	}
	return c, tenant, nil
}

// owner is how a tenant's limits are kept: the platform's are nobody's.
func (s *Server) owner(tenant string) string {
	if tenant == s.Platform {
		return ""
	}
	return tenant
}

// ListLimits implements edgev1.LimitServiceServer. It answers with what this edge
// applies.
func (s *Server) ListLimits(ctx context.Context, req *edgev1.ListLimitsRequest) (*edgev1.ListLimitsResponse, error) {
	_, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	out := new(edgev1.ListLimitsResponse)
	for _, l := range s.Follower.List(s.owner(tenant)) {
		switch {
		case l.Name <= req.GetPageToken():
		case len(out.GetLimits()) == size:
			out.NextPageToken = out.GetLimits()[size-1].GetName()
			return out, nil
		default:
			out.Limits = append(out.Limits, message(l, tenant))
		}
	}
	return out, nil
}

// GetLimit implements edgev1.LimitServiceServer.
func (s *Server) GetLimit(ctx context.Context, req *edgev1.GetLimitRequest) (*edgev1.GetLimitResponse, error) {
	_, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	for _, l := range s.Follower.List(s.owner(tenant)) {
		if l.Name == req.GetName() {
			return &edgev1.GetLimitResponse{Limit: message(l, tenant)}, nil
		}
	}
	return nil, storeError(limitrule.ErrNotFound)
}

// SetLimit implements edgev1.LimitServiceServer.
func (s *Server) SetLimit(ctx context.Context, req *edgev1.SetLimitRequest) (*edgev1.SetLimitResponse, error) {
	c, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	was, err := readETag(req.GetEtag())
	if err != nil {
		return nil, err
	}
	if err := outputonly.Tenant("limit.tenant", req.GetLimit().GetTenant(), tenant); err != nil {
		return nil, err
	}
	rule := ruleOf(req.GetName(), req.GetLimit())
	audit.From(ctx).SetResource("limit " + tenant + "/" + rule.Name)
	owner := s.owner(tenant)
	if problems := rule.Check(owner != ""); len(problems) > 0 {
		return nil, refused(problems)
	}
	warnings, err := s.warnings(ctx, c.Tenant, tenant, &rule)
	if err != nil {
		return nil, err
	}
	now := s.Clock.Now().UTC().Truncate(time.Microsecond)
	l := limitrule.Stored{
		Owned: limitrule.Owned{Rule: rule, Tenant: owner}, Author: c.Tenant + "/" + c.Subject, CreateTime: now, UpdateTime: now,
	}
	if !req.GetValidateOnly() {
		if l, err = s.Store.Put(ctx, l, was); err != nil {
			return nil, storeError(err)
		}
		s.changed(ctx)
	}
	return &edgev1.SetLimitResponse{Limit: message(l, tenant), Warnings: warnings}, nil
}

// DeleteLimit implements edgev1.LimitServiceServer.
func (s *Server) DeleteLimit(ctx context.Context, req *edgev1.DeleteLimitRequest) (*edgev1.DeleteLimitResponse, error) {
	_, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	was, err := readETag(req.GetEtag())
	if err != nil {
		return nil, err
	}
	audit.From(ctx).SetResource("limit " + tenant + "/" + req.GetName())
	err = s.Store.Delete(ctx, s.owner(tenant), req.GetName(), was)
	if errors.Is(err, limitrule.ErrNotFound) && s.configured(tenant, req.GetName()) {
		return nil, apierr.New(apierr.FailedPrecondition, "the limit is of the configuration: set one of its name, which may be disabled, to hide it").WithField("name")
	}
	if err != nil {
		return nil, storeError(err)
	}
	s.changed(ctx)
	return &edgev1.DeleteLimitResponse{}, nil
}

func (s *Server) configured(tenant, name string) bool {
	return slices.ContainsFunc(s.Follower.List(s.owner(tenant)), func(l limitrule.Stored) bool { return l.Name == name && l.Version == 0 })
}

// changed applies what this edge has just changed; the others do so with their next
// look.
func (s *Server) changed(ctx context.Context) {
	if err := s.Follower.Refresh(context.WithoutCancel(ctx)); err != nil {
		s.Log.WarnContext(ctx, "a limit that was changed is applied with the next look", slog.Any("error", err))
	}
}

func storeError(err error) error {
	switch {
	case errors.Is(err, limitrule.ErrNotFound):
		return apierr.New(apierr.NotFound, "there is no such limit").WithField("name")
	case errors.Is(err, limitrule.ErrChanged):
		return apierr.New(apierr.Conflict, "the limit was changed meanwhile: look at it, and use its etag").WithField("etag")
	case errors.Is(err, limitrule.ErrFull):
		return apierr.New(apierr.FailedPrecondition, "there are as many limits as are kept (%d for a tenant)", limitrule.MaxRules)
	default:
		return apierr.Wrap(apierr.Unavailable, err, "the store of limits does not answer").WithRetryAfter(storeRetry)
	}
}

// readETag returns the version that a limit must have.
func readETag(text string) (int64, error) {
	if text == "" {
		return limitrule.AnyVersion, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, apierr.Invalid("etag", "etag is not one of a limit")
	}
	return n, nil
}

func refused(problems []limitrule.Problem) error {
	field := func(p limitrule.Problem) string {
		if p.Field == "name" {
			return p.Field
		}
		return "limit." + p.Field
	}
	e := apierr.Invalid(field(problems[0]), "the limit's %s %s", problems[0].Field, problems[0].Text)
	for _, p := range problems {
		e = e.WithViolations(apierr.Violation{Field: field(p), Description: p.Text})
	}
	return e
}
