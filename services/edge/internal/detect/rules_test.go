package detect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/config"
)

func TestFirstRuleDecides(t *testing.T) {
	r := NewRules(Config{Rules: []Rule{
		{Kinds: []string{"pii/email"}, Tenants: []string{"acme"}, Action: Allow},
		{Kinds: []string{"pii/phone"}, Models: []string{"local-*"}, Action: Off},
		{Kinds: []string{"pii/*"}, On: []Side{Request}, Action: Redact},
		{Kinds: []string{"*"}, On: []Side{Answer}, Tenants: []string{"acme"}, Action: Block},
	}}, All())
	for _, c := range []struct {
		side          Side
		tenant, model string
		redact        bool
		kind          Kind
		want          Action
	}{
		{Request, "acme", "m", false, Email, Allow},
		{Request, "acme", "m", true, Email, Redact},
		{Request, "other", "m", false, Email, Redact},
		{Request, "other", "local-7b@v3", false, Phone, ""},
		{Request, "other", "m", false, Phone, Redact},
		{Request, "other", "local-7b@v3", true, Phone, Redact},
		{Request, "other", "m", false, JWT, ""},
		{Answer, "acme", "m", false, JWT, Block},
		{Answer, "acme", "m", true, JWT, Block},
		{Answer, "other", "m", true, JWT, Redact},
		{Answer, "other", "m", true, Override, ""},
	} {
		g := r.For(c.side, c.tenant, c.model, c.redact)
		var got Action
		if g != nil {
			got = g.actions[c.kind]
		}
		if got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if r.For(Answer, "other", "m", false) != nil || NewRules(Config{}, All()).For(Request, "t", "m", false) != nil {
		t.Error("something is looked for that no rule names")
	}
}

func TestGuardsAreBounded(t *testing.T) {
	var c Config
	for i := range 12 {
		c.Rules = append(c.Rules, Rule{Kinds: []string{"*"}, Tenants: []string{fmt.Sprint(i), "all"}, Models: []string{fmt.Sprintf("m%d*", i)}, Action: Allow})
	}
	r := NewRules(c, All()[:1])
	for i := range 1000 {
		r.For(Request, fmt.Sprint(i%12), fmt.Sprintf("m%d", i%12), i%2 == 0)
	}
	if len(r.guards) > maxGuards {
		t.Errorf("%d guards", len(r.guards))
	}
}

func TestValidate(t *testing.T) {
	for name, rule := range map[string]Rule{
		"an unknown kind":   {Kinds: []string{"pii/emial"}, Action: Redact},
		"no kind":           {Action: Redact},
		"an unknown side":   {Kinds: []string{"*"}, On: []Side{"both"}, Action: Redact},
		"an unknown action": {Kinds: []string{"*"}, Action: "mask"},
	} {
		var p config.Problems
		Config{Rules: []Rule{rule}}.Validate(&p, "detectors")
		if err := p.Err(); err == nil || !strings.Contains(err.Error(), "detectors.rules[0]") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var p config.Problems
	Config{Rules: []Rule{{Kinds: []string{"secret/*"}, On: []Side{Request, Passage, Answer}, Action: Off}}}.Validate(&p, "detectors")
	if p.Err() != nil {
		t.Error(p.Err())
	}
}
