package filter

import (
	"cmp"
	"strings"
	"unicode/utf8"
)

// Order orders any two values: numbers, then booleans, then strings, each among
// themselves as comparisons have it.
func Order(a, b Value) int {
	return cmp.Or(cmp.Compare(place(a.Kind), place(b.Kind)), cmp.Compare(a.Number, b.Number), strings.Compare(a.Text, b.Text))
}

func place(k Kind) int {
	switch k {
	case Number:
		return 0
	case Bool:
		return 1
	case String:
		return 2
	case Time:
		return 3
	default:
		return 4
	}
}

// MaxShownBytes is how much of a string facets tell and orders compare: strings
// that begin alike so far are one value there.
const MaxShownBytes = 256

// Shown returns v as facets tell it and orders compare it.
func Shown(v Value) Value {
	if v.Kind == String {
		v.Text = cut(v.Text, MaxShownBytes)
	}
	return v
}

// cut returns the beginning of s, at most limit bytes of whole characters.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
