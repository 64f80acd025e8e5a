// Package authz decides whether a caller may do something to a resource: rules
// by role, group, user and attribute, deny by default, deny overriding. It
// authenticates nobody and knows no transport. Start reading at Authorizer; the
// rules are in policy.csv, and which method needs which permission in table.go.
package authz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	"github.com/casbin/casbin/v2/util"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/identity"
)

// Config is the section "authz".
type Config struct {
	// PlatformTenant is the tenant whose administrators administer the platform:
	// every tenant's keys, the registry, the workers.
	PlatformTenant string `yaml:"platform_tenant"`
	// PolicyFile names a file with more rules, after the default ones; empty: none.
	PolicyFile string `yaml:"policy_file"`
	// CacheSize is how many decisions are remembered.
	CacheSize int `yaml:"cache_size"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{PlatformTenant: "default", CacheSize: 16384} }

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.PlatformTenant != "", prefix+".platform_tenant", "must not be empty")
	p.Check(c.CacheSize >= 1 && c.CacheSize <= 1<<20, prefix+".cache_size", "must be from 1 to 1048576, got %d", c.CacheSize)
	if c.PolicyFile != "" {
		if _, err := ReadPolicy(c.PolicyFile); err != nil {
			p.Add(prefix+".policy_file", "%v", err)
		}
	}
}

// Policy returns the policy that c names.
func (c Config) Policy() (Policy, error) {
	if c.PolicyFile != "" {
		return ReadPolicy(c.PolicyFile)
	}
	return DefaultPolicy()
}

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

// Authorizer decides by one policy. It is safe for concurrent use.
type Authorizer struct {
	policy     Policy
	platform   string
	enforcer   *casbin.Enforcer
	conditions map[string]condition
	cache      *lru.Cache[question, bool]
	log        *slog.Logger
}

// question is everything that a decision depends on, besides the policy, which
// never changes under one Authorizer.
type question struct {
	principals, subject, dom, typ, id, own, act string
}

// maxCachedID keeps long names from outside out of the cache.
const maxCachedID = 256

// New returns an authorizer for policy.
func New(cfg Config, policy Policy, log *slog.Logger) (*Authorizer, error) {
	a := &Authorizer{policy: policy, platform: cfg.PlatformTenant, log: log, conditions: make(map[string]condition)}
	for _, rule := range policy.rules {
		c, err := compileCondition(rule[5])
		if err != nil {
			return nil, err
		}
		a.conditions[rule[5]] = c
	}
	var err error
	if a.cache, err = lru.New[question, bool](cfg.CacheSize); err != nil {
		return nil, fmt.Errorf("authz: make the cache: %w", err)
	}
	if a.enforcer, err = a.newEnforcer(); err != nil {
		return nil, fmt.Errorf("authz: load the policy: %w", err)
	}
	return a, nil
}

func (a *Authorizer) newEnforcer() (*casbin.Enforcer, error) {
	m, err := model.NewModelFromString(modelText)
	if err != nil {
		return nil, err
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, err
	}
	e.AddNamedDomainMatchingFunc("g", "keyMatch", util.KeyMatch)
	// The arguments are those that model.conf gives; with others, texts are empty
	// and match nothing.
	e.AddFunction("matches", func(args ...any) (any, error) { return matches(text(args, 0), text(args, 1)), nil })
	e.AddFunction("within", func(args ...any) (any, error) { return within(text(args, 0), text(args, 1), text(args, 2)), nil })
	e.AddFunction("member", func(args ...any) (any, error) {
		sub, err := askerOf(args)
		if err != nil {
			return nil, err
		}
		_, ok := sub.all[text(args, 1)]
		return ok, nil
	})
	e.AddFunction("holds", func(args ...any) (any, error) { return a.holds(args) })
	if len(a.policy.rules) > 0 {
		if _, err := e.AddPolicies(a.policy.rules); err != nil {
			return nil, err
		}
	}
	if len(a.policy.bindings) > 0 {
		if _, err := e.AddGroupingPolicies(a.policy.bindings); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// asker is a caller as the matchers see it. It has no methods, and goes into no
// expression but as an argument of our own functions.
type asker struct {
	caller identity.Caller
	// all is the caller's principals and the roles that the policy adds.
	all map[string]struct{}
}

// holds is the matchers' function of that name: see model.conf for its
// arguments.
func (a *Authorizer) holds(args []any) (bool, error) {
	c, ok := a.conditions[text(args, 5)]
	if !ok {
		return false, errors.New("authz: the condition was not compiled")
	}
	if c.always {
		return true, nil
	}
	sub, err := askerOf(args)
	if err != nil {
		return false, err
	}
	principals := make([]any, 0, len(sub.all))
	for p := range sub.all {
		principals = append(principals, p)
	}
	return c.holds(map[string]any{
		"tenant": sub.caller.Tenant, "subject": sub.caller.Subject, "principals": principals,
		"platform_tenant": a.platform, "resource_type": args[1], "resource_id": args[2],
		"resource_tenant": args[3], "action": args[4],
	})
}

func text(args []any, i int) string {
	if i >= len(args) {
		return ""
	}
	s, _ := args[i].(string)
	return s
}

func askerOf(args []any) (*asker, error) {
	if len(args) > 0 {
		if sub, ok := args[0].(*asker); ok {
			return sub, nil
		}
	}
	return nil, errors.New("authz: the model does not say who asks")
}

// matches reports whether v is one of the names in pattern, which are joined by
// "|"; one that ends in * matches every text that begins so.
func matches(v, pattern string) bool {
	for name := range strings.SplitSeq(pattern, "|") {
		if before, ok := strings.CutSuffix(name, "*"); v == name || ok && strings.HasPrefix(v, before) {
			return true
		}
	}
	return false
}

// within reports whether a caller of tenant dom is within a rule's scope for a
// resource of tenant own.
func within(dom, own, scope string) bool {
	switch scope {
	case "any":
		return true
	case "own":
		return dom == own
	default:
		return own == scope
	}
}

// PolicyVersion names the policy in force.
func (a *Authorizer) PolicyVersion() string { return a.policy.Version }

// PlatformTenant returns the tenant that administers the platform.
func (a *Authorizer) PlatformTenant() string { return a.platform }

// Allowed reports whether the caller may do action to res. What cannot be
// judged is refused.
func (a *Authorizer) Allowed(ctx context.Context, caller identity.Caller, action string, res Resource) bool {
	q := question{
		principals: strings.Join(caller.Principals, "\n"), subject: caller.Subject, dom: caller.Tenant,
		typ: res.Type, id: res.ID, own: res.Tenant, act: action,
	}
	if ok, cached := a.cache.Get(q); cached {
		return ok
	}
	ok, err := a.enforcer.Enforce(a.asker(caller), q.dom, q.typ, q.id, q.own, q.act)
	if err != nil {
		a.log.ErrorContext(ctx, "a rule cannot be judged; the request is refused", slog.Any("error", err))
		return false
	}
	if len(q.id) <= maxCachedID {
		a.cache.Add(q, ok)
	}
	return ok
}

func (a *Authorizer) asker(caller identity.Caller) *asker {
	s := &asker{caller: caller, all: map[string]struct{}{identity.Public: {}}}
	for _, p := range caller.Principals {
		s.all[p] = struct{}{}
		for _, r := range a.implied(p, caller.Tenant) {
			s.all[r] = struct{}{}
		}
	}
	return s
}

// implied returns the roles that the policy gives to a principal, directly or
// through other roles.
func (a *Authorizer) implied(principal, tenant string) []string {
	roles, err := a.enforcer.GetImplicitRolesForUser(principal, tenant)
	if err != nil {
		return nil // unknown to the policy
	}
	return roles
}

// Roles returns the names of the roles that the policy knows.
func (a *Authorizer) Roles() []string { return a.policy.Roles() }

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
	name := rolePrefix + role
	return slices.ContainsFunc(caller.Principals, func(p string) bool {
		return p == name || slices.Contains(a.implied(p, caller.Tenant), name)
	})
}

// Refusal is the error for what is not allowed.
func Refusal(action string, res Resource) error {
	what := strings.ReplaceAll(res.Type, "-", " ")
	if res.ID != "" {
		what += " " + fmt.Sprintf("%.64q", res.ID)
	}
	return apierr.New(apierr.PermissionDenied, "your roles do not allow to %s the %s", strings.ReplaceAll(action, "-", " "), what).
		WithMetadata("action", action).WithMetadata("resource_type", res.Type)
}
