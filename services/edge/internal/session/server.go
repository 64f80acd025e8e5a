package session

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

const defaultPageSize = 100

// Server is the SessionService. Every method's permission was checked before it is
// called; what depends on whose session it is, is checked here. It is safe for
// concurrent use.
type Server struct {
	edgev1.UnimplementedSessionServiceServer
	sessions *Manager // nil: nobody can log in
	authz    *authz.Authorizer
	current  func(ctx context.Context) string
	log      *slog.Logger
}

// NewServer returns a server; sessions are nil where nobody can log in. current
// returns the id of the session that a request was made with, or "".
func NewServer(sessions *Manager, a *authz.Authorizer, current func(ctx context.Context) string, log *slog.Logger) *Server {
	return &Server{sessions: sessions, authz: a, current: current, log: log}
}

// begin returns who asks; the steps before have put it there.
func (s *Server) begin(ctx context.Context) (identity.Caller, error) {
	c, ok := identity.FromContext(ctx)
	switch {
	case !ok:
		return c, apierr.New(apierr.Internal, "the request was not authenticated")
	case s.sessions == nil:
		return c, apierr.New(apierr.Unimplemented, "nobody can log in to this gateway's pages: its configuration has no login")
	}
	return c, nil
}

// ListOwnSessions lists the caller's own.
func (s *Server) ListOwnSessions(ctx context.Context, req *edgev1.ListOwnSessionsRequest) (*edgev1.ListOwnSessionsResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	found, next, err := s.list(ctx, Filter{Tenant: c.Tenant, Subject: c.Subject}, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &edgev1.ListOwnSessionsResponse{Sessions: found, NextPageToken: next}, nil
}

// EndOwnSession ends one of the caller's own.
func (s *Server) EndOwnSession(ctx context.Context, req *edgev1.EndOwnSessionRequest) (*edgev1.EndOwnSessionResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	return &edgev1.EndOwnSessionResponse{}, s.end(ctx, req.GetId(), func(r Record) bool {
		return r.Tenant == c.Tenant && r.Subject == c.Subject
	})
}

// EndOwnSessions ends all of the caller's own, or all others.
func (s *Server) EndOwnSessions(ctx context.Context, req *edgev1.EndOwnSessionsRequest) (*edgev1.EndOwnSessionsResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	except := ""
	if req.GetKeep() == "current" {
		except = s.current(ctx)
	}
	n, err := s.endAll(ctx, c.Tenant, c.Subject, except)
	if err != nil {
		return nil, err
	}
	return &edgev1.EndOwnSessionsResponse{Ended: n}, nil
}

// ListSessions lists those that the caller may see.
func (s *Server) ListSessions(ctx context.Context, req *edgev1.ListSessionsRequest) (*edgev1.ListSessionsResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	tenant := req.GetTenant()
	// No tenant has this name, so only a rule for any tenant can match.
	if tenant == "" && !s.authz.Allowed(ctx, c, "list", authz.Resource{Type: "session", Tenant: "*"}) {
		tenant = c.Tenant
	}
	found, next, err := s.list(ctx, Filter{Tenant: tenant, Subject: req.GetSubject()}, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &edgev1.ListSessionsResponse{Sessions: found, NextPageToken: next}, nil
}

// EndSession ends a session that the caller may end. Another tenant's is answered
// as one that does not exist.
func (s *Server) EndSession(ctx context.Context, req *edgev1.EndSessionRequest) (*edgev1.EndSessionResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	return &edgev1.EndSessionResponse{}, s.end(ctx, req.GetId(), func(r Record) bool {
		return s.authz.Allowed(ctx, c, "end", authz.Resource{Type: "session", ID: r.ID, Tenant: r.Tenant})
	})
}

// EndSubjectSessions ends all of a subject's.
func (s *Server) EndSubjectSessions(ctx context.Context, req *edgev1.EndSubjectSessionsRequest) (*edgev1.EndSubjectSessionsResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	tenant := req.GetTenant()
	if tenant == "" {
		tenant = c.Tenant
	}
	n, err := s.endAll(ctx, tenant, req.GetSubject(), "")
	if err != nil {
		return nil, err
	}
	return &edgev1.EndSubjectSessionsResponse{Ended: n}, nil
}

func (s *Server) list(ctx context.Context, f Filter, size int32, token string) ([]*edgev1.Session, string, error) {
	f.Limit = defaultPageSize
	if size > 0 {
		f.Limit = int(size)
	}
	after, err := base64.RawURLEncoding.DecodeString(token)
	if f.After = string(after); err != nil || token != "" && !ValidID(f.After) {
		return nil, "", apierr.Invalid("page_token", "page_token is not one that this method gave")
	}
	f.Limit++
	found, err := s.sessions.List(ctx, f)
	if err != nil {
		return nil, "", storeError(err)
	}
	next := ""
	if len(found) == f.Limit {
		found = found[:f.Limit-1]
		next = base64.RawURLEncoding.EncodeToString([]byte(found[len(found)-1].ID))
	}
	current := s.current(ctx)
	out := make([]*edgev1.Session, len(found))
	for i, r := range found {
		out[i] = message(r, current)
	}
	return out, next, nil
}

func (s *Server) end(ctx context.Context, id string, may func(Record) bool) error {
	r, err := s.sessions.Find(ctx, id)
	if err == nil && !may(r) {
		err = ErrNotFound
	}
	if err == nil {
		r, err = s.sessions.End(ctx, id)
	}
	if err != nil {
		return storeError(err)
	}
	audit.From(ctx).SetResource("session/" + r.ID)
	s.log.InfoContext(ctx, "session ended", slog.String(metrics.KeySession, r.ID), slog.String(metrics.KeyTenant, r.Tenant))
	return nil
}

func (s *Server) endAll(ctx context.Context, tenant, subject, except string) (int32, error) {
	n, err := s.sessions.EndAll(ctx, tenant, subject, except)
	if err != nil {
		return 0, storeError(err)
	}
	audit.From(ctx).SetResource("session/of " + tenant + "/" + subject)
	s.log.InfoContext(ctx, "a subject's sessions ended", slog.String(metrics.KeyTenant, tenant), slog.Int(metrics.KeyRecords, n))
	return int32(n), nil
}

func storeError(err error) error {
	if errors.Is(err, ErrNotFound) {
		return apierr.New(apierr.NotFound, "there is no such session")
	}
	return apierr.Wrap(apierr.Unavailable, err, "the store of sessions does not answer").WithRetryAfter(time.Second)
}

func message(r Record, current string) *edgev1.Session {
	return &edgev1.Session{
		Id: r.ID, Tenant: r.Tenant, Subject: r.Subject, Roles: r.Roles, Groups: r.Groups, UserAgent: r.Agent, Address: r.Address,
		CreateTime: timestamppb.New(r.CreateTime), LastUseTime: timestamppb.New(r.LastUseTime), ExpireTime: timestamppb.New(r.ExpireTime),
		Current: r.ID == current,
	}
}
