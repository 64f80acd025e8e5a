package admin

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/grant"
)

// lists is a message that has a grant.
type lists interface {
	GetScopes() []string
	GetModels() []string
	GetCollections() []string
	GetNetworks() []string
}

// parseGrant reads the grant in a request, whose lists are at prefix.
func (s *Server) parseGrant(m lists, prefix string) (grant.Grant, error) {
	g, err := grant.Parse(s.actions, m.GetScopes(), m.GetModels(), m.GetCollections(), m.GetNetworks())
	if e, ok := errors.AsType[*grant.EntryError](err); ok {
		return g, apierr.Invalid(prefix+e.Field(), "%s%s", prefix, e.Error())
	}
	return g, err
}

func networkTexts(list []netip.Prefix) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}

// ownGrant is what the caller's credentials are for.
func ownGrant(ctx context.Context) grant.Grant {
	p, _ := authn.FromContext(ctx)
	return p.Grant
}

func (s *Server) knownRoles(roles []string) error {
	if len(roles) == 0 {
		return apierr.Invalid("roles", "roles: at least one is needed")
	}
	known := s.authz.Roles()
	for i, role := range roles {
		if field := fieldIndex("roles", i); !slices.Contains(known, role) {
			return apierr.Invalid(field, "%s: no policy knows the role %q; known are: %s", field, role, strings.Join(known, ", "))
		}
	}
	return nil
}

// mayHold refuses unless the caller may have, and so may give to others, what a
// key gives: whom it speaks for, its roles, what it is for, and its time. Without
// this, whose own key is narrowed could make one that is not, or take it over by
// rotating it.
func (s *Server) mayHold(ctx context.Context, c identity.Caller, rec apikey.Record) error {
	access := rec.Access()
	if err := s.mayGive(ctx, c, rec.Tenant, access.Roles, access.Grant); err != nil {
		return err
	}
	if err := s.maySpeakFor(ctx, c, rec.Tenant, rec.NamedSubject(), access.Groups); err != nil {
		return err
	}
	return s.outlives(ctx, c, rec.ExpireTime)
}

// mayGive refuses unless the caller has the roles and all that g is for.
func (s *Server) mayGive(ctx context.Context, c identity.Caller, tenant string, roles []string, g grant.Grant) error {
	for i, role := range roles {
		if !s.authz.MayGrant(ctx, c, role, tenant) {
			return apierr.New(apierr.PermissionDenied, "you may not give the role %q: you have neither it nor one above it", role).
				WithField(fieldIndex("roles", i))
		}
	}
	if list := g.Beyond(ownGrant(ctx)); list != "" {
		return apierr.New(apierr.PermissionDenied, "your own credentials are narrowed in %s: name those of them that are meant", list).WithField(list)
	}
	return nil
}

// maySpeakFor refuses unless the caller is, or may speak for, the subject, if there
// is one, and the groups: policies and documents may let in these too.
func (s *Server) maySpeakFor(ctx context.Context, c identity.Caller, tenant, subject string, groups []string) error {
	if subject != "" && !s.authz.MayGrantPrincipal(ctx, c, "user:"+subject, tenant) {
		return apierr.New(apierr.PermissionDenied, "you may not give a key the subject %q: it is another's", subject).WithField("subject")
	}
	for i, group := range groups {
		if !s.authz.MayGrantPrincipal(ctx, c, "group:"+group, tenant) {
			return apierr.New(apierr.PermissionDenied, "you may not give the group %q: you are not in it", group).WithField(fieldIndex("groups", i))
		}
	}
	return nil
}

// outlives refuses a key that would hold longer than the one that the caller
// shows.
func (s *Server) outlives(ctx context.Context, c identity.Caller, expire time.Time) error {
	if c.KeyID == "" {
		return nil
	}
	own, err := s.keys.Get(ctx, c.KeyID)
	if errors.Is(err, apikey.ErrNotFound) {
		return nil
	}
	if err != nil {
		return storeError(err)
	}
	if !own.ExpireTime.IsZero() && (expire.IsZero() || expire.After(own.ExpireTime)) {
		return apierr.New(apierr.PermissionDenied, "your own key ends at %s: a key that you make must end by then",
			own.ExpireTime.Format(time.RFC3339)).WithField("expire_time")
	}
	return nil
}

// boundedBy refuses a key's own lists where they go beyond its account's; a list
// that is empty is the account's.
func boundedBy(a apikey.Account, g grant.Grant) error {
	if list := g.Or(a.Grant).Beyond(a.Grant); list != "" {
		return apierr.Invalid(list, "%s: the service account %q is not for all of them", list, a.ID)
	}
	return nil
}
