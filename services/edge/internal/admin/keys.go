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
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// CreateApiKey makes a key, in the caller's tenant unless the caller administers
// the platform.
func (s *Server) CreateApiKey(ctx context.Context, req *edgev1.CreateApiKeyRequest) (*edgev1.CreateApiKeyResponse, error) {
	c, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	w := apikey.Wanted{
		Name: req.GetName(), Tenant: req.GetTenant(), Subject: req.GetSubject(), Groups: req.GetGroups(),
		Roles: sorted(req.GetRoles()), RequestsPerMinute: req.GetRequestsPerMinute(),
		Owner: req.GetOwner(), Creator: c.Subject, ServiceAccount: req.GetServiceAccount(),
	}
	if w.Tenant == "" {
		w.Tenant = c.Tenant
	}
	for field, text := range map[string]string{"name": w.Name, "owner": w.Owner} {
		if err := printable(field, text); err != nil {
			return nil, err
		}
	}
	if w.Grant, err = s.parseGrant(req, ""); err != nil {
		return nil, err
	}
	if w.ExpireTime, err = s.future(req.GetExpireTime()); err != nil {
		return nil, err
	}
	would := apikey.Record{Tenant: w.Tenant, Subject: w.Subject, Roles: w.Roles, Groups: w.Groups, Grant: w.Grant, ServiceAccount: w.ServiceAccount, ExpireTime: w.ExpireTime}
	if w.ServiceAccount != "" {
		a, err := s.accountOf(ctx, w, req)
		if err != nil {
			return nil, err
		}
		would.Account = &a
	} else if err := s.knownRoles(req.GetRoles()); err != nil {
		return nil, err
	}
	if err := s.mayHold(ctx, c, would); err != nil {
		return nil, err
	}
	rec, key, err := s.keys.Create(ctx, w)
	if err != nil {
		return nil, storeError(err)
	}
	s.log.InfoContext(ctx, "API key created", slog.String(metrics.KeyKeyID, rec.ID), slog.String(metrics.KeyTenant, rec.Tenant))
	audit.From(ctx).SetResource("api-key/" + rec.ID)
	return &edgev1.CreateApiKeyResponse{ApiKey: s.keyMessage(rec), Key: key.Reveal()}, nil
}

// accountOf returns the account that the new key belongs to, whose bounds it must
// keep.
func (s *Server) accountOf(ctx context.Context, w apikey.Wanted, req *edgev1.CreateApiKeyRequest) (apikey.Account, error) {
	for field, given := range map[string]bool{
		"roles": len(req.GetRoles()) > 0, "groups": len(req.GetGroups()) > 0, "subject": req.GetSubject() != "",
	} {
		if given {
			return apikey.Account{}, apierr.Invalid(field, "%s is the service account's: leave it out", field)
		}
	}
	a, err := s.accounts.GetAccount(ctx, apikey.AccountID{Tenant: w.Tenant, ID: w.ServiceAccount})
	if errors.Is(err, apikey.ErrNoAccount) {
		return apikey.Account{}, apierr.Invalid("service_account", "there is no service account %q", w.ServiceAccount)
	}
	if err != nil {
		return apikey.Account{}, storeError(err)
	}
	return a, boundedBy(a, w.Grant)
}

func sorted(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

func printable(field, text string) error {
	if strings.ContainsFunc(text, unicode.IsControl) {
		return apierr.Invalid(field, "%s must not have control characters", field)
	}
	return nil
}

func (s *Server) future(at *timestamppb.Timestamp) (time.Time, error) {
	if at == nil {
		return time.Time{}, nil
	}
	if err := at.CheckValid(); err != nil {
		return time.Time{}, apierr.Invalid("expire_time", "expire_time is not a time")
	}
	t := at.AsTime()
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
	return &edgev1.GetApiKeyResponse{ApiKey: s.keyMessage(rec)}, nil
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
	return &edgev1.RevokeApiKeyResponse{ApiKey: s.keyMessage(rec)}, nil
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
	size := pageSize(req.GetPageSize())
	f := apikey.Filter{
		Tenant: s.visibleTenant(ctx, c, "api-key"), Subject: req.GetSubject(), Owner: req.GetOwner(), ServiceAccount: req.GetServiceAccount(),
		State: apikey.State(req.GetState()), Now: s.clock.Now(), Limit: size + 1,
	}
	if err := readToken(req.GetPageToken(), &f.After, func(id string) string { return id }); err != nil {
		return nil, err
	}
	if t := req.GetUnusedSince(); t != nil {
		if err := t.CheckValid(); err != nil {
			return nil, apierr.Invalid("unused_since", "unused_since is not a time")
		}
		f.UnusedSince = t.AsTime()
	}
	out := &edgev1.ListApiKeysResponse{}
	if req.GetTenant() != "" {
		if f.Tenant != "" && f.Tenant != req.GetTenant() {
			return out, nil // none that the caller may see
		}
		f.Tenant = req.GetTenant()
	}
	recs, err := s.keys.List(ctx, f)
	if err != nil {
		return nil, storeError(err)
	}
	if len(recs) > size {
		recs = recs[:size]
		out.NextPageToken = writeToken(recs[size-1].ID)
	}
	for _, r := range recs {
		out.ApiKeys = append(out.ApiKeys, s.keyMessage(r))
	}
	return out, nil
}

func storeError(err error) error {
	var known *apierr.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, apikey.ErrNotFound):
		return apierr.New(apierr.NotFound, "there is no such API key")
	case errors.Is(err, apikey.ErrNoAccount):
		return apierr.New(apierr.NotFound, "there is no such service account")
	case errors.Is(err, apikey.ErrEnded):
		return apierr.New(apierr.FailedPrecondition, "the API key was revoked: make a new one")
	case errors.Is(err, apikey.ErrChanged):
		return apierr.New(apierr.Conflict, "it has changed since it was read: read it again").WithField("etag")
	default:
		return apierr.Wrap(apierr.Unavailable, err, "the store of API keys does not answer").WithRetryAfter(time.Second)
	}
}

// storedKey is what of a key changes only when somebody changes the key.
func storedKey(r apikey.Record) *edgev1.ApiKey {
	return &edgev1.ApiKey{
		Id: r.ID, Name: r.Name, Tenant: r.Tenant, Subject: r.Subject, Roles: r.Roles, Groups: r.Groups,
		CreateTime: timestamp(r.CreateTime), ExpireTime: timestamp(r.ExpireTime), RevokeTime: timestamp(r.RevokeTime),
		RequestsPerMinute: r.RequestsPerMinute,
		Scopes:            r.Grant.Scopes, Models: r.Grant.Models, Collections: r.Grant.Collections, Networks: networkTexts(r.Grant.Networks),
		Owner: r.Owner, Creator: r.Creator, UpdateTime: timestamp(r.UpdateTime),
		ServiceAccount: r.ServiceAccount, RotateTime: timestamp(r.RotateTime),
	}
}

func (s *Server) keyMessage(r apikey.Record) *edgev1.ApiKey {
	out := storedKey(r)
	out.Etag, out.LastUseTime, out.State = etag(out), timestamp(r.LastUseTime), edgev1.ApiKeyState(r.State(s.clock.Now()))
	if r.PreviousExpireTime.After(s.clock.Now()) {
		out.PreviousSecretExpireTime = timestamp(r.PreviousExpireTime)
	}
	if r.Account != nil {
		out.Roles, out.Groups = r.Account.Roles, r.Account.Groups
	}
	return out
}
