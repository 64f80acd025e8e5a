package authz

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// documentClass is the variable that conditions compare with classes.
const documentClass = "document_class"

// maxClasses bounds the classes that the rules for one request may tell apart.
const maxClasses = 32

var errClasses = fmt.Errorf("authz: the rules tell more than %d classes of documents apart", maxClasses)

// otherClass stands for every class that no rule names: names have no such byte.
const otherClass = "\x00other"

// classesIn returns the classes that an expression compares the variable with. Any
// other use of it is an error: what it says of a class must follow from which of
// these it is, or it could not be made a filter.
func classesIn(e ast.Expr) (names []string, err error) {
	uses, compared := 0, 0
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		//exhaustive:ignore
		switch e.Kind() {
		case ast.IdentKind:
			if e.AsIdent() == documentClass {
				uses++
			}
		case ast.CallKind:
			found, ok := comparedClasses(e.AsCall())
			if ok {
				compared++
				names = append(names, found...)
			}
		}
	}))
	if uses != compared {
		return nil, errors.New("document_class is compared with names only: ==, !=, or in a list of them")
	}
	for _, name := range names {
		if !validClass(name) {
			return nil, fmt.Errorf("%.64q is not a class: these have up to 64 of letters, digits, _, . and -", name)
		}
	}
	return names, nil
}

func validClass(s string) bool {
	return len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '.' && r != '-'
	})
}

// comparedClasses returns the names that a call compares the variable with.
func comparedClasses(call ast.CallExpr) ([]string, bool) {
	args := call.Args()
	if len(args) != 2 { //nolint:mnd // both sides
		return nil, false
	}
	variable := func(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == documentClass }
	switch call.FunctionName() {
	case operators.Equals, operators.NotEquals:
		left, right := args[0], args[1]
		if variable(right) {
			left, right = right, left
		}
		if name, ok := textOf(right); ok && variable(left) {
			return []string{name}, true
		}
	case operators.In:
		if !variable(args[0]) || args[1].Kind() != ast.ListKind {
			return nil, false
		}
		var out []string
		for _, e := range args[1].AsList().Elements() {
			name, ok := textOf(e)
			if !ok {
				return nil, false
			}
			out = append(out, name)
		}
		return out, true
	}
	return nil, false
}

func textOf(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().Value().(string)
	return s, ok
}

// classify is what the policies say of a request for documents: allowed if those of
// any class are, and then which.
func classify(rules []*rule, judge func(class string) Decision) Decision {
	var names []string
	for _, r := range rules {
		names = append(names, r.cond.classes...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	if len(names) > maxClasses {
		return Decision{Failure: errClasses, Why: WhyUnknown}
	}
	out := judge(otherClass)
	unclassified := judge("")
	if out.Failure != nil {
		return out
	}
	classes := &obligation.Classes{Except: out.Allowed, Unclassified: unclassified.Allowed}
	all, none := out.Allowed && unclassified.Allowed, !out.Allowed && !unclassified.Allowed
	first := &out
	if !out.Allowed && unclassified.Allowed {
		first = &unclassified
	} else if out.Allowed && unclassified.Allowed {
		first = merge(first, &unclassified)
	}
	for _, name := range names {
		d := judge(name)
		if d.Allowed != classes.Except {
			classes.Names = append(classes.Names, name)
		}
		all, none = all && d.Allowed, none && !d.Allowed
		switch {
		case d.Allowed && first.Allowed:
			first = merge(first, &d)
		case d.Allowed:
			first = &d
		}
	}
	result := *first
	if !all && !none && result.Failure == nil {
		result.Classes = classes
	}
	return result
}

// merge adds to an allow what another one asks for.
func merge(d, other *Decision) *Decision {
	out := *d
	all, ok := d.Obligations.And(other.Obligations)
	if !ok {
		return &Decision{Policy: d.Policy, Rule: other.Rule, Failure: errConflict, Why: WhyConflict}
	}
	out.Obligations = all
	return &out
}
