package oidc

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/poterne/poterne/pkg/identity"
)

// The bounds of what a token says of its subject.
const (
	maxExpressionBytes = 1024
	maxRoles           = 16
	maxGroups          = 512
	// expressionCost bounds what an expression may do to the largest token.
	expressionCost = 10_000
)

// mapping makes callers of claims. It is safe for concurrent use.
type mapping struct {
	tenant, subject, roles, groups cel.Program
}

func newMapping(c MappingConfig) (*mapping, error) {
	env, err := cel.NewEnv(cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)))
	if err != nil {
		return nil, fmt.Errorf("make the expressions' environment: %w", err)
	}
	var m mapping
	for _, e := range []struct {
		name, text string
		into       *cel.Program
	}{{"tenant", c.Tenant, &m.tenant}, {"subject", c.Subject, &m.subject}, {"roles", c.Roles, &m.roles}, {"groups", c.Groups, &m.groups}} {
		if len(e.text) > maxExpressionBytes {
			return nil, fmt.Errorf("%s: the expression is longer than %d bytes", e.name, maxExpressionBytes)
		}
		ast, issues := env.Compile(e.text)
		if err := issues.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
		if *e.into, err = env.Program(ast, cel.CostLimit(expressionCost)); err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return &m, nil
}

// errNobody says that claims name no tenant or no subject that could be one.
var errNobody = errors.New("the token's claims name no tenant and subject")

// caller returns whom claims speak of.
func (m *mapping) caller(claims map[string]any) (identity.Caller, error) {
	tenant, subject := one(m.tenant, claims), one(m.subject, claims)
	if !tenantForm.MatchString(tenant) || !subjectForm.MatchString(subject) {
		return identity.Caller{}, errNobody
	}
	roles, groups := many(m.roles, claims, roleForm, maxRoles), many(m.groups, claims, groupForm, maxGroups)
	return identity.NewCaller(tenant, subject, roles, groups), nil
}

// one evaluates to a text; empty where the claims have none.
func one(p cel.Program, claims map[string]any) string {
	out, _, err := p.Eval(map[string]any{"claims": claims})
	if err != nil {
		return "" // a claim that is not there is an error too
	}
	text, _ := out.Value().(string)
	return text
}

// many evaluates to at most n names of the form; others are left out. A text is
// cut at its spaces, as OAuth's scope is.
func many(p cel.Program, claims map[string]any, of form, n int) (names []string) {
	out, _, err := p.Eval(map[string]any{"claims": claims})
	if err != nil {
		return nil
	}
	var all []string
	if text, ok := out.Value().(string); ok {
		all = strings.Fields(text)
	} else {
		all = texts(out)
	}
	for _, s := range all {
		if of.MatchString(s) && len(names) < n {
			names = append(names, s)
		}
	}
	return names
}

// texts returns the texts of a list.
func texts(v ref.Val) (out []string) {
	list, ok := v.(interface {
		Size() ref.Val
		Get(index ref.Val) ref.Val
	})
	if !ok || v.Type() != types.ListType {
		return nil
	}
	size, _ := list.Size().Value().(int64)
	for i := range size {
		if text, ok := list.Get(types.Int(i)).Value().(string); ok {
			out = append(out, text)
		}
	}
	return out
}
