// Package authz decides whether a caller may do something to a resource: rules
// by role, group, user and attribute, deny by default, deny overriding, and what
// an allow asks for. It authenticates nobody and knows no transport. Start
// reading at Authorizer, then Snapshot; the rules that come with the program are
// in policy.csv, and which method needs which permission in table.go.
package authz

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/poterne/poterne/pkg/identity"
)

// Resource is what a request is about.
type Resource struct {
	// Type is the kind of thing, such as model or collection.
	Type string
	// ID names one thing; empty for all of that type.
	ID string
	// Tenant owns it.
	Tenant string
}

// String returns type/id, for logs and the audit trail.
func (r Resource) String() string {
	if r.ID == "" {
		return r.Type
	}
	return r.Type + "/" + r.ID
}

// Authorizer decides by the snapshot of policies that it was given last. It is
// safe for concurrent use.
type Authorizer struct {
	platform string
	base     *Layer
	cache    int
	current  atomic.Pointer[Snapshot]
	watcher  atomic.Pointer[watcher]
	facts    func(ctx context.Context) Facts
	models   Models
	log      *slog.Logger
}

// New returns an authorizer for policy alone.
func New(cfg Config, policy Policy, log *slog.Logger) (*Authorizer, error) {
	a := &Authorizer{platform: cfg.PlatformTenant, cache: cfg.CacheSize, log: log, facts: func(context.Context) Facts { return Facts{} }}
	var err error
	if a.base, err = CompileLayer(BaseLayer, policy); err != nil {
		return nil, err
	}
	s, err := a.Snapshot(Layers{Base: a.base})
	if err != nil {
		return nil, err
	}
	a.Use(s)
	return a, nil
}

// AskFacts says where to find what conditions ask about a request. It must be
// called before the first decision.
func (a *Authorizer) AskFacts(facts func(ctx context.Context) Facts) { a.facts = facts }

// AskModels says where to find what conditions ask about models. It must be called
// before the first decision; without, nothing is known of any.
func (a *Authorizer) AskModels(m Models) { a.models = m }

// ModelsFor returns what finds models as callers of the tenant see them; nil where
// nothing is known of any.
func (a *Authorizer) ModelsFor(tenant string) func(name, reference string) (*ModelFacts, error) {
	if a.models == nil {
		return nil
	}
	return func(name, reference string) (*ModelFacts, error) { return a.models.Find(name, reference, tenant) }
}

// FactsOf is what conditions may ask about the request of ctx.
func (a *Authorizer) FactsOf(ctx context.Context) Facts { return a.facts(ctx) }

// Base is the policy that came with the program and its configuration.
func (a *Authorizer) Base() *Layer { return a.base }

// Snapshot returns layers ready to be used.
func (a *Authorizer) Snapshot(l Layers) (*Snapshot, error) {
	return NewSnapshot(a.platform, l, a.cache)
}

// Use decides by s from now on. A request that is being judged is judged by one
// snapshot as a whole.
func (a *Authorizer) Use(s *Snapshot) { a.current.Store(s) }

// Current returns what decisions are made by now.
func (a *Authorizer) Current() *Snapshot { return a.current.Load() }

// PolicyVersion names the policies in force for the platform.
func (a *Authorizer) PolicyVersion() string { return a.Current().Version(a.platform) }

// PlatformTenant returns the tenant that administers the platform.
func (a *Authorizer) PlatformTenant() string { return a.platform }

// Allowed reports whether the caller may do action to res. What cannot be
// judged is refused.
func (a *Authorizer) Allowed(ctx context.Context, caller identity.Caller, action string, res Resource) bool {
	return a.decide(ctx, a.Current(), ask{caller: caller, action: action, res: res}).Allowed
}

func (a *Authorizer) decide(ctx context.Context, s *Snapshot, r ask) Decision {
	q := r.question()
	known := s.known(q)
	if known != nil && known.need == 0 && known.decision.Failure == nil {
		return known.decision // and nothing is made that only rules ask for
	}
	r.find = func() Facts { return a.facts(ctx) }
	r.models = a.ModelsFor(r.caller.Tenant)
	d := s.decideKnown(r, q, known)
	if d.Failure != nil && !errors.Is(d.Failure, errConflict) && !errors.Is(d.Failure, ErrNoModel) {
		a.log.ErrorContext(ctx, "a rule cannot be judged; the request is refused", slog.String("rule", d.Rule), slog.Any("error", d.Failure))
	}
	return d
}

// Roles returns the names of the roles that the platform's policies know.
func (a *Authorizer) Roles() []string {
	var out []string
	l := a.Current().layers
	for _, layer := range []*Layer{l.Base, l.Platform} {
		if layer != nil {
			out = append(out, layer.policy.Roles()...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// MayGrant reports whether the caller may give another the role within tenant:
// one the caller has, directly or implied. Administrators of the platform may
// give any.
func (a *Authorizer) MayGrant(ctx context.Context, caller identity.Caller, role, tenant string) bool {
	if a.Allowed(ctx, caller, "grant-any", Resource{Type: "role", ID: role, Tenant: a.platform}) {
		return true
	}
	if tenant != caller.Tenant {
		return false
	}
	_, has := a.Current().standing(caller).all[rolePrefix+role]
	return has
}

// MayGrantPrincipal reports whether the caller may have credentials of tenant speak
// for a principal: one of the caller's own, or any for administrators. Policies may
// give roles to groups and users too.
func (a *Authorizer) MayGrantPrincipal(ctx context.Context, caller identity.Caller, principal, tenant string) bool {
	if tenant == caller.Tenant && slices.Contains(caller.Principals, principal) {
		return true
	}
	return a.Allowed(ctx, caller, "grant-any", Resource{Type: "role", ID: principal, Tenant: tenant})
}
