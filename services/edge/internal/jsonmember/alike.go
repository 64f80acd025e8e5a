package jsonmember

import (
	"bytes"
	"math"
)

// Quoted reports whether raw, a valid JSON string, is what Quote writes of its text. It may
// not know of one with rare escapes that it is.
func Quoted(raw []byte) bool {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return true
		}
		switch raw[i+1] {
		case '"', '\\', 'b', 'f', 'n', 'r', 't':
			raw = raw[i+2:]
		default:
			return false
		}
	}
}

// maxFigures is how many figures of a number surely all count: no two numbers of so many
// are the same double (C's DBL_DIG), so that none is written with others, or fewer.
const maxFigures = 15

// Figures reports whether raw, a valid JSON number which f is the double of, is how
// ECMAScript writes f. It may not know of a long one, or one with an exponent, that it is.
func Figures(raw []byte, f float64) bool {
	if len(raw) > maxFigures || bytes.ContainsAny(raw, "eE") || f != 0 && math.Abs(f) < 1e-6 {
		return false
	}
	return raw[len(raw)-1] != '0' || bytes.IndexByte(raw, '.') < 0
}
