package authz

import (
	"fmt"
	"slices"
	"strings"

	"github.com/casbin/govaluate"
)

// conditionVariables are what a condition may speak of. They are plain texts
// and lists of texts: an expression can then reach no method of ours, which
// Casbin's own eval() would let it do.
func conditionVariables() []string {
	return []string{"tenant", "subject", "principals", "platform_tenant", "resource_tenant", "resource_type", "resource_id", "action"}
}

// condition is an expression that is compiled once, such as
// `resource_id == subject` or `'group:ops' in principals`.
type condition struct {
	always bool
	expr   *govaluate.EvaluableExpression
}

func compileCondition(text string) (condition, error) {
	if text == "true" {
		return condition{always: true}, nil
	}
	expr, err := govaluate.NewEvaluableExpression(text)
	if err != nil {
		return condition{}, fmt.Errorf("condition %q: %w", text, err)
	}
	known := conditionVariables()
	for _, t := range expr.Tokens() {
		//exhaustive:ignore
		switch t.Kind {
		case govaluate.FUNCTION, govaluate.ACCESSOR, govaluate.TIME, govaluate.MODIFIER, govaluate.UNKNOWN:
			return condition{}, fmt.Errorf("condition %q: %v is not allowed", text, t.Value)
		case govaluate.VARIABLE:
			if name, _ := t.Value.(string); !slices.Contains(known, name) {
				return condition{}, fmt.Errorf("condition %q: %q is not one of %s", text, name, strings.Join(known, ", "))
			}
		}
	}
	return condition{expr: expr}, nil
}

// holds evaluates the condition. An error means that the rule cannot be
// judged; the caller must then refuse, whichever the rule's effect.
func (c condition) holds(vars map[string]any) (bool, error) {
	if c.always {
		return true, nil
	}
	v, err := c.expr.Evaluate(vars)
	if err != nil {
		return false, fmt.Errorf("authz: evaluate %q: %w", c.expr.String(), err)
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("authz: %q is not true or false", c.expr.String())
	}
	return b, nil
}
