package authz

import (
	"fmt"
	"strings"
)

// BaseLayer is the name of the policy that comes with the program and its
// configuration.
const BaseLayer = "base"

// MaxConditions bounds the different conditions of one policy: each is kept
// compiled.
const MaxConditions = 4096

// Layer is a policy that was compiled, with an index of its rules. It is never
// changed, so that several snapshots may share it.
type Layer struct {
	name string
	// tenant says that it is a tenant's own policy.
	tenant bool
	policy Policy
	rules  []rule
	// bySubject leads from who and whose to the rules' places, in order.
	bySubject map[subjectScope][]int32
	roles     map[string][]Binding
}

type subjectScope struct{ subject, scope string }

// rule is a Rule that was compiled.
type rule struct {
	Rule

	layer *Layer
	at    int // its place in the layer
	cond  condition
}

// tenantOnly reports whether the rule is of a tenant's own policy.
func (r *rule) tenantOnly() bool { return r.layer.tenant }

// name is the rule's in the audit trail.
func (r *rule) name() string { return r.layer.name + "/" + r.ID }

// CompileLayer compiles a policy under a name, with which the names of its rules
// begin.
func CompileLayer(name string, p Policy) (*Layer, error) { return compileLayer(name, p) }

// Layer is CompileLayer with what c knows already.
func (c *Compiler) Layer(name string, p Policy) (*Layer, error) { return c.layer(name, p) }

// CompileTenantLayer compiles a tenant's own policy. Its rules must have the scope
// own, and its bindings the tenant.
func CompileTenantLayer(name, tenant string, p Policy) (*Layer, error) {
	c, err := NewCompiler()
	if err != nil {
		return nil, err
	}
	return c.TenantLayer(name, tenant, p)
}

// TenantLayer is CompileTenantLayer with what c knows already.
func (c *Compiler) TenantLayer(name, tenant string, p Policy) (*Layer, error) {
	for _, r := range p.Rules {
		if r.Scope != ScopeOwn {
			return nil, fmt.Errorf("authz: rule %s: a tenant's policy is about its own resources: the scope must be own, got %q", r.ID, r.Scope)
		}
	}
	for _, b := range p.Bindings {
		if b.Tenant != tenant {
			return nil, fmt.Errorf("authz: a tenant's policy gives roles in its own tenant: %q must be %q", b.Tenant, tenant)
		}
	}
	l, err := c.layer(name, p)
	if err == nil {
		l.tenant = true
	}
	return l, err
}

func compileLayer(name string, p Policy) (*Layer, error) {
	c, err := NewCompiler()
	if err != nil {
		return nil, err
	}
	return c.layer(name, p)
}

func (c *Compiler) layer(name string, p Policy) (*Layer, error) {
	l := &Layer{
		name: name, policy: p, rules: make([]rule, len(p.Rules)),
		bySubject: make(map[subjectScope][]int32), roles: make(map[string][]Binding),
	}
	compiled := make(map[string]condition)
	for i, r := range p.Rules {
		cond, ok := compiled[r.Condition]
		if !ok {
			var err error
			if cond, err = c.compile(r.Condition); err != nil {
				return nil, fmt.Errorf("authz: rule %s: %w", r.ID, err)
			}
			if compiled[r.Condition] = cond; len(compiled) > MaxConditions {
				return nil, fmt.Errorf("authz: more than %d different conditions", MaxConditions)
			}
		}
		l.rules[i] = rule{Rule: r, layer: l, at: i, cond: cond}
		key := subjectScope{r.Subject, r.Scope}
		l.bySubject[key] = append(l.bySubject[key], int32(i))
	}
	for _, b := range p.Bindings {
		l.roles[b.Member] = append(l.roles[b.Member], b)
	}
	return l, nil
}

// candidates appends the rules that may apply to a resource of tenant own for a
// caller of tenant dom with the given principals, in no order.
func (l *Layer) candidates(out []*rule, principals map[string]struct{}, dom, own string, act string, res Resource) []*rule {
	if l == nil {
		return out
	}
	scopes := [3]string{ScopeAny, own, ScopeOwn}
	n := 2
	if dom == own {
		n = 3
	}
	for p := range principals {
		for i, scope := range scopes[:n] {
			if i == 1 && (own == ScopeAny || own == ScopeOwn) {
				continue // no tenant has this name
			}
			for _, at := range l.bySubject[subjectScope{p, scope}] {
				if r := &l.rules[at]; matches(act, r.Action) && matches(res.Type, r.Type) && matches(res.ID, r.Resource) {
					out = append(out, r)
				}
			}
		}
	}
	return out
}

// grow adds to names every role that they have in the tenant by the layers'
// bindings, directly or through other roles.
func grow(names map[string]struct{}, tenant string, layers ...*Layer) {
	queue := make([]string, 0, len(names))
	for n := range names {
		queue = append(queue, n)
	}
	for len(queue) > 0 {
		member := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, l := range layers {
			if l == nil {
				continue
			}
			for _, b := range l.roles[member] {
				if _, has := names[b.Role]; !has && (b.Tenant == "*" || b.Tenant == tenant) {
					names[b.Role] = struct{}{}
					queue = append(queue, b.Role)
				}
			}
		}
	}
}

// matches reports whether v is one of the names in pattern, which are joined by
// "|"; one that ends in * matches every text that begins so.
func matches(v, pattern string) bool {
	for {
		name, rest, more := strings.Cut(pattern, "|")
		if before, ok := strings.CutSuffix(name, "*"); v == name || ok && strings.HasPrefix(v, before) {
			return true
		}
		if !more {
			return false
		}
		pattern = rest
	}
}

// within reports whether a caller of tenant dom is within a rule's scope for a
// resource of tenant own.
func within(dom, own, scope string) bool {
	switch scope {
	case ScopeAny:
		return true
	case ScopeOwn:
		return dom == own
	default:
		return own == scope
	}
}
