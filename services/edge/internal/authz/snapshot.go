package authz

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// Layers is the policies that hold together.
type Layers struct {
	// Base comes with the program; nil when the platform's own policy says that it
	// goes without.
	Base *Layer
	// Platform is the platform's own policy; nil when there is none.
	Platform *Layer
	// Tenants is the tenants' own policies, by tenant. One is asked only about its
	// tenant's callers and resources, and its roles count for its own rules only,
	// so that no tenant can widen anything for others, or undo a deny.
	Tenants map[string]*Layer
}

// enforcersKept is how many sets of rules a snapshot keeps an enforcer for.
const enforcersKept = 512

// Snapshot is policies ready to be asked. What it says never changes. It is safe
// for concurrent use.
type Snapshot struct {
	layers   Layers
	platform string
	names    map[string]func(a *asker) any
	model    model.Model
	// enforcers holds one for each set of rules that may apply: Casbin asks every
	// rule that it has.
	enforcers *lru.Cache[string, *casbin.Enforcer]
	answers   *lru.Cache[question, *answer]
	detailed  *lru.Cache[detail, Decision]
}

// Decision is what the policies say about one request.
type Decision struct {
	Allowed bool
	// Policy names the policies that were asked, and Rule the rule that decided;
	// it is empty where none did.
	Policy, Rule string
	Obligations  obligation.Set
	// Failure says that a rule could not be judged, or that rules ask for what
	// cannot be had together; such a request is refused.
	Failure error
	// Cost is what the conditions took, in CEL's units; 0 for what was remembered.
	Cost uint64
	// Why says which kind of rule refused; empty for what is allowed.
	Why Why
	// Versions is what is said of each version that may answer, where that makes a
	// difference; nil where it makes none.
	Versions []VersionVerdict
	// Classes is which documents may be seen; nil for all.
	Classes *obligation.Classes
}

// question is everything that a decision depends on, besides the policies and
// what their conditions ask.
type question struct {
	principals, subject, dom, typ, id, own, act string
}

// answer is what is known about a question: the rules that may apply, and, when
// these depend on nothing else, the decision.
type answer struct {
	standing *standing
	rules    []*rule
	need     fact
	decision Decision
}

// detail is a question with what the conditions of its rules ask.
type detail struct {
	question

	facts string
}

// maxCachedID keeps long names from outside out of the cache.
const maxCachedID = 256

// NewSnapshot returns layers ready to be asked, remembering so many decisions.
func NewSnapshot(platform string, layers Layers, cacheSize int) (*Snapshot, error) {
	s := &Snapshot{layers: layers, platform: platform, names: make(map[string]func(a *asker) any)}
	for _, v := range variables() {
		s.names[v.name] = v.of
	}
	var err error
	if s.model, err = model.NewModelFromString(modelText); err != nil {
		return nil, fmt.Errorf("authz: read the model: %w", err)
	}
	if s.enforcers, err = lru.New[string, *casbin.Enforcer](enforcersKept); err != nil {
		return nil, fmt.Errorf("authz: make the cache: %w", err)
	}
	if s.answers, err = lru.New[question, *answer](cacheSize); err != nil {
		return nil, fmt.Errorf("authz: make the cache: %w", err)
	}
	if s.detailed, err = lru.New[detail, Decision](cacheSize); err != nil {
		return nil, fmt.Errorf("authz: make the cache: %w", err)
	}
	return s, nil
}

// Version names the policies that are asked about callers of a tenant.
func (s *Snapshot) Version(tenant string) string {
	var names []string
	for _, l := range []*Layer{s.layers.Base, s.layers.Platform, s.layers.Tenants[tenant]} {
		if l != nil {
			name := l.name
			if l == s.layers.Base {
				name += "@" + l.policy.Version
			}
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}

// ask is a request to be judged.
type ask struct {
	caller identity.Caller
	action string
	res    Resource
	about  About
	find   func() Facts
	models func(name, reference string) (*ModelFacts, error)
}

func (r *ask) question() question {
	return question{
		principals: strings.Join(r.caller.Principals, "\n"), subject: r.caller.Subject, dom: r.caller.Tenant,
		typ: r.res.Type, id: r.res.ID, own: r.res.Tenant, act: r.action,
	}
}

// known returns what is known of a question that was asked before, or nil.
func (s *Snapshot) known(q question) *answer {
	known, _ := s.answers.Get(q)
	return known
}

// decide says whether the request is allowed, and by which rule.
func (s *Snapshot) decide(r ask) Decision {
	q := r.question()
	return s.decideKnown(r, q, s.known(q))
}

// decideKnown is decide for the request's question, of which that is known.
func (s *Snapshot) decideKnown(r ask, q question, known *answer) Decision {
	cached := known != nil
	if cached && known.need == 0 {
		return known.decision
	}
	if !cached {
		known = s.prepare(r)
	}
	cacheable := len(q.id) <= maxCachedID && len(q.principals) <= maxCachedPrincipals
	decision := s.decideEach(r, known, func(a *asker) Decision {
		d := detail{question: q}
		remember := cacheable && known.need != 0 && known.need&needUnique == 0 && a.modelErr == nil
		if remember {
			d.facts = a.detail(known.need)
			if decision, ok := s.detailed.Get(d); ok {
				return decision
			}
		}
		decision := s.judge(a, known.rules)
		if remember {
			s.detailed.Add(d, decision)
		}
		return decision
	})
	if !cacheable {
		return decision
	}
	if known.need == 0 {
		known.decision = decision
	}
	if !cached {
		s.answers.Add(q, known)
	}
	return decision
}

// asker is the request as its rules see it.
func (r ask) asker(st *standing) *asker {
	return &asker{standing: st, action: r.action, res: r.res, about: r.about, find: r.find, models: r.models}
}

// decideEach decides a request for each of the ways in which it may be answered,
// where its rules tell these apart.
func (s *Snapshot) decideEach(r ask, known *answer, judge func(a *asker) Decision) Decision {
	a := r.asker(known.standing)
	if known.need&(needLabels|needVersion) != 0 {
		a.findModel()
	}
	switch m := a.facet.model; {
	case known.need&needVersion != 0 && r.res.Type == typeModel && r.res.ID != "" && m != nil:
		return combine(m.Versions, func(v *ModelVersion) Decision {
			one := r.asker(known.standing)
			one.looked, one.facet = true, facet{model: m, version: v}
			return judge(one)
		})
	case known.need&needClass != 0 && kindOf(r.res.Type) == kindCollection:
		if r.about.Class != nil {
			a.facet.class = *r.about.Class
			return judge(a)
		}
		return classify(known.rules, func(class string) Decision {
			one := r.asker(known.standing)
			one.facet.class = class
			return judge(one)
		})
	}
	return judge(a)
}

// maxCachedPrincipals, in bytes, keeps callers of very many groups out of the
// cache.
const maxCachedPrincipals = 16 << 10

// prepare finds the rules that may apply.
func (s *Snapshot) prepare(r ask) *answer {
	st := s.standing(r.caller)
	out := &answer{standing: st, rules: s.candidates(st, r.action, r.res)}
	for _, c := range out.rules {
		out.need |= c.cond.need
	}
	return out
}

// standing is a caller with the roles that the policies give.
func (s *Snapshot) standing(c identity.Caller) *standing {
	st := &standing{caller: c, platform: s.platform, names: s.names, all: map[string]struct{}{identity.Public: {}}}
	for _, p := range c.Principals {
		st.all[p] = struct{}{}
	}
	own := s.layers.Tenants[c.Tenant]
	grow(st.all, c.Tenant, s.layers.Base, s.layers.Platform)
	st.inTenant = st.all
	if own != nil && len(own.roles) > 0 {
		st.inTenant = make(map[string]struct{}, len(st.all))
		for p := range st.all {
			st.inTenant[p] = struct{}{}
		}
		grow(st.inTenant, c.Tenant, own, s.layers.Base, s.layers.Platform)
	}
	return st
}

func (s *Snapshot) candidates(st *standing, action string, res Resource) []*rule {
	dom := st.caller.Tenant
	out := s.layers.Base.candidates(nil, st.all, dom, res.Tenant, action, res)
	out = s.layers.Platform.candidates(out, st.all, dom, res.Tenant, action, res)
	if dom == res.Tenant {
		out = s.layers.Tenants[dom].candidates(out, st.inTenant, dom, res.Tenant, action, res)
	}
	slices.SortFunc(out, func(a, b *rule) int {
		return cmp.Or(cmp.Compare(s.rank(a.layer), s.rank(b.layer)), cmp.Compare(a.at, b.at))
	})
	return out
}

func (s *Snapshot) rank(l *Layer) int {
	switch l {
	case s.layers.Base:
		return 0
	case s.layers.Platform:
		return 1
	default:
		return 2
	}
}

// judge has Casbin decide by the rules that may apply.
func (s *Snapshot) judge(a *asker, rules []*rule) Decision {
	d := s.enforce(a, rules)
	if !d.Allowed {
		d.Why = whyRefused(d, rules)
	}
	return d
}

func (s *Snapshot) enforce(a *asker, rules []*rule) Decision {
	out := Decision{Policy: s.Version(a.caller.Tenant)}
	if len(rules) == 0 {
		return out
	}
	e, err := s.enforcer(rules)
	if err != nil {
		out.Failure = err
		return out
	}
	allowed, err := e.Enforce(a, a.caller.Tenant, a.res.Type, a.res.ID, a.res.Tenant, a.action)
	if err != nil {
		out.Failure = fmt.Errorf("authz: a rule cannot be judged: %w", err)
		if n := len(a.matched); n > 0 {
			out.Rule = a.matched[n-1].name()
		}
		return out
	}
	return conclude(out, allowed, a.matched)
}

// conclude names the rule that decided, and gathers what the rules ask for: the
// strictest of each.
func conclude(out Decision, allowed bool, matched []*rule) Decision {
	for _, r := range matched {
		if r.Effect == EffectDeny {
			out.Rule = r.name()
			return out
		}
	}
	if !allowed || len(matched) == 0 {
		return out
	}
	out.Rule = matched[0].name()
	for _, r := range matched {
		var ok bool
		if out.Obligations, ok = out.Obligations.And(r.Obligations); !ok {
			out.Obligations = obligation.Set{}
			out.Rule = r.name()
			out.Failure = errConflict
			return out
		}
	}
	out.Allowed = true
	return out
}

// enforcer returns one that has exactly these rules.
func (s *Snapshot) enforcer(rules []*rule) (*casbin.Enforcer, error) {
	key := make([]byte, 0, 4*len(rules))
	for _, r := range rules {
		key = append(key, byte(s.rank(r.layer)))
		key = binary.AppendUvarint(key, uint64(r.at))
	}
	// Tenants have rules at the same places.
	name := string(key)
	if last := rules[len(rules)-1]; last.tenantOnly() {
		name += "\x00" + last.layer.name
	}
	if e, ok := s.enforcers.Get(name); ok {
		return e, nil
	}
	e, err := newEnforcer(s.model.Copy(), rules)
	if err != nil {
		return nil, fmt.Errorf("authz: make an enforcer: %w", err)
	}
	s.enforcers.Add(name, e)
	return e, nil
}
