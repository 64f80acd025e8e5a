package catalog

import (
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/split"
)

// Experiment is one that runs. It is not changed once made.
type Experiment struct {
	Name string
	// Arms are in the registry's order, the control first; empty where there is only
	// a shadow.
	Arms []Arm
	// Shadow is nil when nothing is copied.
	Shadow *Shadow

	rule     split.Experiment
	division *Division
}

// Shadow is what is copied of a model's traffic for another version.
type Shadow struct {
	// Experiment is the one that it belongs to, or "" where it is a rollout's. Arm is
	// what a rollout's copies are counted for, of Model.
	Experiment, Arm string
	Model           *Model
	Version         *Version
	// Share is in millionths of the requests.
	Share uint32
	// Requests and Tokens are how many there may be a minute; 0 is no limit.
	Requests int32
	Tokens   int64

	salt string
}

// readExperiments reads those that run. One that names what is not there, or whose
// ranges are not whole, is left out as a whole: half of it would be another one.
func (m *Model) readExperiments(list []*registryv1.Experiment) {
	for _, e := range list {
		if e.GetState() != registryv1.ExperimentState_EXPERIMENT_STATE_RUNNING {
			continue
		}
		if one := m.readExperiment(e); one != nil {
			m.Experiments = append(m.Experiments, one)
		}
	}
}

func (m *Model) readExperiment(e *registryv1.Experiment) *Experiment {
	out := &Experiment{Name: e.GetName(), rule: split.Experiment{
		Salt: e.GetSalt(), LayerSalt: e.GetLayerSalt(), Sticky: sticky(e.GetStickyBy()),
		Conditions: conditions(e.GetTargeting()), Overrides: make(map[split.Tester]int, len(e.GetOverrides())),
	}}
	names := make(map[string]int, len(e.GetArms()))
	for i, a := range e.GetArms() {
		v := m.named(a.GetVersion(), a.GetAlias())
		if v == nil || a.GetWeight() < 0 {
			return nil
		}
		out.Arms = append(out.Arms, Arm{Name: a.GetName(), Version: v, Weight: uint32(a.GetWeight()), Prompt: a.GetPrompt()})
		names[a.GetName()] = i
	}
	out.division = divided(e)
	for _, o := range e.GetOverrides() {
		if arm, ok := names[o.GetArm()]; ok {
			out.rule.Overrides[split.Tester{Tenant: o.GetTenant(), Subject: o.GetSubject()}] = arm
		}
	}
	if s := e.GetShadow(); s != nil {
		out.Shadow = &Shadow{
			Experiment: e.GetName(), Model: m, Version: m.named(s.GetVersion(), s.GetAlias()), Share: uint32(max(0, s.GetShare())),
			Requests: s.GetRequestsPerMinute(), Tokens: s.GetTokensPerMinute(), salt: e.GetSalt() + shadowSalt,
		}
		if out.Shadow.Version == nil {
			return nil
		}
	}
	if !readRanges(&out.rule, e) {
		return nil
	}
	return out
}

// shadowSalt goes after an experiment's salt where the share of a shadow is
// decided, so that it is independent of the arms.
const shadowSalt = "/shadow"

// named returns the version that an arm names by number or by alias, or nil.
func (m *Model) named(number int32, alias string) *Version {
	if alias != "" {
		return m.Aliases[alias]
	}
	return m.Number(number)
}

func sticky(by registryv1.StickyBy) split.Sticky {
	switch by {
	case registryv1.StickyBy_STICKY_BY_SESSION:
		return split.BySession
	case registryv1.StickyBy_STICKY_BY_TENANT:
		return split.ByTenant
	case registryv1.StickyBy_STICKY_BY_REQUEST:
		return split.ByRequest
	case registryv1.StickyBy_STICKY_BY_USER, registryv1.StickyBy_STICKY_BY_UNSPECIFIED:
	}
	return split.ByUser
}

func conditions(t *registryv1.Targeting) []split.Condition {
	var out []split.Condition
	for _, c := range t.GetConditions() {
		one := split.Condition{Header: c.GetHeader(), Negated: c.GetNegated(), Values: make(map[string]bool, len(c.GetValues()))}
		switch c.GetAttribute() {
		case registryv1.Attribute_ATTRIBUTE_ROLE:
			one.Attribute = split.Role
		case registryv1.Attribute_ATTRIBUTE_HEADER:
			one.Attribute = split.Header
		case registryv1.Attribute_ATTRIBUTE_TENANT, registryv1.Attribute_ATTRIBUTE_UNSPECIFIED:
			one.Attribute = split.Tenant
		}
		for _, v := range c.GetValues() {
			one.Values[v] = true
		}
		out = append(out, one)
	}
	return out
}

// readRanges reports whether every point meets an arm.
func readRanges(rule *split.Experiment, e *registryv1.Experiment) bool {
	var at int32
	for _, r := range e.GetArmRanges() {
		if r.GetStart() != at || r.GetEnd() <= at || r.GetArm() < 0 || int(r.GetArm()) >= len(e.GetArms()) {
			return false
		}
		at = r.GetEnd()
		rule.Arms = append(rule.Arms, split.Range{End: uint32(at), Arm: int(r.GetArm())})
	}
	if len(e.GetArms()) > 0 && at != split.Total {
		return false
	}
	var last, points int32
	for _, r := range e.GetLayerRanges() {
		if r.GetStart() < last || r.GetEnd() <= r.GetStart() || r.GetEnd() > split.Total {
			return false
		}
		last, points = r.GetEnd(), points+r.GetEnd()-r.GetStart()
		rule.Layer = append(rule.Layer, split.Span{Start: uint32(r.GetStart()), End: uint32(last)})
	}
	if points == split.Total {
		rule.Layer = nil // no need to look
	}
	return points > 0 || len(e.GetArms()) == 0
}

// decide returns what the experiments make of a request for the model's name: the
// first that is for the subject decides. Separately, the first shadow that takes
// the request gets a copy.
func (m *Model) decide(who *split.Subject) (Target, bool) {
	var t Target
	for _, e := range m.Experiments {
		if t.Version == nil {
			if i := e.rule.Decide(who); i >= 0 {
				t.Version, t.Arm, t.Prompt, t.Experiment = e.Arms[i].Version, e.Arms[i].Name, e.Arms[i].Prompt, e.Name
				if !e.rule.Overridden(who) {
					t.Division, t.Key = e.division, e.rule.Key(who)
				}
			}
		}
		if e.Shadow != nil && t.Shadow == nil && e.rule.For(who) && split.Point(e.Shadow.salt, who.Request) < e.Shadow.Share {
			t.Shadow = e.Shadow
		}
	}
	if c := m.Copied; c != nil && t.Shadow == nil && split.Point(c.salt, who.Request) < c.Share {
		t.Shadow = c
	}
	return t, t.Version != nil
}
