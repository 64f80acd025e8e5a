package filter

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Kind is what a value is.
type Kind uint8

// The kinds of values.
const (
	String Kind = iota + 1
	Number
	Bool
	// Time is a moment, in filters only: metadata writes it as a string.
	Time
)

// Value is a string, a number, a boolean or a moment; it can be compared with
// ==.
type Value struct {
	Kind   Kind
	Text   string
	Number float64 // 1 for true, 0 for false
}

// StringValue returns s as a value.
func StringValue(s string) Value { return Value{Kind: String, Text: s} }

// NumberValue returns n as a value.
func NumberValue(n float64) Value { return Value{Kind: Number, Number: n + 0} } // -0 becomes 0

// BoolValue returns b as a value.
func BoolValue(b bool) Value {
	if b {
		return Value{Kind: Bool, Number: 1}
	}
	return Value{Kind: Bool}
}

// compare orders two values of one kind; it reports false for two kinds.
func compare(a, b Value) (int, bool) {
	if a.Kind != b.Kind {
		return 0, false
	}
	return cmp.Or(cmp.Compare(a.Number, b.Number), strings.Compare(a.Text, b.Text)), true
}

// passes reports whether the field's value v passes the comparison with want.
// Has is equality here; lists are the caller's affair.
func (op Op) passes(v, want Value) bool {
	c, same := compare(v, want)
	switch op {
	case Equal, Has:
		return same && c == 0
	case NotEqual:
		return !same || c != 0
	case Less:
		return same && c < 0
	case LessEqual:
		return same && c <= 0
	case Greater:
		return same && c > 0
	case GreaterEqual:
		return same && c >= 0
	default:
		return false
	}
}

// Shape says what a field holds.
type Shape uint8

// The shapes of fields.
const (
	Scalar Shape = iota + 1
	List
	Object
)

// Field is one field of a document's metadata.
type Field struct {
	// Path is the names from the outside in, joined by dots.
	Path  string
	Shape Shape
	// Values holds the scalar, or the list's elements without repetition.
	Values []Value
}

// The bounds on metadata.
const (
	MaxFields        = 512
	MaxMetadataDepth = 8
	MaxPathBytes     = 512
)

// ValidPath reports whether metadata can have a field there. Names may hold dots,
// so a..b may be one.
func ValidPath(path string) bool { return path != "" && len(path) <= MaxPathBytes }

// Fields returns the fields of a document's metadata, as structpb gives it,
// ordered by path. A null is a missing field. It fails, naming the path, on
// what filters cannot speak of: lists within lists, objects within lists,
// numbers that are not finite, names that are empty, and too much of anything.
func Fields(metadata map[string]any) ([]Field, error) {
	var out []Field
	err := collect(&out, "", metadata, 1)
	slices.SortFunc(out, func(a, b Field) int { return strings.Compare(a.Path, b.Path) })
	return out, err
}

func collect(out *[]Field, prefix string, m map[string]any, depth int) error {
	if depth > MaxMetadataDepth {
		return fmt.Errorf("%s is nested deeper than %d levels", prefix, MaxMetadataDepth)
	}
	for name, v := range m {
		path := name
		if prefix != "" {
			path = prefix + "." + name
		}
		if name == "" || len(path) > MaxPathBytes {
			return fmt.Errorf("a name is empty or its path is longer than %d bytes", MaxPathBytes)
		}
		if len(*out) >= MaxFields {
			return fmt.Errorf("there are more than %d fields", MaxFields)
		}
		if err := collectOne(out, path, v, depth); err != nil {
			return err
		}
	}
	return nil
}

func collectOne(out *[]Field, path string, v any, depth int) error {
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		*out = append(*out, Field{Path: path, Shape: Object})
		return collect(out, path, v, depth+1)
	case []any:
		f := Field{Path: path, Shape: List}
		seen := make(map[Value]struct{}, min(len(v), 64))
		for _, e := range v {
			if e == nil {
				continue
			}
			value, err := scalar(e)
			if err != nil {
				return fmt.Errorf("%s holds %w", path, err)
			}
			if _, known := seen[value]; !known {
				seen[value] = struct{}{}
				f.Values = append(f.Values, value)
			}
		}
		*out = append(*out, f)
		return nil
	default:
		value, err := scalar(v)
		if err != nil {
			return fmt.Errorf("%s is %w", path, err)
		}
		*out = append(*out, Field{Path: path, Shape: Scalar, Values: []Value{value}})
		return nil
	}
}

func scalar(v any) (Value, error) {
	switch v := v.(type) {
	case string:
		return StringValue(v), nil
	case bool:
		return BoolValue(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return Value{}, fmt.Errorf("%v, which is not a finite number", v)
		}
		return NumberValue(v), nil
	case []any:
		return Value{}, fmt.Errorf("a list within a list")
	default:
		return Value{}, fmt.Errorf("something other than strings, numbers and booleans")
	}
}
