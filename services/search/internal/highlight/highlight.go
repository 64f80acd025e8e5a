// Package highlight shows where a passage has the words of a query. It works on
// the text alone, so every index highlights alike; start reading at Fragments.
package highlight

import (
	"html"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/poterne/poterne/services/search/internal/analysis"
)

// The marks around a word of the query.
const (
	Open  = "<em>"
	Close = "</em>"
)

// MaxFragments is the most fragments of one passage.
const MaxFragments = 3

// around is how many bytes of text a fragment has, about.
const around = 160

// mark is a word of the query in the text.
type mark struct{ start, end int }

// Fragments returns up to MaxFragments parts of text with the query's words
// marked; none when it has none of them. Fragments are HTML: everything but the
// marks is escaped.
func Fragments(text string, terms []analysis.Term) []string {
	marks := find(text, terms)
	var out []string
	for i := 0; i < len(marks) && len(out) < MaxFragments; {
		from := boundary(text, marks[i].start-around/4, -1)
		to := from + around
		j := i
		for j < len(marks) && marks[j].end <= to {
			j++
		}
		if j == i { // one word longer than a fragment
			j = i + 1
		}
		to = boundary(text, max(to, marks[j-1].end), +1)
		for j < len(marks) && marks[j].end <= to { // the boundary may have let more in
			j++
		}
		if j < len(marks) {
			to = min(to, marks[j].start)
		}
		out = append(out, render(text, from, to, marks[i:j]))
		i = j
	}
	return out
}

// find returns the words of the text that a query's word is looked for as, in
// order.
func find(text string, terms []analysis.Term) []mark {
	if len(terms) == 0 {
		return nil
	}
	wanted := make(map[string]bool, 2*len(terms))
	for _, t := range terms {
		for _, v := range t.Variants {
			wanted[v] = true
		}
	}
	var out []mark
	for _, t := range analysis.Matches(text, wanted) {
		out = append(out, mark{t.Start, t.End})
	}
	return out
}

// boundary moves at to white space in the given direction, within a few bytes,
// so that words are whole, and to a rune's beginning in any case.
func boundary(text string, at, direction int) int {
	if at <= 0 {
		return 0
	}
	if at >= len(text) {
		return len(text)
	}
	for i, n := at, 0; n < around/4 && i > 0 && i < len(text); i, n = i+direction, n+1 {
		if r, _ := utf8.DecodeRuneInString(text[i:]); unicode.IsSpace(r) {
			if direction < 0 {
				return i + utf8.RuneLen(r)
			}
			return i
		}
	}
	for at > 0 && !utf8.RuneStart(text[at]) {
		at--
	}
	return at
}

func render(text string, from, to int, marks []mark) string {
	var b strings.Builder
	for _, m := range marks {
		b.WriteString(html.EscapeString(text[from:m.start]))
		b.WriteString(Open + html.EscapeString(text[m.start:m.end]) + Close)
		from = m.end
	}
	b.WriteString(html.EscapeString(text[from:max(from, to)]))
	return strings.TrimSpace(b.String())
}
