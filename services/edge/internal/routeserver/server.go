// Package routeserver is the edge's RouteService. Every method's permission was
// checked before it is called. Start reading at Server.
package routeserver

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/route"
)

const (
	defaultPageSize = 50
	// storeRetry is when to try again after the store did not answer.
	storeRetry = time.Second
)

// Deps is what a Server works with; all of it is needed.
type Deps struct {
	Store    route.Store
	Follower *route.Follower
	Router   *route.Router
	// Task is what a model is for, and whether it is known; true where nobody can tell.
	Task func(model string) (task commonv1.Task, known bool)
	// Digest is that of the one version that a model leads to; empty where it may lead
	// to several, and where nobody can tell.
	Digest func(model string) string
	Clock  clock.Clock
	Log    *slog.Logger
}

// Server is the RouteService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedRouteServiceServer
	Deps
}

// New returns a server.
func New(d Deps) *Server { return &Server{Deps: d} }

// ListRoutes implements edgev1.RouteServiceServer. It answers with what this edge
// applies.
func (s *Server) ListRoutes(_ context.Context, req *edgev1.ListRoutesRequest) (*edgev1.ListRoutesResponse, error) {
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	out := new(edgev1.ListRoutesResponse)
	for _, r := range s.Follower.List() {
		switch {
		case r.Name <= req.GetPageToken():
		case len(out.GetRoutes()) == size:
			out.NextPageToken = out.GetRoutes()[size-1].GetName()
			return out, nil
		default:
			out.Routes = append(out.Routes, message(&r))
		}
	}
	return out, nil
}

// GetRoute implements edgev1.RouteServiceServer.
func (s *Server) GetRoute(_ context.Context, req *edgev1.GetRouteRequest) (*edgev1.GetRouteResponse, error) {
	for _, r := range s.Follower.List() {
		if r.Name == req.GetName() {
			return &edgev1.GetRouteResponse{Route: message(&r)}, nil
		}
	}
	return nil, storeError(route.ErrNotFound)
}

// SetRoute implements edgev1.RouteServiceServer.
func (s *Server) SetRoute(ctx context.Context, req *edgev1.SetRouteRequest) (*edgev1.SetRouteResponse, error) {
	c, ok := identity.FromContext(ctx)
	if !ok {
		return nil, apierr.New(apierr.Internal, "the request was not authenticated")
	}
	was, err := readETag(req.GetEtag())
	if err != nil {
		return nil, err
	}
	r := routeOf(req.GetName(), req.GetRoute())
	audit.From(ctx).SetResource("route/" + r.Name)
	if problems := r.Check(); len(problems) > 0 {
		return nil, refused(problems)
	}
	now := s.Clock.Now().UTC().Truncate(time.Microsecond)
	kept := route.Stored{Route: r, Author: c.Tenant + "/" + c.Subject, CreateTime: now, UpdateTime: now}
	if !req.GetValidateOnly() {
		if kept, err = s.Store.Put(ctx, kept, was); err != nil {
			return nil, storeError(err)
		}
		s.changed(ctx)
	}
	return &edgev1.SetRouteResponse{Route: message(&kept), Warnings: s.warnings(&r)}, nil
}

// DeleteRoute implements edgev1.RouteServiceServer.
func (s *Server) DeleteRoute(ctx context.Context, req *edgev1.DeleteRouteRequest) (*edgev1.DeleteRouteResponse, error) {
	was, err := readETag(req.GetEtag())
	if err != nil {
		return nil, err
	}
	audit.From(ctx).SetResource("route/" + req.GetName())
	err = s.Store.Delete(ctx, req.GetName(), was)
	if errors.Is(err, route.ErrNotFound) && s.configured(req.GetName()) {
		return nil, apierr.New(apierr.FailedPrecondition, "the route is of the configuration: set one of its name, which may be disabled, to hide it").WithField("name")
	}
	if err != nil {
		return nil, storeError(err)
	}
	s.changed(ctx)
	return &edgev1.DeleteRouteResponse{}, nil
}

func (s *Server) configured(name string) bool {
	return slices.ContainsFunc(s.Follower.List(), func(r route.Stored) bool { return r.Name == name && r.Version == 0 })
}

// TestRoutes implements edgev1.RouteServiceServer.
func (s *Server) TestRoutes(ctx context.Context, req *edgev1.TestRoutesRequest) (*edgev1.TestRoutesResponse, error) {
	f := route.Facts{
		Operation: route.Chat, Path: req.GetPath(), Method: req.GetMethod(), Model: req.GetModel(),
		Tenant: req.GetTenant(), Subject: req.GetSubject(), KeyID: req.GetKeyId(),
		Header: func(name string) []string {
			var values []string
			for given, v := range req.GetHeaders() {
				if strings.EqualFold(given, name) {
					values = append(values, v)
				}
			}
			return values
		},
	}
	if o := operations()[req.GetOperation()]; o != "" {
		f.Operation = o
	}
	if f.Method == "" {
		f.Method = method(f.Operation)
	}
	if c, ok := identity.FromContext(ctx); ok && f.Tenant == "" {
		f.Tenant = c.Tenant
	}
	out := new(edgev1.TestRoutesResponse)
	for _, v := range s.Router.Test(&f) {
		out.Verdicts = append(out.Verdicts, &edgev1.RouteVerdict{
			Name: v.Route.Name, Matches: v.Misses == "", Misses: v.Misses, Warnings: s.warnings(&v.Route),
		})
		if v.Misses == "" && out.GetRoute() == nil {
			out.Route = s.stored(&v.Route)
			out.Models = v.Route.Models(f.Operation, f.Model)
		}
	}
	return out, nil
}

// stored is a route in force as it is kept.
func (s *Server) stored(r *route.Route) *edgev1.Route {
	for _, kept := range s.Follower.List() {
		if kept.Name == r.Name {
			return message(&kept)
		}
	}
	return message(&route.Stored{Route: *r})
}

func method(o route.Operation) string {
	switch o {
	case route.Chat:
		return edgev1.OpenAIService_CreateChatCompletion_FullMethodName
	case route.Completion:
		return edgev1.OpenAIService_CreateCompletion_FullMethodName
	case route.Embed:
		return edgev1.OpenAIService_CreateEmbedding_FullMethodName
	case route.Rerank:
		return edgev1.OpenAIService_Rerank_FullMethodName
	case route.Search:
		return searchv1.SearchService_Search_FullMethodName
	}
	return ""
}

// changed applies what this edge has just changed; the others do so with their next
// look.
func (s *Server) changed(ctx context.Context) {
	if err := s.Follower.Refresh(context.WithoutCancel(ctx)); err != nil {
		s.Log.WarnContext(ctx, "a route that was changed is applied with the next look", slog.Any("error", err))
	}
}

func storeError(err error) error {
	switch {
	case errors.Is(err, route.ErrNotFound):
		return apierr.New(apierr.NotFound, "there is no such route").WithField("name")
	case errors.Is(err, route.ErrChanged):
		return apierr.New(apierr.Conflict, "the route was changed meanwhile: look at it, and use its etag").WithField("etag")
	case errors.Is(err, route.ErrFull):
		return apierr.New(apierr.FailedPrecondition, "there are as many routes as are kept (%d)", route.MaxRoutes)
	default:
		return apierr.Wrap(apierr.Unavailable, err, "the store of routes does not answer").WithRetryAfter(storeRetry)
	}
}

// readETag returns the version that a route must have.
func readETag(text string) (int64, error) {
	if text == "" {
		return route.AnyVersion, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, apierr.Invalid("etag", "etag is not one of a route")
	}
	return n, nil
}

func refused(problems []route.Problem) error {
	field := func(p route.Problem) string {
		switch p.Field {
		case "name":
			return p.Field
		case "hedge.delay":
			return "route.hedge_delay"
		}
		return "route." + p.Field
	}
	e := apierr.Invalid(field(problems[0]), "the route's %s %s", problems[0].Field, problems[0].Text)
	for _, p := range problems {
		e = e.WithViolations(apierr.Violation{Field: field(p), Description: p.Text})
	}
	return e
}
