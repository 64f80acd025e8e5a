package detect

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// numbers of several digits are written in groups: 4111 1111 1111 1111.

// ending is a place where a number may end: after so many digits, in so many
// groups, and bytes.
type ending struct{ digits, groups, bytes int }

// groups reads digits, and letters where also allows them, with one separator
// at most between two of them. It returns what it read without separators, and
// where the number may end: wherever a separator or something else follows.
// Reading ends with the first that no number of at most limit, in maxGroups, goes on
// with.
func groups(text string, whole bool, limit int, also func(b byte) bool) (number string, ends []ending, more bool) {
	var b strings.Builder
	b.Grow(limit + 1)
	i := 0
	for group := 1; ; group++ {
		for i < len(text) && b.Len() <= limit && (isDigit(text[i]) || also != nil && also(text[i])) {
			b.WriteByte(text[i])
			i++
		}
		if b.Len() > limit {
			return b.String(), ends, false
		}
		if i == len(text) && !whole {
			return "", nil, true
		}
		if i == len(text) || !isLetter(text[i]) && text[i] != '_' {
			if ends == nil {
				ends = make([]ending, 0, maxGroups)
			}
			ends = append(ends, ending{digits: b.Len(), groups: group, bytes: i})
		}
		if group == maxGroups {
			return b.String(), ends, false
		}
		sep, cut := separator(text[i:], whole)
		if cut {
			return "", nil, true
		}
		next := i + sep
		if sep == 0 || next < len(text) && !isDigit(text[next]) && (also == nil || !also(text[next])) {
			return b.String(), ends, false
		}
		if next == len(text) {
			return b.String(), ends, !whole
		}
		i = next
	}
}

// separator returns the length of what stands between two groups, 0 when there
// is none; more says that this depends on what follows.
func separator(text string, whole bool) (n int, more bool) {
	if text != "" && text[0] < utf8.RuneSelf {
		if text[0] == ' ' || text[0] == '-' || text[0] == '.' {
			return 1, false
		}
		return 0, false
	}
	for _, s := range []string{"\u00a0", "\u202f", "\u2009"} {
		switch prefixed(text, s, whole) {
		case Yes:
			return len(s), false
		case More:
			if text != "" {
				return 0, true // in the middle of a rune
			}
		case No:
		}
	}
	return 0, false
}

// maxGroups is in how many groups a number is written at most: what has more is a
// list of numbers.
const maxGroups = 7

// longest returns the ending with the most digits for which ok holds.
func longest(ends []ending, ok func(digits int) bool) (ending, bool) {
	for _, e := range slices.Backward(ends) {
		if e.groups <= maxGroups && ok(e.digits) {
			return e, true
		}
	}
	return ending{}, false
}

// luhn checks the last digit of a number (ISO/IEC 7812-1, annex B).
func luhn(number string) bool {
	sum := 0
	for i := range len(number) {
		d := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// mod returns the remainder of a number of any length.
func mod(digits string, m int) int {
	r := 0
	for i := range len(digits) {
		r = (r*10 + int(digits[i]-'0')) % m
	}
	return r
}
