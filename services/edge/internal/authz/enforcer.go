package authz

import (
	"errors"
	"strconv"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
)

// newEnforcer returns Casbin's enforcer for the model and some rules. It asks
// conditions, and who has which roles, of the asker that it is given.
func newEnforcer(m model.Model, rules []*rule) (*casbin.Enforcer, error) {
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, err
	}
	// The arguments are those that model.conf gives; with others, texts are empty
	// and match nothing.
	e.AddFunction("matches", func(args ...any) (any, error) { return matches(text(args, 0), text(args, 1)), nil })
	e.AddFunction("within", func(args ...any) (any, error) { return within(text(args, 0), text(args, 1), text(args, 2)), nil })
	e.AddFunction("member", func(args ...any) (any, error) {
		a, r, err := argued(args, rules, 2)
		if err != nil {
			return nil, err
		}
		all := a.all
		if r.tenantOnly() {
			all = a.inTenant
		}
		_, ok := all[text(args, 1)]
		return ok, nil
	})
	e.AddFunction("holds", func(args ...any) (any, error) {
		a, r, err := argued(args, rules, 1)
		if err != nil {
			return nil, err
		}
		ok, err := a.holds(r)
		if ok || err != nil {
			a.matched = append(a.matched, r)
		}
		return ok, err
	})
	lines := make([][]string, len(rules))
	for i, r := range rules {
		lines[i] = []string{r.Subject, r.Scope, r.Type, r.Resource, r.Action, r.Effect, strconv.Itoa(i)}
	}
	if _, err := e.AddPolicies(lines); err != nil {
		return nil, err
	}
	return e, nil
}

func text(args []any, i int) string {
	if i >= len(args) {
		return ""
	}
	s, _ := args[i].(string)
	return s
}

// argued returns the asker and the rule, of which the latter's place is argument
// at.
func argued(args []any, rules []*rule, at int) (*asker, *rule, error) {
	if len(args) > 0 {
		if a, ok := args[0].(*asker); ok {
			if i, err := strconv.Atoi(text(args, at)); err == nil && i >= 0 && i < len(rules) {
				return a, rules[i], nil
			}
		}
	}
	return nil, nil, errors.New("authz: the model does not say who asks, or by which rule")
}
