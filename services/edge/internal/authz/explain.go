package authz

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"

	"github.com/poterne/poterne/pkg/identity"
)

// Question is a request that nobody makes: to test policies by.
type Question struct {
	Caller   identity.Caller
	Action   string
	Resource Resource
	About    About
	Facts    Facts
	// Models finds what is known of models; nil: nothing is.
	Models func(name, reference string) (*ModelFacts, error)
}

func (q Question) ask() ask {
	return ask{caller: q.Caller, action: q.Action, res: q.Resource, about: q.About, find: func() Facts { return q.Facts }, models: q.Models}
}

// Decide says how the question would be decided.
func (s *Snapshot) Decide(q Question) Decision {
	r := q.ask()
	known := s.prepare(r) // remembered answers are for requests
	var cost uint64
	d := s.decideEach(r, known, func(a *asker) Decision {
		d := s.judge(a, known.rules)
		cost += a.cost
		return d
	})
	d.Cost = cost
	return d
}

// Explanation is why a question is decided so.
type Explanation struct {
	Decision Decision
	// Reason is why, in one sentence.
	Reason string
	Roles  []RoleOrigin
	// AsksModels says that a rule asks for what is known of models.
	AsksModels bool
	// Rules is those about the resource and the action, the ones that apply first.
	Rules []RuleExplanation
}

// RoleOrigin is where a caller has a role from.
type RoleOrigin struct{ Role, Origin string }

// RuleExplanation is why a rule applies, or does not.
type RuleExplanation struct {
	Rule
	// Name is the rule's in the audit trail.
	Name string
	// Tenant says that it is of the tenant's own policy.
	Tenant  bool
	Applies bool
	// Missing is why it does not.
	Missing string
	// Values is what the condition's variables are.
	Values map[string]string
}

// maxExplained bounds the rules in an explanation.
const maxExplained = 100

// Explain says why a question is decided so.
func (s *Snapshot) Explain(q Question) Explanation {
	out := Explanation{Decision: s.Decide(q)}
	r := q.ask()
	a := r.asker(s.standing(r.caller))
	if a.findModel(); a.facet.model != nil && len(a.facet.model.Versions) > 0 && r.res.Type == typeModel {
		a.facet.version = &a.facet.model.Versions[0] // the others are told by their decisions
	}
	if r.about.Class != nil {
		a.facet.class = *r.about.Class
	}
	out.Roles = s.origins(a.standing)
	for _, l := range []*Layer{s.layers.Base, s.layers.Platform, s.layers.Tenants[q.Caller.Tenant]} {
		if l == nil || l.tenant && q.Caller.Tenant != q.Resource.Tenant {
			continue
		}
		for i := range l.rules {
			rule := &l.rules[i]
			if matches(r.action, rule.Action) && matches(r.res.Type, rule.Type) && matches(r.res.ID, rule.Resource) {
				out.Rules = append(out.Rules, a.explain(rule))
				out.AsksModels = out.AsksModels || rule.cond.need&(needLabels|needVersion) != 0
			}
		}
	}
	slices.SortStableFunc(out.Rules, func(a, b RuleExplanation) int { return cmp.Compare(number(b.Applies), number(a.Applies)) })
	out.Rules = out.Rules[:min(len(out.Rules), maxExplained)]
	out.Reason = reason(out)
	return out
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (a *asker) explain(r *rule) RuleExplanation {
	e := RuleExplanation{Rule: r.Rule, Name: r.name(), Tenant: r.tenantOnly(), Values: make(map[string]string)}
	for _, name := range r.cond.uses {
		if of, ok := a.names[name]; ok {
			e.Values[name] = clip(valueText(of(a)))
		}
	}
	all := a.all
	if r.tenantOnly() {
		all = a.inTenant
	}
	if _, has := all[r.Subject]; !has {
		e.Missing = "the caller is not " + r.Subject
		return e
	}
	if !within(a.caller.Tenant, a.res.Tenant, r.Scope) {
		e.Missing = fmt.Sprintf("it is about resources of %s, not of the tenant %s", r.Scope, a.res.Tenant)
		return e
	}
	ok, err := a.holds(r)
	switch {
	case err != nil:
		e.Missing = "its condition cannot be judged: " + strings.ReplaceAll(err.Error(), "authz: ", "")
	case !ok:
		e.Missing = "its condition is false"
	default:
		e.Applies = true
	}
	return e
}

func valueText(v any) string {
	if err, ok := v.(*types.Err); ok {
		return "not known: " + strings.TrimPrefix(err.Error(), "authz: ")
	}
	return fmt.Sprint(v)
}

// clip bounds what an explanation tells of a value.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func reason(e Explanation) string {
	d := e.Decision
	switch {
	case d.Failure != nil:
		return "It is refused, since " + strings.ReplaceAll(d.Failure.Error(), "authz: ", "") + "."
	case d.Allowed:
		return "The rule " + d.Rule + " allows it, and no rule denies it."
	case d.Rule != "":
		return "The rule " + d.Rule + " denies it, which overrides every allow."
	case slices.ContainsFunc(e.Rules, func(r RuleExplanation) bool { return r.Effect == EffectAllow }):
		return "No rule that applies allows it; those that would are listed with what is missing."
	default:
		return "No rule allows anybody this action on this resource."
	}
}

// origins says where a caller has roles from.
func (s *Snapshot) origins(st *standing) []RoleOrigin {
	var out []RoleOrigin
	own := s.layers.Tenants[st.caller.Tenant]
	for name := range st.inTenant {
		if !strings.HasPrefix(name, rolePrefix) {
			continue
		}
		if slices.Contains(st.caller.Principals, name) {
			out = append(out, RoleOrigin{name, "the credentials"})
			continue
		}
		for _, l := range []*Layer{s.layers.Base, s.layers.Platform, own} {
			if l == nil {
				continue
			}
			for _, b := range l.policy.Bindings {
				if _, has := st.inTenant[b.Member]; has && b.Role == name && (b.Tenant == "*" || b.Tenant == st.caller.Tenant) {
					out = append(out, RoleOrigin{name, b.Member + " by " + l.name})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b RoleOrigin) int {
		return cmp.Or(strings.Compare(a.Role, b.Role), strings.Compare(a.Origin, b.Origin))
	})
	return out
}
