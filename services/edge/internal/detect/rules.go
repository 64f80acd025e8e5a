package detect

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/poterne/poterne/pkg/config"
)

// Side is which way a text goes.
type Side string

// The sides.
const (
	// Request is what a caller sends to a model.
	Request Side = "request"
	// Passage is what a collection adds to it. A passage in which something blocks
	// is left out.
	Passage Side = "passage"
	// Answer is what the model says.
	Answer Side = "answer"
)

// classInjection begins the kinds that concern what a model is asked; nothing is
// redacted of them for a policy's sake.
const classInjection = "injection/"

// Config is the section "detectors".
type Config struct {
	// Rules say what is looked for, and what is done; of several about a kind the
	// first decides. What no rule is about is not looked for.
	Rules []Rule `yaml:"rules"`
}

// Rule says what to do about some kinds.
type Rule struct {
	// Kinds are names such as pii/email, or patterns: secret/*, *.
	Kinds []string `yaml:"kinds"`
	// On are the sides: request, passage, answer; none: all.
	On []Side `yaml:"on"`
	// Tenants and Models are whose requests, and to what, the rule is about; names
	// of models may end in *. None: all.
	Tenants []string `yaml:"tenants"`
	Models  []string `yaml:"models"`
	// Action is allow, redact, block, or off: not looked for.
	Action Action `yaml:"action"`
}

// Off is the action of a rule that keeps those after it from its kinds.
const Off Action = "off"

// The bounds on rules.
const (
	maxRules = 64
	maxNames = 256
)

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(len(c.Rules) <= maxRules, prefix+".rules", "must be at most %d, not %d", maxRules, len(c.Rules))
	known := Kinds(All())
	for i, r := range c.Rules {
		at := fmt.Sprintf("%s.rules[%d]", prefix, i)
		p.Check(len(r.Kinds) > 0, at+".kinds", "must not be empty")
		for _, pattern := range r.Kinds {
			p.Check(slices.ContainsFunc(known, func(k Kind) bool { return matches(pattern, string(k)) }), at+".kinds",
				"%q is no kind: they are %s", pattern, joined(known))
		}
		for _, side := range r.On {
			p.Check(side == Request || side == Passage || side == Answer, at+".on", "must hold request, passage or answer, got %q", side)
		}
		p.Check(slices.Contains([]Action{Allow, Redact, Block, Off}, r.Action), at+".action",
			"must be allow, redact, block or off, got %q", r.Action)
		p.Check(len(r.Tenants) <= maxNames && len(r.Models) <= maxNames, at, "must name at most %d tenants and models", maxNames)
	}
}

// Kinds returns the kinds that the detectors find, in order.
func Kinds(detectors []Detector) []Kind {
	var out []Kind
	for _, d := range detectors {
		out = append(out, d.Kinds()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func joined(kinds []Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

// matches reports whether a kind is of a pattern; * alone is of every kind.
func matches(pattern, kind string) bool {
	ok, err := path.Match(pattern, kind)
	return pattern == "*" || err == nil && ok
}

// maxGuards bounds the guards that are kept.
const maxGuards = 256

// Rules are what a configuration says, ready to be asked. They are safe for
// concurrent use.
type Rules struct {
	rules     []Rule
	detectors []Detector
	kinds     []Kind

	mu     sync.RWMutex
	guards map[question]*Guard
}

// question is what a guard depends on: which of the rules are about the request.
type question struct {
	rules  uint64 // a bit for each
	side   Side
	redact bool
}

// NewRules returns the rules of c over the detectors.
func NewRules(c Config, detectors []Detector) *Rules {
	return &Rules{rules: c.Rules, detectors: detectors, kinds: Kinds(detectors), guards: make(map[question]*Guard)}
}

// For returns the guard of one side of a request of a tenant to a model, nil when
// nothing is to be looked for. redact asks that secrets and personal data be
// redacted whatever the rules say, except where they block.
func (r *Rules) For(side Side, tenant, model string, redact bool) *Guard {
	if len(r.rules) == 0 && !redact {
		return nil
	}
	q := question{side: side, redact: redact}
	for i, rule := range r.rules {
		if rule.about(side, tenant, model) {
			q.rules |= 1 << i
		}
	}
	if q.rules == 0 && !redact {
		return nil
	}
	r.mu.RLock()
	g, ok := r.guards[q]
	r.mu.RUnlock()
	if ok {
		return g
	}
	g = r.guard(q)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.guards) >= maxGuards {
		clear(r.guards)
	}
	r.guards[q] = g
	return g
}

func (r *Rules) guard(q question) *Guard {
	actions := make(map[Kind]Action)
	for _, k := range r.kinds {
		action := Off
		for i, rule := range r.rules {
			if q.rules&(1<<i) != 0 && slices.ContainsFunc(rule.Kinds, func(p string) bool { return matches(p, string(k)) }) {
				action = rule.Action
				break
			}
		}
		if q.redact && action != Block && !strings.HasPrefix(string(k), classInjection) {
			action = Redact
		}
		if action != Off {
			actions[k] = action
		}
	}
	if len(actions) == 0 {
		return nil
	}
	return newGuard(r.detectors, actions)
}

func (r Rule) about(side Side, tenant, model string) bool {
	if len(r.On) > 0 && !slices.Contains(r.On, side) {
		return false
	}
	if len(r.Tenants) > 0 && !slices.Contains(r.Tenants, tenant) {
		return false
	}
	name, _, _ := strings.Cut(model, "@")
	return len(r.Models) == 0 || slices.ContainsFunc(r.Models, func(m string) bool {
		before, open := strings.CutSuffix(m, "*")
		return m == name || open && strings.HasPrefix(name, before)
	})
}
