// Package admin is the edge's AdminService and AuditService: keys, the audit trail, and what the
// workers do. Every method's permission was checked before it is called; what
// depends on whose key or record it is, is checked here. Start reading at
// Server.
package admin

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

const defaultPageSize = 100

// Keys is what the server needs of the keys; *apikey.Manager is one.
type Keys interface {
	Create(ctx context.Context, w apikey.Wanted) (apikey.Record, apikey.Key, error)
	Get(ctx context.Context, id string) (apikey.Record, error)
	List(ctx context.Context, f apikey.Filter) ([]apikey.Record, error)
	Revoke(ctx context.Context, id string) (apikey.Record, error)
}

// Records is what the server needs of the audit trail.
type Records interface {
	// List returns a page, newest first, with everything recorded by now.
	List(ctx context.Context, q audit.Query) ([]audit.Record, error)
}

// Server is the AdminService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedAdminServiceServer
	edgev1.UnimplementedAuditServiceServer
	keys      Keys
	records   Records
	authz     *authz.Authorizer
	inference inferencev1.InferenceServiceClient
	variants  Variants
	proof     Proof
	clock     clock.Clock
	log       *slog.Logger
}

// Deps is what a Server works with. All of it is needed but Records and Proof, which are nil
// when the trail cannot be read.
type Deps struct {
	Keys       Keys
	Records    Records
	Authorizer *authz.Authorizer
	Inference  inferencev1.InferenceServiceClient
	Variants   Variants
	// Proof proves the trail; nil when it cannot be read.
	Proof Proof
	Clock clock.Clock
	Log   *slog.Logger
}

// New returns a server.
func New(d Deps) *Server {
	return &Server{
		keys: d.Keys, records: d.Records, authz: d.Authorizer, inference: d.Inference, variants: d.Variants, proof: d.Proof, clock: d.Clock, log: d.Log,
	}
}

// caller returns who asks; the steps before have put it there.
func caller(ctx context.Context) (identity.Caller, error) {
	c, ok := identity.FromContext(ctx)
	if !ok {
		return c, apierr.New(apierr.Internal, "the request was not authenticated")
	}
	return c, nil
}

// CreateApiKey makes a key, in the caller's tenant unless the caller administers
// the platform.
func (s *Server) CreateApiKey(ctx context.Context, req *edgev1.CreateApiKeyRequest) (*edgev1.CreateApiKeyResponse, error) {
	c, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	w := apikey.Wanted{
		Name: req.GetName(), Tenant: req.GetTenant(), Subject: req.GetSubject(), Groups: req.GetGroups(),
		Roles: slices.Compact(slices.Sorted(slices.Values(req.GetRoles()))), RequestsPerMinute: req.GetRequestsPerMinute(),
	}
	if w.Tenant == "" {
		w.Tenant = c.Tenant
	}
	if strings.ContainsFunc(w.Name, unicode.IsControl) {
		return nil, apierr.Invalid("name", "name must not have control characters")
	}
	if w.ExpireTime, err = s.expiry(req); err != nil {
		return nil, err
	}
	known := s.authz.Roles()
	for i, role := range req.GetRoles() {
		if field := fieldIndex("roles", i); !slices.Contains(known, role) {
			return nil, apierr.Invalid(field, "%s: no policy knows the role %q; known are: %s", field, role, strings.Join(known, ", "))
		}
		if !s.authz.MayGrant(ctx, c, role, w.Tenant) {
			return nil, apierr.New(apierr.PermissionDenied, "you may not give the role %q: you have neither it nor one above it", role).
				WithField(fieldIndex("roles", i))
		}
	}
	rec, key, err := s.keys.Create(ctx, w)
	if err != nil {
		return nil, storeError(err)
	}
	s.log.InfoContext(ctx, "API key created", slog.String(metrics.KeyKeyID, rec.ID), slog.String(metrics.KeyTenant, rec.Tenant))
	audit.From(ctx).SetResource("api-key/" + rec.ID)
	return &edgev1.CreateApiKeyResponse{ApiKey: keyMessage(rec), Key: key.Reveal()}, nil
}

func (s *Server) expiry(req *edgev1.CreateApiKeyRequest) (time.Time, error) {
	if req.GetExpireTime() == nil {
		return time.Time{}, nil
	}
	if err := req.GetExpireTime().CheckValid(); err != nil {
		return time.Time{}, apierr.Invalid("expire_time", "expire_time is not a time")
	}
	t := req.GetExpireTime().AsTime()
	if !t.After(s.clock.Now()) {
		return time.Time{}, apierr.Invalid("expire_time", "expire_time must be in the future")
	}
	return t, nil
}

// GetApiKey returns a key that the caller may see.
func (s *Server) GetApiKey(ctx context.Context, req *edgev1.GetApiKeyRequest) (*edgev1.GetApiKeyResponse, error) {
	rec, err := s.find(ctx, req.GetId(), "get")
	if err != nil {
		return nil, err
	}
	return &edgev1.GetApiKeyResponse{ApiKey: keyMessage(rec)}, nil
}

// RevokeApiKey ends a key that the caller may end.
func (s *Server) RevokeApiKey(ctx context.Context, req *edgev1.RevokeApiKeyRequest) (*edgev1.RevokeApiKeyResponse, error) {
	rec, err := s.find(ctx, req.GetId(), "revoke")
	if err != nil {
		return nil, err
	}
	if rec, err = s.keys.Revoke(ctx, rec.ID); err != nil {
		return nil, storeError(err)
	}
	s.log.InfoContext(ctx, "API key revoked", slog.String(metrics.KeyKeyID, rec.ID), slog.String(metrics.KeyTenant, rec.Tenant))
	return &edgev1.RevokeApiKeyResponse{ApiKey: keyMessage(rec)}, nil
}

// find returns a key that the caller may do action to. Another tenant's key is
// answered as one that does not exist.
func (s *Server) find(ctx context.Context, id, action string) (apikey.Record, error) {
	c, err := caller(ctx)
	if err != nil {
		return apikey.Record{}, err
	}
	rec, err := s.keys.Get(ctx, id)
	if err == nil && !s.authz.Allowed(ctx, c, action, authz.Resource{Type: "api-key", ID: rec.ID, Tenant: rec.Tenant}) {
		err = apikey.ErrNotFound
	}
	if err != nil {
		return apikey.Record{}, storeError(err)
	}
	return rec, nil
}

// ListApiKeys lists the keys of the caller's tenant; of all tenants for
// administrators of the platform.
func (s *Server) ListApiKeys(ctx context.Context, req *edgev1.ListApiKeysRequest) (*edgev1.ListApiKeysResponse, error) {
	c, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	var after string
	if err := readToken(req.GetPageToken(), &after, func(id string) string { return id }); err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize())
	recs, err := s.keys.List(ctx, apikey.Filter{Tenant: s.visibleTenant(ctx, c, "api-key"), After: after, Limit: size + 1})
	if err != nil {
		return nil, storeError(err)
	}
	out := &edgev1.ListApiKeysResponse{}
	if len(recs) > size {
		recs = recs[:size]
		out.NextPageToken = writeToken(recs[size-1].ID)
	}
	for _, r := range recs {
		out.ApiKeys = append(out.ApiKeys, keyMessage(r))
	}
	return out, nil
}

// visibleTenant returns the only tenant whose resources the caller may list, or
// "" when that is every tenant.
func (s *Server) visibleTenant(ctx context.Context, c identity.Caller, typ string) string {
	// No tenant has this name, so only a rule for any tenant can match.
	if s.authz.Allowed(ctx, c, "list", authz.Resource{Type: typ, Tenant: "*"}) {
		return ""
	}
	return c.Tenant
}

func storeError(err error) error {
	if errors.Is(err, apikey.ErrNotFound) {
		return apierr.New(apierr.NotFound, "there is no such API key")
	}
	return apierr.Wrap(apierr.Unavailable, err, "the store of API keys does not answer").WithRetryAfter(time.Second)
}

func keyMessage(r apikey.Record) *edgev1.ApiKey {
	return &edgev1.ApiKey{
		Id: r.ID, Name: r.Name, Tenant: r.Tenant, Subject: r.Subject, Roles: r.Roles, Groups: r.Groups,
		CreateTime: timestamp(r.CreateTime), ExpireTime: timestamp(r.ExpireTime), RevokeTime: timestamp(r.RevokeTime),
		RequestsPerMinute: r.RequestsPerMinute,
	}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
