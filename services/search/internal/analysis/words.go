package analysis

import (
	"strings"
	"unicode/utf8"

	"github.com/blevesearch/segment"
)

// each calls yield for the words of text in order. Words are segments of UAX
// #29.
func each(text string, yield func(Token)) {
	runs(text, func(start, end int) {
		if t, ok := word(text[start:end], start); ok {
			yield(t)
		}
	}, func(run string, start int) { segments(run, start, yield) })
}

// runs deals a text out, in order: one plain word at a time, by its place, and
// what takes the machine to see words in. White space ends every segment, so that
// what is between two spaces can be looked at by itself.
func runs(text string, one func(start, end int), other func(run string, start int)) {
	if !utf8.ValidString(text) { // the machine stops there
		other(text, 0)
		return
	}
	for start := 0; start < len(text); {
		if isSpace(text[start]) {
			start++
			continue
		}
		end := start + 1
		for end < len(text) && !isSpace(text[end]) {
			end++
		}
		run := text[start:end]
		if first, last, ok := plain(run); !ok {
			other(run, start)
		} else if first < last {
			one(start+first, start+last)
		}
		start = end
	}
}

// segments calls yield for the words of text, which begins at offset.
func segments(text string, offset int, yield func(Token)) {
	seg := segment.NewWordSegmenterDirect([]byte(text))
	pos := 0
	for seg.Segment() {
		start := pos
		pos += len(seg.Bytes())
		if seg.Type() == segment.None {
			continue
		}
		if t, ok := word(text[start:pos], offset+start); ok {
			yield(t)
		}
	}
}

// plain reports whether a run is one word of ASCII letters and digits, or none,
// between marks that no word has, and where the word lies.
func plain(run string) (first, last int, ok bool) {
	last = len(run)
	for first < last && isMark(run[first]) {
		first++
	}
	for first < last && isMark(run[last-1]) {
		last--
	}
	for i := first; i < last; i++ {
		if !isAlphanumeric(run[i]) {
			return 0, 0, false
		}
	}
	return first, last, true
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isMark reports ASCII that is no part of a word at its ends; an underscore is.
func isMark(c byte) bool { return c < utf8.RuneSelf && !isAlphanumeric(c) && c != '_' }

// Analyzer makes terms like Analyze and remembers stems. It is not safe for
// concurrent use.
type Analyzer struct {
	stems  [2]map[string]string // by language
	tokens []Token
	terms  []string
}

// NewAnalyzer returns an analyser.
func NewAnalyzer() *Analyzer {
	return &Analyzer{stems: [2]map[string]string{english: {}, french: {}}}
}

// remembered bounds the stems of a language.
const remembered = 1 << 14

// Analyze returns the terms of a passage as the function does, until the next
// call.
func (a *Analyzer) Analyze(text string) []string {
	a.tokens, a.terms = a.tokens[:0], a.terms[:0]
	each(text, func(t Token) { a.tokens = append(a.tokens, t) })
	lang := detect(a.tokens)
	known, stem := a.stems[lang], stemmerFor(lang)
	for _, t := range a.tokens {
		s, ok := known[t.Word]
		if !ok {
			if len(known) >= remembered {
				clear(known)
			}
			w := strings.Clone(t.Word) // the passage must not be kept for its words
			s = stem(w)
			known[w] = s
		}
		a.terms = append(a.terms, s)
	}
	clear(a.tokens)
	return a.terms
}

// Segments returns how many segments of UAX #29 the text has that are words:
// more than terms, where a word is too long to be one.
func Segments(text string) (n int) {
	runs(text, func(int, int) { n++ }, func(run string, _ int) {
		seg := segment.NewWordSegmenterDirect([]byte(run))
		for seg.Segment() {
			if seg.Type() != segment.None {
				n++
			}
		}
	})
	return n
}
