package sqldb

import (
	"database/sql"
	"slices"
)

// form is how rows stand in statements.
type form struct {
	// fixed are values that stand in the text, by column; nil: it is a place.
	fixed []any
	// shared are the columns of which a statement gets one value for all its rows.
	shared []bool
	// once and each are the columns that have a place, in the order of their places: those
	// that are shared, and then those of each row.
	once, each []int
	bySize     map[int]*sql.Stmt // by how many rows it inserts
}

func newForm(columns int) form {
	return form{fixed: make([]any, columns), shared: make([]bool, columns)}
}

// shortens reports whether values stand in the text, and shares whether a statement gets
// one for all its rows.
func (f *form) shortens() bool {
	return slices.ContainsFunc(f.fixed, func(v any) bool { return v != nil })
}
func (f *form) shares() bool { return slices.Contains(f.shared, true) }

// arrange finds the places, and returns the columns in the order in which a statement has
// them: those that are shared come first, so that their places have the first numbers.
func (f *form) arrange() []int {
	var fixed []int
	f.once, f.each = nil, nil
	for n, v := range f.fixed {
		switch {
		case v != nil:
			fixed = append(fixed, n)
		case f.shared[n]:
			f.once = append(f.once, n)
		default:
			f.each = append(f.each, n)
		}
	}
	return slices.Concat(f.once, f.each, fixed)
}

// fits reports whether a row has the values that stand in the text.
func (f *form) fits(row []any) bool {
	for n, v := range f.fixed {
		if v != nil && row[n] != v {
			return false
		}
	}
	return true
}

// takes reports whether rows, which fit, have one value in each column that is shared.
func (f *form) takes(rows []any) bool {
	for _, n := range f.once {
		for at := n + len(f.shared); at < len(rows); at += len(f.shared) {
			if rows[at] != rows[n] {
				return false
			}
		}
	}
	return true
}
