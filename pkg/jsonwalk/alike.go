package jsonwalk

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// Alike knows the texts that are one text but for one of its strings, as the pieces of an
// answer are that come one after another: such a text is valid JSON, has the same
// structure, and says the same but for that string. The zero value knows none.
type Alike struct{ before, after []byte }

// Learn has a know the texts that are text but for the string that begins at index at,
// by its quote. The text must be Strict, and the string a value: a name may not be any. It reports whether there is such a string.
func (a *Alike) Learn(text []byte, at int) bool {
	end, _ := plainString(text, at)
	if end < 0 {
		*a = Alike{}
		return false
	}
	a.before = append(a.before[:0], text[:at+1]...)
	a.after = append(a.after[:0], text[end-1:]...)
	return true
}

// String returns what is between the quotes of the string in text, as it is written; ok is
// false when text is not one of those that a knows, or has rare escapes.
func (a *Alike) String(text []byte) (inside []byte, ok bool) {
	begin, end := len(a.before), len(text)-len(a.after)
	if begin == 0 || begin > end || !bytes.Equal(text[:begin], a.before) || !bytes.Equal(text[end:], a.after) {
		return nil, false
	}
	if to, _ := plainString(text, begin-1); to != end+1 {
		return nil, false
	}
	inside = text[begin:end:end]
	return inside, utf8.Valid(inside)
}

// Append adds to dst the text that has inside, as it is written, in its string.
func (a *Alike) Append(dst, inside []byte) []byte {
	dst = slices.Grow(dst, len(a.before)+len(inside)+len(a.after))
	return append(append(append(dst, a.before...), inside...), a.after...)
}
