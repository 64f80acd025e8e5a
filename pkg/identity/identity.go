// Package identity carries the caller whom the edge authenticated to the
// services behind it. It authenticates nobody and decides nothing; start
// reading at Caller.
package identity

import (
	"context"
	"slices"
)

// Public is the principal that every caller has.
const Public = "public"

// Caller is who makes a request. It is not changed once it is in a context.
type Caller struct {
	// Tenant is the organisation that owns the data and pays for the request.
	Tenant string `json:"t,omitempty"`
	// Subject is the person or program, unique within the tenant.
	Subject string `json:"s,omitempty"`
	// Principals are what access lists match: "user:…", "group:…", "tenant:…",
	// "role:…" and "public".
	Principals []string `json:"p,omitempty"`
	// Roles are the caller's roles within the tenant.
	Roles []string `json:"r,omitempty"`
	// KeyID names the API key used, if one was: never the key itself.
	KeyID string `json:"k,omitempty"`
}

// NewCaller returns the caller whom a tenant knows by that name, with the
// principals that follow from it.
func NewCaller(tenant, subject string, roles, groups []string) Caller {
	principals := make([]string, 0, 3+len(groups)+len(roles))
	principals = append(principals, "user:"+subject, "tenant:"+tenant, Public)
	for _, g := range groups {
		principals = append(principals, "group:"+g)
	}
	for _, role := range roles {
		principals = append(principals, "role:"+role)
	}
	return Caller{Tenant: tenant, Subject: subject, Principals: principals, Roles: roles}
}

// HasRole reports whether the caller has the role.
func (c Caller) HasRole(role string) bool { return slices.Contains(c.Roles, role) }

// HasPrincipal reports whether an access list that names p lets the caller in.
func (c Caller) HasPrincipal(p string) bool {
	return p == Public || slices.Contains(c.Principals, p)
}

// Key is what a context is asked for to find a request's *Caller: for one that carries
// more than that.
type Key struct{}

// NewContext returns ctx carrying the caller.
func NewContext(ctx context.Context, c Caller) context.Context { return Sharing(ctx, &c) }

// Sharing is NewContext with a caller that other contexts carry as well.
func Sharing(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, Key{}, c)
}

// FromContext returns the caller that ctx carries.
func FromContext(ctx context.Context) (Caller, bool) {
	if c, ok := ctx.Value(Key{}).(*Caller); ok {
		return *c, true
	}
	return Caller{}, false
}
