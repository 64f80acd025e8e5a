package authz

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	lru "github.com/hashicorp/golang-lru/v2"
)

// conditionCost bounds what one condition may do for the largest caller, in
// CEL's units of cost.
const conditionCost = 20_000

// tenantCost bounds what the conditions of a tenant's own policy may do together
// for one request: the gateway is everybody's.
const tenantCost = 5 * conditionCost

var errTenantCost = errors.New("authz: the conditions of the tenant's policy take too long together")

// inNetwork is the function that compares an address with a network.
const inNetwork = "in_network"

// always is the condition that holds without being evaluated.
const always = "true"

// Compiler makes programs of conditions: expressions of CEL, which are typed,
// end by themselves and reach nothing but the variables. Equal conditions, of
// whichever policy and version, are compiled once. It is safe for concurrent use.
type Compiler struct {
	env   *cel.Env
	known *lru.Cache[string, condition]
}

// conditionsKept is how many compiled conditions are kept for other policies and
// versions than the ones that use them.
const conditionsKept = 2 * MaxConditions

// NewCompiler returns a compiler.
func NewCompiler() (*Compiler, error) {
	known, err := lru.New[string, condition](conditionsKept)
	if err != nil {
		return nil, fmt.Errorf("authz: make the cache: %w", err)
	}
	options := []cel.EnvOption{cel.Function(inNetwork,
		cel.Overload("in_network_string_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(func(addr, network ref.Val) ref.Val {
				in, err := inside(addr, network)
				if err != nil {
					return types.NewErr("%v", err)
				}
				return types.Bool(in)
			})))}
	for _, v := range variables() {
		options = append(options, cel.Variable(v.name, v.typ))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("authz: make the conditions' environment: %w", err)
	}
	return &Compiler{env: env, known: known}, nil
}

func inside(addr, network ref.Val) (bool, error) {
	a, _ := addr.Value().(string)
	n, _ := network.Value().(string)
	prefix, err := netip.ParsePrefix(n)
	if err != nil {
		return false, fmt.Errorf("%q is not a network such as 10.0.0.0/8", n)
	}
	ip, err := netip.ParseAddr(a)
	if err != nil {
		return false, errors.New("the address is not known")
	}
	return prefix.Contains(ip.Unmap()), nil
}

// condition is an expression that is compiled once, such as
// `resource_id == subject` or `'group:ops' in principals`. The zero value always
// holds.
type condition struct {
	program cel.Program
	// uses is the names of the variables in it, in order.
	uses []string
	need fact
	// classes is those of documents that it tells apart.
	classes []string
}

func (c *Compiler) compile(text string) (condition, error) {
	if text == always {
		return condition{}, nil
	}
	if known, ok := c.known.Get(text); ok {
		return known, nil
	}
	out, err := c.compileNew(text)
	if err == nil {
		c.known.Add(text, out)
	}
	return out, err
}

func (c *Compiler) compileNew(text string) (condition, error) {
	tree, issues := c.env.Compile(text)
	if err := issues.Err(); err != nil {
		return condition{}, fmt.Errorf("condition %q: %w", text, err)
	}
	if tree.OutputType() != cel.BoolType {
		return condition{}, fmt.Errorf("condition %q is not true or false", text)
	}
	program, err := c.env.Program(tree, cel.CostLimit(conditionCost))
	if err != nil {
		return condition{}, fmt.Errorf("condition %q: %w", text, err)
	}
	out := condition{program: program}
	var wrong error
	ast.PreOrderVisit(tree.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		//exhaustive:ignore
		switch e.Kind() {
		case ast.IdentKind:
			out.uses = append(out.uses, e.AsIdent())
		case ast.CallKind:
			if call := e.AsCall(); call.FunctionName() == inNetwork {
				wrong = firstOf(wrong, literalNetwork(call.Args()[1]))
			}
		}
	}))
	if wrong != nil {
		return condition{}, fmt.Errorf("condition %q: %w", text, wrong)
	}
	if out.classes, wrong = classesIn(tree.NativeRep().Expr()); wrong != nil {
		return condition{}, fmt.Errorf("condition %q: %w", text, wrong)
	}
	slices.Sort(out.uses)
	out.uses = slices.Compact(out.uses)
	for _, v := range variables() {
		if slices.Contains(out.uses, v.name) {
			out.need |= v.need
		}
	}
	return out, nil
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// literalNetwork finds a typing error where a rule is written, not when it is
// asked.
func literalNetwork(e ast.Expr) error {
	if e.Kind() != ast.LiteralKind {
		return nil
	}
	text, _ := e.AsLiteral().Value().(string)
	if _, err := netip.ParsePrefix(text); err != nil {
		return fmt.Errorf("%q is not a network such as 10.0.0.0/8", text)
	}
	return nil
}

// holds evaluates a rule's condition. An error means that the rule cannot be
// judged; the caller must then refuse, whichever the rule's effect.
func (a *asker) holds(r *rule) (bool, error) {
	if r.tenantOnly() && a.spent > tenantCost {
		return false, errTenantCost
	}
	ok, cost, err := r.cond.holds(a)
	a.cost += cost
	if r.tenantOnly() {
		a.spent += cost
	}
	return ok, err
}

// holds evaluates the condition, and says what that took.
func (c condition) holds(a *asker) (ok bool, spent uint64, err error) {
	if c.program == nil {
		return true, 0, nil
	}
	v, details, err := c.program.Eval(a)
	if cost := details.ActualCost(); cost != nil {
		spent = *cost
	} else if err != nil {
		spent = conditionCost // it is not told of one that ended at its bound
	}
	if err != nil {
		return false, spent, err
	}
	b, ok := v.Value().(bool)
	if !ok {
		return false, spent, fmt.Errorf("%s is not true or false", strings.Join(c.uses, ", "))
	}
	return b, spent, nil
}
