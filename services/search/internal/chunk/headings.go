package chunk

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds on the headings of a passage.
const (
	// MaxHeadings is how many there are at most: Markdown and HTML have six levels.
	MaxHeadings = 6
	// MaxHeadingRunes is how long each is; a longer one ends with an ellipsis.
	MaxHeadingRunes = 200
	// outlined is how many headings of a document are looked at.
	outlined = 1 << 14
)

// Outline is a text's headings.
type Outline struct {
	text  string
	marks []mark // in their order
}

// mark is a heading with the place of the one that it stands under; -1: none.
type mark struct {
	Span
	level, parent int
}

// OutlineOf returns the headings of a text in Markdown, or in what package extract
// makes of other files.
func OutlineOf(text string) Outline {
	o := Outline{text: text}
	if !strings.ContainsRune(text, '#') && !strings.Contains(text, "\n--") && !strings.Contains(text, "\n==") {
		return o // most texts have none, and to look closer takes time
	}
	var open [MaxHeadings + 1]int // by level, where the heading is; -1: none
	for i := range open {
		open[i] = -1
	}
	for _, b := range structure(text) {
		if b.kind != heading {
			continue
		}
		if len(o.marks) == outlined {
			break
		}
		m := mark{Span: b.Span, level: level(text[b.Start:b.End]), parent: -1}
		for l := m.level - 1; l > 0 && m.parent < 0; l-- {
			m.parent = open[l]
		}
		open[m.level] = len(o.marks)
		for l := m.level + 1; l <= MaxHeadings; l++ {
			open[l] = -1
		}
		o.marks = append(o.marks, m)
	}
	return o
}

// Under returns the headings that a passage stands under, the outermost first: of
// the first thing in it that is no heading itself. A passage of headings alone
// stands under its last one.
func (o Outline) Under(s Span) []string {
	at, exact := slices.BinarySearchFunc(o.marks, s.Start, func(m mark, start int) int { return m.Start - start })
	if !exact {
		at--
	}
	if at < 0 {
		return nil
	}
	for s.Start < o.marks[at].End && at+1 < len(o.marks) && o.marks[at+1].Start < s.End &&
		strings.TrimSpace(o.text[o.marks[at].End:o.marks[at+1].Start]) == "" {
		at++
		s.Start = o.marks[at].Start
	}
	var out []string
	for ; at >= 0; at = o.marks[at].parent {
		if h := label(o.text[o.marks[at].Start:o.marks[at].End]); h != "" {
			out = append(out, h)
		}
	}
	slices.Reverse(out)
	return out
}

// level is a heading's, from 1.
func level(s string) int {
	if n := len(s) - len(strings.TrimLeft(s, "#")); n > 0 && isHeading(s) {
		return n
	}
	if strings.HasSuffix(s, "=") {
		return 1
	}
	return 2
}

// label is what a heading says, without its marks.
func label(s string) string {
	if isHeading(s) {
		s = strings.TrimLeft(s, "#")
	} else {
		s, _, _ = strings.Cut(s, "\n") // the underline
	}
	s = strings.Trim(strings.TrimRight(strings.TrimSpace(s), "#"), "*_` \t")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > MaxHeadingRunes {
		s = string(r[:MaxHeadingRunes-1]) + "…"
	}
	return s
}

// ValidHeadings reports whether Under can have returned the list.
func ValidHeadings(list []string) bool {
	return len(list) <= MaxHeadings && !slices.ContainsFunc(list, func(h string) bool {
		return h == "" || !utf8.ValidString(h) || utf8.RuneCountInString(h) > MaxHeadingRunes || strings.ContainsFunc(h, unicode.IsControl)
	})
}
