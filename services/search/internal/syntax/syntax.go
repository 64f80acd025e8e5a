// Package syntax reads the marks in a query: "a phrase" or « a phrase », +word
// for what must be there and -word for what must not. A phrase must be there
// too, unless a - stands before it. What is no mark is text: a + or - within a
// word, alone, or before anything but a letter; a quote that is not closed or
// that words touch from outside. Start reading at Parse.
package syntax

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/analysis"
)

// The bounds on a query's conditions. A query beyond them is refused.
const (
	MaxConditions = 32
	// MaxWords is of all conditions together.
	MaxWords = 128
)

// Query is a query without its marks.
type Query struct {
	// Text is what is looked for: everything but the marks and what must not be
	// there. It is blank when the query says only what must not be there.
	Text string
	// Require are what a passage must have, and Exclude what it must not.
	Require, Exclude []analysis.Phrase
	// Excluded are the parts of the query that Exclude was read from.
	Excluded []Span
}

// Span is a part of a query, in bytes.
type Span struct{ Start, End int }

// Parse reads a query. Too many conditions are INVALID_ARGUMENT on query.
func Parse(query string) (Query, error) {
	p := parser{query: query}
	p.run()
	if n := len(p.out.Require) + len(p.out.Exclude); n > MaxConditions {
		return Query{}, apierr.Invalid("query", "query has %d phrases, required and excluded words, more than %d", n, MaxConditions)
	}
	if p.words > MaxWords {
		return Query{}, apierr.Invalid("query", "query has %d words in phrases, required and excluded words, more than %d", p.words, MaxWords)
	}
	p.out.Text = query
	if p.words > 0 {
		p.out.Text = p.text.String()
	}
	return p.out, nil
}

type parser struct {
	query string
	text  strings.Builder
	out   Query
	words int
}

func (p *parser) run() {
	before := ' '
	for at := 0; at < len(p.query); {
		if end := p.condition(at, before); end > at {
			at, before = end, ' '
			continue
		}
		r, size := utf8.DecodeRuneInString(p.query[at:])
		p.text.WriteString(p.query[at : at+size])
		at, before = at+size, r
	}
}

// condition reads the condition that begins at the place behind the rune
// before, and returns where it ends; at when there is none.
func (p *parser) condition(at int, before rune) int {
	if !unicode.IsSpace(before) && !strings.ContainsRune("([{", before) {
		return at
	}
	first, sign := at, p.query[at]
	signed := sign == '+' || sign == '-'
	if signed {
		at++
	}
	from, to, end := p.quoted(at)
	if end == at && signed {
		from, to = at, p.wordEnd(at)
		end = to
	}
	if end == at {
		return first
	}
	phrase := analysis.PhraseOf(p.query[from:to])
	if len(phrase) == 0 {
		return first
	}
	p.words += len(phrase)
	if sign == '-' {
		p.out.Exclude = append(p.out.Exclude, phrase)
		p.out.Excluded = append(p.out.Excluded, Span{first, end})
		p.text.WriteByte(' ')
		return end
	}
	p.out.Require = append(p.out.Require, phrase)
	p.text.WriteString(p.query[from:to] + " ")
	return end
}

// closing returns the quotes that end what the quote began.
func closing(quote rune) string {
	switch quote {
	case '"':
		return `"`
	case '“':
		return "”"
	case '„':
		return "“”"
	case '«':
		return "»"
	default:
		return ""
	}
}

// quoted returns what stands between the quotes at the place and where they
// end; nothing when no quotes begin there.
func (p *parser) quoted(at int) (from, to, end int) {
	quote, size := utf8.DecodeRuneInString(p.query[at:])
	ends := closing(quote)
	if ends == "" {
		return at, at, at
	}
	from = at + size
	n := strings.IndexAny(p.query[from:], ends)
	if n < 0 {
		return at, at, at
	}
	to = from + n
	_, size = utf8.DecodeRuneInString(p.query[to:])
	end = to + size
	if next, _ := utf8.DecodeRuneInString(p.query[end:]); wordRune(next) {
		return at, at, at
	}
	return from, to, end
}

// wordEnd returns where the word at the place ends: at white space or a quote.
// It is no word when it does not begin with a letter: -5 is a number.
func (p *parser) wordEnd(at int) int {
	if r, _ := utf8.DecodeRuneInString(p.query[at:]); !unicode.IsLetter(r) {
		return at
	}
	n := strings.IndexFunc(p.query[at:], func(r rune) bool { return unicode.IsSpace(r) || closing(r) != "" })
	if n < 0 {
		return len(p.query)
	}
	return at + n
}

func wordRune(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
