package authz

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// The effects of a rule.
const (
	EffectAllow = "allow"
	EffectDeny  = "deny"
)

// The scopes of a rule that are no tenant's name.
const (
	ScopeOwn = "own"
	ScopeAny = "any"
)

// The bounds on a rule.
const (
	maxFieldBytes = 1024
	maxRuleTokens = 1 << 24
)

// Rule says that somebody may, or may not, do something to something. Type,
// Resource and Action are names joined by "|"; one that ends in * stands for every
// text that begins so.
type Rule struct {
	// ID names the rule within its policy.
	ID string
	// Subject is a principal: user:…, group:…, role:…, tenant:… or public.
	Subject string
	// Scope is whose resources: own, any, or a tenant's.
	Scope                  string
	Type, Resource, Action string
	// Condition is an expression of CEL over Variables; "true" for always.
	Condition string
	Effect    string
	// Obligations is what an allow asks for.
	Obligations obligation.Set
}

// Binding gives a role to a member: a principal, or another role.
type Binding struct {
	Member, Role string
	// Tenant is where it holds; * for every tenant.
	Tenant string
}

// Policy is a set of rules and of roles given to members. Its version changes
// with anything in it.
type Policy struct {
	Version  string
	Rules    []Rule
	Bindings []Binding
}

// Roles returns the names of the roles that any rule or binding knows, in order.
func (p Policy) Roles() []string {
	var out []string
	for _, r := range p.Rules {
		out = appendRole(out, r.Subject)
	}
	for _, b := range p.Bindings {
		out = appendRole(appendRole(out, b.Member), b.Role)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

const rolePrefix = "role:"

func appendRole(out []string, principal string) []string {
	if name, ok := strings.CutPrefix(principal, rolePrefix); ok {
		return append(out, name)
	}
	return out
}

// Check says all that is wrong with a rule's form; its condition is not looked at.
func (r Rule) Check() error {
	for _, f := range []string{r.Subject, r.Scope, r.Type, r.Resource, r.Action, r.Condition, r.Effect} {
		if f == "" || len(f) > maxFieldBytes {
			return fmt.Errorf("each field must have 1 to %d bytes", maxFieldBytes)
		}
	}
	var errs []error
	if !isPrincipal(r.Subject) {
		errs = append(errs, fmt.Errorf("%q is not user:…, group:…, role:…, tenant:… or public", r.Subject))
	}
	if !isTenant(r.Scope) { // own and any look like tenants
		errs = append(errs, fmt.Errorf("the scope must be own, any or a tenant, got %q", r.Scope))
	}
	if r.Effect != EffectAllow && r.Effect != EffectDeny {
		errs = append(errs, fmt.Errorf("the effect must be allow or deny, got %q", r.Effect))
	}
	if len(errs) == 0 {
		return r.checkObligations()
	}
	return errors.Join(append(errs, r.checkObligations())...)
}

func (r Rule) checkObligations() error {
	o := r.Obligations
	switch {
	case o == obligation.Set{}:
		return nil
	case r.Effect == EffectDeny:
		return errors.New("a deny has no obligations: they belong to what is allowed")
	case o.MaxTokens < 0 || o.MaxTokens > maxRuleTokens:
		return fmt.Errorf("max_tokens must be from 1 to %d, got %d", maxRuleTokens, o.MaxTokens)
	case len(o.Model) > maxCachedID || strings.ContainsAny(o.Model, " \t\r\n,;"):
		return fmt.Errorf("%.64q is not a model", o.Model)
	default:
		return nil
	}
}

// Check says what is wrong with a binding's form.
func (b Binding) Check() error {
	for _, f := range []string{b.Member, b.Role, b.Tenant} {
		if f == "" || len(f) > maxFieldBytes {
			return fmt.Errorf("each field must have 1 to %d bytes", maxFieldBytes)
		}
	}
	if !isPrincipal(b.Member) || !strings.HasPrefix(b.Role, rolePrefix) {
		return errors.New("a g line is: g, user:…|group:…|role:…|tenant:…, role:…, tenant or *")
	}
	if b.Tenant != "*" && !isTenant(b.Tenant) {
		return fmt.Errorf("the tenant must be a name or *, got %q", b.Tenant)
	}
	return nil
}

// isTenant reports whether a tenant may have this name, as the contract says.
func isTenant(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

func isPrincipal(s string) bool {
	kind, name, ok := strings.Cut(s, ":")
	if !ok {
		return s == "public"
	}
	return name != "" && slices.Contains([]string{"user", "group", "role", "tenant"}, kind)
}

// parseObligations reads the field of a p line: words such as `max_tokens=256
// model=small redact review`.
func parseObligations(text string) (o obligation.Set, err error) {
	for word := range strings.FieldsSeq(text) {
		name, value, given := strings.Cut(word, "=")
		switch {
		case name == "max_tokens" && given:
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil || n < 1 {
				return o, fmt.Errorf("max_tokens must be a positive number, got %.32q", value)
			}
			o.MaxTokens = int32(n)
		case name == "model" && given && value != "":
			o.Model = value
		case name == "redact" && !given:
			o.Redact = true
		case name == "review" && !given:
			o.Review = true
		default:
			return o, fmt.Errorf("%.32q is not max_tokens=N, model=NAME, redact or review", word)
		}
	}
	return o, nil
}
