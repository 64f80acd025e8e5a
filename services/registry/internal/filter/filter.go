// Package filter reads filters over the registry's models and versions, in the
// language of AIP-160. It knows the language and no field; who asks says what a
// field means. Start reading at Parse.
package filter

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// The bounds on a filter.
const (
	MaxBytes       = 4096
	MaxDepth       = 16
	MaxComparisons = 32
)

// Op compares a field with a value.
type Op string

// The operators.
const (
	Equal        Op = "="
	NotEqual     Op = "!="
	Less         Op = "<"
	LessEqual    Op = "<="
	Greater      Op = ">"
	GreaterEqual Op = ">="
	// Has asks whether the field is there; its value is Any.
	Has Op = ":"
)

// Any is the value of a comparison that asks only whether a field is there.
const Any = "*"

// Node is a part of a filter: And, Or, Not or Compare.
type Node interface{ node() }

type (
	// And passes what all of its parts pass.
	And []Node
	// Or passes what one of its parts passes.
	Or []Node
	// Not passes what its part does not.
	Not struct{ Node Node }
	// Compare passes what has such a value in the field. Names of a field in
	// another are joined by dots.
	Compare struct {
		Field string
		Op    Op
		Value string
	}
)

func (And) node()     {}
func (Or) node()      {}
func (Not) node()     {}
func (Compare) node() {}

// Parse reads a filter; nil passes everything. Its error is for the caller.
func Parse(text string) (Node, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil //nolint:nilnil // no filter and no error
	}
	if len(text) > MaxBytes || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return nil, fmt.Errorf("a filter has at most %d bytes of UTF-8", MaxBytes)
	}
	// The parser recurses: too many parentheses are refused before it runs.
	if strings.Count(text, "(") > MaxComparisons {
		return nil, fmt.Errorf("a filter has at most %d parentheses", MaxComparisons)
	}
	var parser filtering.Parser
	parser.Init(text)
	parsed, err := parser.Parse()
	if err != nil {
		return nil, fmt.Errorf("the filter cannot be read: %s", strings.ToValidUTF8(oneLine(reason(err)), "?"))
	}
	var r reader
	n, err := r.node(parsed.GetExpr(), 0)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// located is what each of the parser's errors is. It wraps one for each rule of the
// grammar that it was in, and draws them all; the innermost says what is wrong.
type located interface {
	error
	Position() filtering.Position
	Message() string
}

// reason says what is wrong with a filter and where.
func reason(err error) string {
	var at located
	for next := err; errors.As(next, &at); {
		next = errors.Unwrap(at)
	}
	switch {
	case at == nil:
		return err.Error()
	case errors.Is(err, io.EOF):
		return fmt.Sprintf("something is missing at its end, at character %d", at.Position().Column)
	}
	return fmt.Sprintf("%s, at character %d", at.Message(), at.Position().Column)
}

// oneLine is the parser's error, which it writes over several lines, in one of at
// most 200 bytes.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return s[:min(len(s), 200)]
}

// reader turns the parser's tree into nodes.
type reader struct{ comparisons int }

func (r *reader) node(e *expr.Expr, depth int) (Node, error) {
	if depth > MaxDepth+MaxComparisons {
		return nil, fmt.Errorf("the filter is nested deeper than %d", MaxDepth)
	}
	call := e.GetCallExpr()
	if call == nil {
		return nil, errors.New("a comparison such as engine = \"vllm\" is expected")
	}
	switch call.GetFunction() {
	case filtering.FunctionAnd, filtering.FunctionFuzzyAnd:
		nodes, err := r.nodes(call.GetArgs(), depth)
		return And(nodes), err
	case filtering.FunctionOr:
		nodes, err := r.nodes(call.GetArgs(), depth)
		return Or(nodes), err
	case filtering.FunctionNot:
		nodes, err := r.nodes(call.GetArgs(), depth)
		if err != nil || len(nodes) != 1 {
			return nil, orElse(err, "NOT takes one expression")
		}
		return Not{nodes[0]}, nil
	}
	switch op := Op(call.GetFunction()); op {
	case Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, Has:
		return r.compare(call.GetArgs(), op)
	default:
		return nil, fmt.Errorf("functions such as %s() are not known", call.GetFunction())
	}
}

func orElse(err error, message string) error {
	if err != nil {
		return err
	}
	return errors.New(message)
}

func (r *reader) nodes(args []*expr.Expr, depth int) ([]Node, error) {
	out := make([]Node, 0, len(args))
	for _, a := range args {
		n, err := r.node(a, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func (r *reader) compare(args []*expr.Expr, op Op) (Node, error) {
	if r.comparisons++; r.comparisons > MaxComparisons {
		return nil, fmt.Errorf("a filter has at most %d comparisons", MaxComparisons)
	}
	if len(args) != 2 {
		return nil, fmt.Errorf("%s takes a field and a value", op)
	}
	field, err := path(args[0])
	if err != nil {
		return nil, err
	}
	value, err := value(args[1])
	if err != nil {
		return nil, err
	}
	// Escapes write what the text itself may not hold, and PostgreSQL takes as an
	// argument no more than it stores.
	if text := field + value; !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return nil, errors.New("a filter compares with texts of UTF-8 without NUL")
	}
	if op == Has && value != Any {
		return nil, fmt.Errorf("%s: the colon asks only whether a field is there: write %s:*", field, field)
	}
	return Compare{Field: field, Op: op, Value: value}, nil
}

// path reads the left side: names joined by dots, each perhaps quoted.
func path(e *expr.Expr) (string, error) {
	switch {
	case e.GetIdentExpr() != nil:
		return e.GetIdentExpr().GetName(), nil
	case e.GetSelectExpr() != nil:
		outer, err := path(e.GetSelectExpr().GetOperand())
		return outer + "." + e.GetSelectExpr().GetField(), err
	case e.GetConstExpr() != nil:
		return e.GetConstExpr().GetStringValue(), nil
	default:
		return "", errors.New("the name of a field is expected on the left")
	}
}

// value reads the right side as a text.
func value(e *expr.Expr) (string, error) {
	if id := e.GetIdentExpr(); id != nil {
		return id.GetName(), nil
	}
	switch v := e.GetConstExpr().GetConstantKind().(type) {
	case *expr.Constant_StringValue:
		return v.StringValue, nil
	case *expr.Constant_Int64Value:
		return strconv.FormatInt(v.Int64Value, 10), nil
	case *expr.Constant_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64), nil
	case *expr.Constant_BoolValue:
		return strconv.FormatBool(v.BoolValue), nil
	default:
		return "", errors.New("a text, a number, true or false is expected on the right; quote other values")
	}
}
