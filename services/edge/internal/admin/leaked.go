package admin

import (
	"context"
	"log/slog"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/requestid"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// What is noted of a key that was found.
const (
	foundLeaked   = "api-key/leaked found"
	revokedLeaked = "api-key/leaked revoke"
)

// CheckLeakedApiKeys tells which texts are keys, and ends them if asked to.
func (s *Server) CheckLeakedApiKeys(ctx context.Context, req *edgev1.CheckLeakedApiKeysRequest) (*edgev1.CheckLeakedApiKeysResponse, error) {
	c, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	leaks, err := s.keys.Check(ctx, req.GetTexts())
	if err != nil {
		return nil, storeError(err)
	}
	out := &edgev1.CheckLeakedApiKeysResponse{Results: make([]*edgev1.LeakedApiKey, len(leaks))}
	done := make(map[string]*edgev1.LeakedApiKey)
	for i, leak := range leaks {
		result := &edgev1.LeakedApiKey{WellFormed: leak.WellFormed}
		out.Results[i] = result
		if !leak.Found || !s.authz.Allowed(ctx, c, "check-leaked", authz.Resource{Type: "api-key", ID: leak.Record.ID, Tenant: leak.Record.Tenant}) {
			continue
		}
		first, again := done[leak.Record.ID]
		if again {
			out.Results[i] = first
			continue
		}
		if err := s.found(ctx, c, leak.Record, req.GetRevoke(), result); err != nil {
			return nil, err
		}
		done[leak.Record.ID] = result
	}
	return out, nil
}

// found fills in what is said of a key that was found, ends it if it should be,
// and notes that.
func (s *Server) found(ctx context.Context, c identity.Caller, rec apikey.Record, revoke bool, result *edgev1.LeakedApiKey) error {
	// Before anything is changed: what cannot be recorded is not done.
	if err := s.trail.Admit(ctx); err != nil {
		return err
	}
	finding := foundLeaked
	var err error
	if revoke && rec.RevokeTime.IsZero() {
		var ended apikey.Record
		if ended, err = s.keys.Revoke(ctx, rec.ID); err == nil {
			rec, result.Revoked, finding = ended, true, revokedLeaked
		}
	}
	if err := s.trail.Append(ctx, s.leakRecord(ctx, c, rec, finding)); err != nil {
		return apierr.Wrap(apierr.Unavailable, err, "what was found cannot be recorded")
	}
	if err != nil {
		return storeError(err)
	}
	s.log.WarnContext(ctx, "an API key was found where none should be", slog.String(metrics.KeyKeyID, rec.ID),
		slog.String(metrics.KeyTenant, rec.Tenant), slog.Bool("revoked", result.GetRevoked()))
	message := s.keyMessage(rec)
	result.Found, result.Id, result.State = true, rec.ID, message.GetState()
	if s.authz.Allowed(ctx, c, "get", authz.Resource{Type: "api-key", ID: rec.ID, Tenant: rec.Tenant}) && ownGrant(ctx).Action("api-key", "get") {
		result.ApiKey = message
	}
	return nil
}

func (s *Server) leakRecord(ctx context.Context, c identity.Caller, rec apikey.Record, finding string) audit.Record {
	return audit.Record{
		ID: s.ids.New(), RequestID: requestid.FromContext(ctx), Time: s.clock.Now(), Tenant: c.Tenant, Subject: c.Subject, KeyID: c.KeyID,
		Method: edgev1.AdminService_CheckLeakedApiKeys_FullMethodName, Resource: "api-key/" + rec.ID, Decision: audit.Allowed,
		Address: audit.From(ctx).Record().Address, Findings: []string{finding},
	}
}
