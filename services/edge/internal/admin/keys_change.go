package admin

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/grant"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// change is one field that an update may name.
type change[Message, Stored any] struct {
	path string
	// given reports whether the message has the field, where no mask says what is
	// meant.
	given func(m Message) bool
	apply func(r *Stored)
}

// chosen returns the changes that a mask names; all that are given where it names
// none.
func chosen[Message, Stored any](mask *fieldmaskpb.FieldMask, m Message, all []change[Message, Stored]) ([]change[Message, Stored], error) {
	var out []change[Message, Stored]
	if len(mask.GetPaths()) == 0 {
		for _, ch := range all {
			if ch.given(m) {
				out = append(out, ch)
			}
		}
	}
	for _, path := range mask.GetPaths() {
		i := slices.IndexFunc(all, func(ch change[Message, Stored]) bool { return ch.path == path })
		if i < 0 {
			known := make([]string, len(all))
			for j, ch := range all {
				known[j] = ch.path
			}
			return nil, apierr.Invalid("update_mask", "update_mask: %.64q cannot be changed; what can is %s", path, strings.Join(known, ", "))
		}
		out = append(out, all[i])
	}
	if len(out) == 0 {
		return nil, apierr.Invalid("update_mask", "update_mask: nothing is to change")
	}
	return out, nil
}

// names reports whether one of the changes is to path.
func names[Message, Stored any](changes []change[Message, Stored], path string) bool {
	return slices.ContainsFunc(changes, func(ch change[Message, Stored]) bool { return ch.path == path })
}

// grantChanges are those of the lists of a grant.
func grantChanges[Message lists, Stored any](g grant.Grant, of func(*Stored) *grant.Grant) []change[Message, Stored] {
	return []change[Message, Stored]{
		{"scopes", func(m Message) bool { return len(m.GetScopes()) > 0 }, func(r *Stored) { of(r).Scopes = g.Scopes }},
		{"models", func(m Message) bool { return len(m.GetModels()) > 0 }, func(r *Stored) { of(r).Models = g.Models }},
		{"collections", func(m Message) bool { return len(m.GetCollections()) > 0 }, func(r *Stored) { of(r).Collections = g.Collections }},
		{"networks", func(m Message) bool { return len(m.GetNetworks()) > 0 }, func(r *Stored) { of(r).Networks = g.Networks }},
	}
}

// changedGrant is what of g the changes are about; the other lists are own's, so
// that they are within it.
func changedGrant[Message, Stored any](changes []change[Message, Stored], g, own grant.Grant) grant.Grant {
	out := own
	if names(changes, "scopes") {
		out.Scopes = g.Scopes
	}
	if names(changes, "models") {
		out.Models = g.Models
	}
	if names(changes, "collections") {
		out.Collections = g.Collections
	}
	if names(changes, "networks") {
		out.Networks = g.Networks
	}
	return out
}

// widened reports whether a change lets a key do more, or for longer.
func widened(before, after apikey.Record) bool {
	later := after.ExpireTime.After(before.ExpireTime) || after.ExpireTime.IsZero()
	return after.Grant.Beyond(before.Grant) != "" || !before.ExpireTime.IsZero() && later
}

type keyChange = change[*edgev1.ApiKey, apikey.Record]

// UpdateApiKey changes a key.
func (s *Server) UpdateApiKey(ctx context.Context, req *edgev1.UpdateApiKeyRequest) (*edgev1.UpdateApiKeyResponse, error) {
	c, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := s.find(ctx, req.GetId(), "update")
	if err != nil {
		return nil, err
	}
	changes, err := s.keyChanges(ctx, c, req)
	if err != nil {
		return nil, err
	}
	rec, err = s.keys.Update(ctx, rec.ID, func(r *apikey.Record) error {
		if req.GetEtag() != "" && req.GetEtag() != etag(storedKey(*r)) {
			return apikey.ErrChanged
		}
		before := *r
		for _, ch := range changes {
			ch.apply(r)
		}
		if widened(before, *r) {
			if err := s.mayGive(ctx, c, r.Tenant, r.Access().Roles, ownGrant(ctx)); err != nil {
				return err
			}
		}
		// Only what changes is compared: who may not have all that a key is for may
		// still change its name, or narrow it.
		if list := changedGrant(changes, r.Access().Grant, ownGrant(ctx)).Beyond(ownGrant(ctx)); list != "" {
			return apierr.New(apierr.PermissionDenied, "your own credentials are narrowed in %s: you may not give more", list).WithField("api_key." + list)
		}
		if r.Account != nil {
			return boundedBy(*r.Account, changedGrant(changes, r.Grant, r.Account.Grant))
		}
		return nil
	})
	if err != nil {
		return nil, storeError(err)
	}
	s.log.InfoContext(ctx, "API key changed", slog.String(metrics.KeyKeyID, rec.ID), slog.String(metrics.KeyTenant, rec.Tenant))
	return &edgev1.UpdateApiKeyResponse{ApiKey: s.keyMessage(rec)}, nil
}

func (s *Server) keyChanges(ctx context.Context, c identity.Caller, req *edgev1.UpdateApiKeyRequest) ([]keyChange, error) {
	const prefix = "api_key."
	want := req.GetApiKey()
	g, err := s.parseGrant(want, prefix)
	if err != nil {
		return nil, err
	}
	expire, err := s.future(want.GetExpireTime())
	if err != nil {
		return nil, err
	}
	all := append([]keyChange{
		{"name", func(m *edgev1.ApiKey) bool { return m.GetName() != "" }, func(r *apikey.Record) { r.Name = want.GetName() }},
		{"owner", func(m *edgev1.ApiKey) bool { return m.GetOwner() != "" }, func(r *apikey.Record) { r.Owner = want.GetOwner() }},
		{"expire_time", func(m *edgev1.ApiKey) bool { return m.GetExpireTime() != nil }, func(r *apikey.Record) { r.ExpireTime = expire }},
		{
			"requests_per_minute", func(m *edgev1.ApiKey) bool { return m.GetRequestsPerMinute() != 0 },
			func(r *apikey.Record) { r.RequestsPerMinute = want.GetRequestsPerMinute() },
		},
	}, grantChanges[*edgev1.ApiKey](g, func(r *apikey.Record) *grant.Grant { return &r.Grant })...)
	changes, err := chosen(req.GetUpdateMask(), want, all)
	if err != nil {
		return nil, err
	}
	if names(changes, "expire_time") {
		if err := s.outlives(ctx, c, expire); err != nil {
			return nil, err
		}
	}
	if n := len(want.GetName()); names(changes, "name") && (n == 0 || n > maxName) {
		return nil, apierr.Invalid(prefix+"name", "api_key.name must have 1 to %d bytes", maxName)
	}
	if len(want.GetOwner()) > maxName {
		return nil, apierr.Invalid(prefix+"owner", "api_key.owner must have at most %d bytes", maxName)
	}
	if n := want.GetRequestsPerMinute(); n < 0 || n > maxPerMinute {
		return nil, apierr.Invalid(prefix+"requests_per_minute", "api_key.requests_per_minute must be from 0 to %d", maxPerMinute)
	}
	for field, text := range map[string]string{"name": want.GetName(), "owner": want.GetOwner()} {
		if err := printable(prefix+field, text); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// The bounds that CreateApiKeyRequest has too.
const (
	maxName      = 256
	maxPerMinute = 1_000_000
)

// RotateApiKey gives a key another secret. Whoever does so holds the key, and so
// must be one who might have created it.
func (s *Server) RotateApiKey(ctx context.Context, req *edgev1.RotateApiKeyRequest) (*edgev1.RotateApiKeyResponse, error) {
	c, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := s.find(ctx, req.GetId(), "rotate")
	if err != nil {
		return nil, err
	}
	// What the store has is compared with what was read here, since it is read
	// within a transaction that should ask nothing else.
	if err := s.mayHold(ctx, c, rec); err != nil {
		return nil, err
	}
	seen := rec.Revision
	rec, key, err := s.keys.Rotate(ctx, rec.ID, req.GetOverlap().AsDuration(), func(r apikey.Record) error {
		if r.Revision != seen {
			return apikey.ErrChanged
		}
		return s.mayGive(ctx, c, r.Tenant, r.Access().Roles, r.Access().Grant) // its account may have changed
	})
	if err != nil {
		return nil, storeError(err)
	}
	s.log.InfoContext(ctx, "API key rotated", slog.String(metrics.KeyKeyID, rec.ID), slog.String(metrics.KeyTenant, rec.Tenant),
		slog.Duration("overlap", req.GetOverlap().AsDuration()))
	return &edgev1.RotateApiKeyResponse{ApiKey: s.keyMessage(rec), Key: key.Reveal()}, nil
}
