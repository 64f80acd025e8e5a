package apierr

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
)

// validationError is what protovalidate returns for a message that breaks its
// rules. Naming the method rather than the type keeps protovalidate's CEL
// runtime out of programs that validate nothing.
type validationError interface {
	error
	ToProto() *validate.Violations
}

func fromValidation(err error) *Error {
	var v validationError
	if !errors.As(err, &v) {
		return nil
	}
	found := v.ToProto().GetViolations()
	violations := make([]Violation, 0, len(found))
	for _, f := range found {
		violations = append(violations, Violation{Field: fieldPath(f.GetField()), Description: inWords(f.GetMessage())})
	}
	if len(violations) == 0 {
		return Wrap(InvalidArgument, err, "the request is not valid")
	}
	e := Wrap(InvalidArgument, err, "%s", sentence(violations))
	return e.WithViolations(violations...)
}

// maxTold is how many violations a message tells; all are in its details.
const maxTold = 3

func sentence(violations []Violation) string {
	told := make([]string, 0, maxTold)
	for _, v := range violations[:min(len(violations), maxTold)] {
		told = append(told, strings.TrimSpace(v.Field+" "+v.Description))
	}
	out := strings.Join(told, "; ")
	if more := len(violations) - maxTold; more > 0 {
		out += fmt.Sprintf(" (and %d more)", more)
	}
	return out
}

// fieldPath writes a path as it looks in JSON: messages[0].metadata["k"].
func fieldPath(p *validate.FieldPath) string {
	var b strings.Builder
	for _, el := range p.GetElements() {
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(el.GetFieldName())
		switch s := el.GetSubscript().(type) {
		case *validate.FieldPathElement_Index:
			fmt.Fprintf(&b, "[%d]", s.Index)
		case *validate.FieldPathElement_BoolKey:
			fmt.Fprintf(&b, "[%t]", s.BoolKey)
		case *validate.FieldPathElement_IntKey:
			fmt.Fprintf(&b, "[%d]", s.IntKey)
		case *validate.FieldPathElement_UintKey:
			fmt.Fprintf(&b, "[%d]", s.UintKey)
		case *validate.FieldPathElement_StringKey:
			b.WriteString("[" + strconv.Quote(s.StringKey) + "]")
		}
	}
	return b.String()
}
