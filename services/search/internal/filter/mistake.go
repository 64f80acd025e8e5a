package filter

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.einride.tech/aip/filtering"
)

// located is what the parser's errors have in common.
type located interface {
	error
	Position() filtering.Position
}

// innermost returns the error that the parser's chain of wrapped errors begins
// with: the others only say in which rules of the grammar it happened.
func innermost(err error) located {
	var found located
	for err != nil {
		var l located
		if !errors.As(err, &l) {
			break
		}
		found, err = l, errors.Unwrap(l)
	}
	return found
}

// mistake says what is wrong with a filter that the parser does not take. Of the
// parser's error only the place is used: its words are those of its grammar.
func mistake(text string, err error) *Error {
	offset := 0
	if l := innermost(err); l != nil {
		offset = min(max(0, int(l.Position().Offset)), len(text))
	}
	if errors.Is(err, io.EOF) {
		offset = len(text)
	}
	rest := strings.TrimLeftFunc(text[offset:], unicode.IsSpace)
	offset = len(text) - len(rest)
	if rest == "" || rest[0] == '(' {
		if open := unclosed(text); open >= 0 {
			return at(text, open, "this ( is not closed")
		}
	}
	if rest == "" {
		return at(text, offset, "the filter ends where a name or a value is expected")
	}
	return at(text, offset, unexpected(text[:offset], rest))
}

// at returns the error at a place that is given in bytes.
func at(text string, offset int, message string) *Error {
	return &Error{Column: utf8.RuneCountInString(text[:offset]) + 1, Message: message}
}

// unexpected says why rest cannot stand behind before.
func unexpected(before, rest string) string {
	last, _ := utf8.DecodeLastRuneInString(strings.TrimRightFunc(before, unicode.IsSpace))
	word := wordOf(rest)
	switch c := rest[0]; {
	case word == "AND" || word == "OR":
		return fmt.Sprintf("%s needs a comparison before it and one behind it", word)
	case word == "NOT":
		return "NOT needs one comparison behind it; NOT (NOT a = 1) negates twice"
	case c == ')':
		if unclosed(before) < 0 {
			return "this ) closes nothing"
		}
		return "a name, a value or a comparison is expected before this )"
	case c == '(':
		return "a ( cannot stand here: write AND or OR before it; the functions are timestamp and distance"
	case c == '!':
		return "a ! cannot stand here; write != or NOT"
	case strings.ContainsRune("=<>:", rune(c)):
		switch {
		case strings.ContainsRune("=<>:!", last):
			return "a value is expected here; comparisons are =, !=, <, <=, >, >= and :"
		case last == ')':
			return "only a name or distance(...) can be compared, nothing else in parentheses"
		default:
			return "the name of a field is expected before this comparison"
		}
	case c == '-':
		return "a - must stand right before a number or a comparison"
	case c == '.':
		return "a . must stand between two names, or in a number"
	case c == ',':
		return "a , can only stand in a function; write AND or OR between comparisons"
	case c == '"' || c == '\'':
		return stringMistake(rest)
	case unicode.IsDigit(rune(c)):
		return fmt.Sprintf("%q is not a number that can be compared: at most 18 digits, without exponent", word)
	case unicode.IsDigit(last):
		return fmt.Sprintf("%q cannot stand right behind a number; quote what is not one", word)
	case last == '.':
		return "a name is expected right behind the ."
	default:
		return fmt.Sprintf("%q cannot stand here; a comparison is name = value, with AND or OR between two", word)
	}
}

// stringMistake says why a string is not taken where it stands.
func stringMistake(rest string) string {
	end := strings.IndexByte(rest[1:], rest[0])
	if inside := rest[1 : 1+max(0, end)]; strings.ContainsRune(inside, '\\') {
		return `the string has a \ before something that needs none; a \ itself is written \\`
	}
	return `a string cannot stand here; within a string a quote is written \" or \'`
}

// shownWord is how much of a word errors repeat, in characters.
const shownWord = 24

// wordOf returns the beginning of s up to white space or a mark of the syntax.
func wordOf(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune(`()=<>!:,"'`, r)
	})
	if end < 0 {
		end = len(s)
	}
	word, shown := s[:end], 0
	for i := range word {
		if shown++; shown > shownWord {
			return word[:i] + "…"
		}
	}
	return word
}

// unclosed returns where the last ( is that is not closed; -1: all are. Strings do
// not count.
func unclosed(s string) int {
	var open []int
	var quote rune
	escaped := false
	for i, r := range s {
		switch {
		case quote != 0:
			if r == quote && !escaped {
				quote = 0
			}
			escaped = r == '\\' && !escaped
		case r == '"' || r == '\'':
			quote = r
		case r == '(':
			open = append(open, i)
		case r == ')' && len(open) > 0:
			open = open[:len(open)-1]
		}
	}
	if len(open) == 0 {
		return -1
	}
	return open[len(open)-1]
}
