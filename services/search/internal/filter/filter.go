// Package filter reads AIP-160 filters over documents' metadata and finds the
// documents that pass. Metadata has no schema, so a comparison is decided by
// the values it meets:
//
//   - a missing field passes no comparison, != among them; NOT a = 1 does pass
//     documents without a;
//   - =, != and the orders compare strings by bytes, numbers and booleans (false
//     before true); values of two kinds are never equal and in no order;
//   - path:value passes when the field is that value, is a list that holds it,
//     or is an object with that member; path:* when the field is there;
//   - on the right, true and false are booleans, digits are numbers, and any
//     other bare word is a string;
//   - timestamp("...") on the right is a moment, which is compared with strings
//     that write one (RFC 3339, or a date alone for its midnight in UTC); other
//     values are of another kind;
//   - distance(path, lat, lon) on the left is how many metres the object there,
//     with the numbers lat and lon, lies from that place, and is ordered only.
//
// Other functions and words without a comparison are refused. Start reading at Parse
// and Columns.
package filter

import "strconv"

// The bounds on a filter. A filter beyond them is refused.
const (
	MaxBytes       = 16 << 10
	MaxDepth       = 32
	MaxComparisons = 128
)

// Op is a comparison.
type Op string

// The comparisons of AIP-160.
const (
	Equal        Op = "="
	NotEqual     Op = "!="
	Less         Op = "<"
	LessEqual    Op = "<="
	Greater      Op = ">"
	GreaterEqual Op = ">="
	Has          Op = ":"
)

// Node is a filter's expression: *And, *Or, *Not, *Compare or
// *Distance.
type Node interface{ node() }

// And passes what all of its nodes pass.
type And struct{ Nodes []Node }

// Or passes what any of its nodes passes.
type Or struct{ Nodes []Node }

// Not passes what its node does not.
type Not struct{ Node Node }

// Compare passes documents by one field.
type Compare struct {
	// Path is the field's path, its names joined by dots.
	Path  string
	Op    Op
	Value Value
	// Any stands for the * of path:*; Value is then not used.
	Any bool
}

func (*And) node()     {}
func (*Or) node()      {}
func (*Not) node()     {}
func (*Compare) node() {}

// Error says what is wrong with a filter and where.
type Error struct {
	// Column is the place in the filter, in characters from 1.
	Column  int
	Message string
}

func (e *Error) Error() string {
	return "column " + strconv.Itoa(e.Column) + ": " + e.Message
}
