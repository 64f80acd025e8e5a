package filter

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// Parse reads a filter. A blank filter is nil, which passes everything. An
// error is an *Error.
func Parse(filter string) (Node, error) {
	trimmed := strings.TrimSpace(filter)
	if trimmed == "" {
		return nil, nil //nolint:nilnil // no filter and no error
	}
	before, _, _ := strings.Cut(filter, trimmed)
	lead := utf8.RuneCountInString(before)
	if err := checkBounds(trimmed); err != nil {
		err.Column += lead
		return nil, err
	}
	var parser filtering.Parser
	parser.Init(trimmed)
	parsed, err := parser.Parse()
	if err != nil {
		e := mistake(trimmed, err)
		e.Column += lead
		return nil, e
	}
	c := converter{text: trimmed, lead: lead, positions: parsed.GetSourceInfo().GetPositions()}
	return c.node(parsed.GetExpr(), 0)
}

// checkBounds refuses what would make the recursive parser work or recurse too
// much, before it runs.
func checkBounds(s string) *Error {
	if len(s) > MaxBytes {
		return &Error{Column: 1, Message: fmt.Sprintf("the filter is longer than %d bytes", MaxBytes)}
	}
	if !utf8.ValidString(s) {
		return &Error{Column: 1, Message: "the filter is not valid UTF-8"}
	}
	depth, col, opened := 0, 0, 0
	var quote rune
	escaped := false
	for _, r := range s {
		col++
		switch {
		case quote != 0:
			// As the parser's lexer has it: a backslash escapes what follows.
			if r == quote && !escaped {
				quote = 0
			}
			escaped = r == '\\' && !escaped
		case r == '"' || r == '\'':
			quote, opened = r, col
		case r == '(':
			if depth++; depth > MaxDepth {
				return &Error{Column: col, Message: fmt.Sprintf("parentheses are nested deeper than %d", MaxDepth)}
			}
		case r == ')':
			depth--
		}
	}
	if quote != 0 {
		return &Error{Column: opened, Message: "this string is not closed"}
	}
	return nil
}

// converter turns the parser's tree into nodes.
type converter struct {
	text        string
	lead        int
	positions   map[int64]int32
	comparisons int
}

func (c *converter) errorf(e *expr.Expr, format string, args ...any) *Error {
	offset := min(int(c.positions[e.GetId()]), len(c.text))
	return &Error{
		Column:  c.lead + utf8.RuneCountInString(c.text[:offset]) + 1,
		Message: fmt.Sprintf(format, args...),
	}
}

func (c *converter) node(e *expr.Expr, depth int) (Node, error) {
	if depth > MaxComparisons+MaxDepth {
		return nil, c.errorf(e, "the filter is nested too deep")
	}
	call := e.GetCallExpr()
	if call == nil {
		return nil, c.errorf(e, "a comparison such as name = value is expected")
	}
	switch fn := call.GetFunction(); fn {
	case filtering.FunctionAnd, filtering.FunctionFuzzyAnd:
		nodes, err := c.nodes(call.GetArgs(), depth)
		return &And{nodes}, err
	case filtering.FunctionOr:
		nodes, err := c.nodes(call.GetArgs(), depth)
		return &Or{nodes}, err
	case filtering.FunctionNot:
		nodes, err := c.nodes(call.GetArgs(), depth)
		if err != nil {
			return nil, err
		}
		if len(nodes) != 1 {
			return nil, c.errorf(e, "NOT takes one expression")
		}
		return &Not{nodes[0]}, nil
	case string(Equal), string(NotEqual), string(Less), string(LessEqual), string(Greater), string(GreaterEqual), string(Has):
		return c.compare(e, call, Op(fn))
	case functionDistance:
		return nil, c.errorf(e, "distance() must be compared: distance(path, lat, lon) <= metres")
	default:
		return nil, c.errorf(e, "there is no function %q; there are timestamp and distance", wordOf(fn))
	}
}

func (c *converter) nodes(args []*expr.Expr, depth int) ([]Node, error) {
	out := make([]Node, 0, len(args))
	for _, a := range args {
		n, err := c.node(a, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func (c *converter) compare(e *expr.Expr, call *expr.Expr_Call, op Op) (Node, error) {
	if c.comparisons++; c.comparisons > MaxComparisons {
		return nil, c.errorf(e, "there are more than %d comparisons", MaxComparisons)
	}
	if len(call.GetArgs()) != 2 {
		return nil, c.errorf(e, "%s takes a field and a value", op)
	}
	right := call.GetArgs()[1]
	if fn := call.GetArgs()[0].GetCallExpr(); fn.GetFunction() == functionDistance {
		return c.distance(call.GetArgs()[0], fn.GetArgs(), op, right)
	}
	path, err := c.field(call.GetArgs()[0])
	if err != nil {
		return nil, err
	}
	if op == Has && isStar(right) {
		return &Compare{Path: path, Op: Has, Any: true}, nil
	}
	value, err := c.value(right)
	if err != nil {
		return nil, err
	}
	return &Compare{Path: path, Op: op, Value: value}, nil
}

// field reads a path that metadata can have.
func (c *converter) field(e *expr.Expr) (string, error) {
	path, err := c.path(e)
	if err == nil && !ValidPath(path) {
		return "", c.errorf(e, "the name of a field has 1 to %d bytes", MaxPathBytes)
	}
	return path, err
}

// path reads the left side: a name, a quoted name, or names joined by dots.
func (c *converter) path(e *expr.Expr) (string, error) {
	switch {
	case e.GetIdentExpr() != nil:
		return e.GetIdentExpr().GetName(), nil
	case e.GetSelectExpr() != nil:
		outer, err := c.path(e.GetSelectExpr().GetOperand())
		return outer + "." + e.GetSelectExpr().GetField(), err
	case isString(e):
		return e.GetConstExpr().GetStringValue(), nil
	default:
		return "", c.errorf(e, "the name of a field is expected on the left")
	}
}

// value reads the right side.
func (c *converter) value(e *expr.Expr) (Value, error) {
	if id := e.GetIdentExpr(); id != nil {
		switch id.GetName() {
		case "true":
			return BoolValue(true), nil
		case "false":
			return BoolValue(false), nil
		default:
			return StringValue(id.GetName()), nil
		}
	}
	if fn := e.GetCallExpr(); fn.GetFunction() == functionTimestamp {
		return c.timestamp(e, fn.GetArgs())
	}
	switch v := e.GetConstExpr().GetConstantKind().(type) {
	case *expr.Constant_StringValue:
		return StringValue(v.StringValue), nil
	case *expr.Constant_Int64Value:
		return NumberValue(float64(v.Int64Value)), nil
	case *expr.Constant_DoubleValue:
		return NumberValue(v.DoubleValue), nil
	case *expr.Constant_BoolValue:
		return BoolValue(v.BoolValue), nil
	default:
		return Value{}, c.errorf(e, `a string, a number, true or false is expected on the right; quote other values`)
	}
}

func isString(e *expr.Expr) bool {
	_, ok := e.GetConstExpr().GetConstantKind().(*expr.Constant_StringValue)
	return ok
}

// isStar reports the *. The parser makes one constant of * and "*", so the
// string "*" cannot be looked for with a colon.
func isStar(e *expr.Expr) bool {
	return isString(e) && e.GetConstExpr().GetStringValue() == "*"
}
