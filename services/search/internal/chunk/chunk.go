// Package chunk cuts a document's text into passages that are embedded and
// found on their own. It knows no model and no store; start reading at Split.
package chunk

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/segment"

	"github.com/poterne/poterne/services/search/internal/analysis"
)

// Span is a passage's place in the text, in bytes of UTF-8.
type Span struct{ Start, End int }

// Options bound the passages.
type Options struct {
	// MaxWords is the length that a passage does not exceed, in words.
	MaxWords int
	// OverlapWords is how many words, at most, a passage repeats from the end of
	// the one before when both come from one paragraph; whole sentences only.
	OverlapWords int
	// MaxBytes bounds a passage whose words are very long.
	MaxBytes int
	// MaxTokens is how many tokens, as Tokens estimates them, a passage does not
	// exceed; 0: not bounded by tokens.
	MaxTokens int
	// Structure has headings open passages, and lists, tables and code kept whole
	// while they fit.
	Structure bool
}

// size is how long a text is.
type size struct{ words, tokens int }

func (o Options) size(s string) size {
	out := size{words: words(s)}
	if o.MaxTokens > 0 {
		out.tokens = Tokens(s)
	}
	return out
}

func (a size) plus(b size) size { return size{a.words + b.words, a.tokens + b.tokens} }

// fit reports whether a text of this size and so many bytes may be a passage.
func (o Options) fit(s size, bytes int) bool {
	return s.words <= o.MaxWords && bytes <= o.MaxBytes && (o.MaxTokens == 0 || s.tokens <= o.MaxTokens)
}

// DefaultOptions returns bounds that suit models with 512 tokens: 256 words are
// about 340 of English and 400 of French, and a title goes with them.
func DefaultOptions() Options {
	return Options{MaxWords: 256, OverlapWords: 30, MaxBytes: 4000}
}

// Split returns the passages of text, valid UTF-8, in order. Together they hold everything
// but white space; each begins and ends at a rune and is trimmed. Paragraphs
// (blank lines) are kept together while they fit; a longer one is cut between
// sentences, and a longer sentence between words. A text of nothing but white
// space has no passages.
func Split(text string, o Options) []Span {
	blocks := paragraphs(text)
	if o.Structure {
		blocks = structure(text)
	}
	var out []Span
	var open passage
	flush := func() {
		if !open.empty() {
			out = append(out, open.Span)
		}
		open = passage{}
	}
	for _, b := range blocks {
		n := o.size(text[b.Start:b.End])
		if b.kind == heading && open.content {
			flush()
		}
		switch {
		case !open.empty() && o.fit(open.size.plus(n), b.End-open.Start):
			open.add(b, n)
		case o.fit(n, b.End-b.Start):
			flush()
			open.add(b, n)
		default:
			flush()
			out = append(out, splitBlock(text, b, o)...)
		}
	}
	flush()
	return out
}

// passage is one that is being filled.
type passage struct {
	Span
	size    size
	content bool // it has more than headings
}

func (p *passage) empty() bool { return p.Start == p.End }

func (p *passage) add(b block, n size) {
	if p.empty() {
		p.Start = b.Start
	}
	p.End, p.size = b.End, p.size.plus(n)
	p.content = p.content || b.kind != heading
}

// paragraphs returns the trimmed stretches between blank lines.
func paragraphs(text string) []block {
	var out []block
	start := 0
	for start < len(text) {
		end := len(text)
		next := end
		if i := blankLine(text[start:]); i >= 0 {
			end = start + i
			next = end + 1
		}
		if s, ok := trim(text, Span{start, end}); ok {
			out = append(out, block{Span: s})
		}
		start = next
	}
	return out
}

// blankLine returns where a line end is followed by a line of white space, or
// -1.
func blankLine(s string) int {
	for at := 0; ; {
		i := strings.IndexByte(s[at:], '\n')
		if i < 0 {
			return -1
		}
		at += i
		rest := strings.TrimLeft(s[at+1:], " \t\r")
		if strings.HasPrefix(rest, "\n") {
			return at
		}
		at++
	}
}

// splitBlock cuts one block that is too long for a passage.
func splitBlock(text string, b block, o Options) []Span {
	var out []Span
	var open []piece
	var total size
	parts := sentences(text, b.Span)
	if b.kind == lines {
		parts = rows(text, b.Span)
		o.OverlapWords = 0
	}
	for _, next := range pieces(text, parts, o) {
		for len(open) > 0 && !o.fit(total.plus(next.size), next.End-open[0].Start) {
			out = append(out, Span{open[0].Start, open[len(open)-1].End})
			open, total = overlap(open, next, o)
		}
		open, total = append(open, next), total.plus(next.size)
	}
	if len(open) > 0 {
		out = append(out, Span{open[0].Start, open[len(open)-1].End})
	}
	return out
}

// overlap returns the last whole sentences of a finished passage that the next
// one repeats: fewer than all of them, and none that would not fit beside next.
func overlap(done []piece, next piece, o Options) ([]piece, size) {
	total, from := size{}, len(done)
	for i := len(done) - 1; i > 0; i-- {
		sum := total.plus(done[i].size)
		if sum.words > o.OverlapWords || !o.fit(sum.plus(next.size), next.End-done[i].Start) {
			break
		}
		total, from = sum, i
	}
	return append([]piece(nil), done[from:]...), total
}

// piece is a sentence, or a part of a long one.
type piece struct {
	Span
	size size
}

func pieces(text string, parts []Span, o Options) []piece {
	var out []piece
	for _, s := range parts {
		n := o.size(text[s.Start:s.End])
		if o.fit(n, s.End-s.Start) {
			out = append(out, piece{s, n})
			continue
		}
		out = append(out, cut(text, s, o)...)
	}
	return out
}

// sentences returns the trimmed sentences of a paragraph. A sentence ends with
// a mark and white space, or with a line end after a mark; abbreviations may
// end one too early, which costs nothing here.
func sentences(text string, p Span) []Span {
	var out []Span
	start := p.Start
	marked := false
	for i := p.Start; i < p.End; {
		r, size := utf8.DecodeRuneInString(text[i:p.End])
		switch {
		case marked && unicode.IsSpace(r), isWideMark(r):
			if s, ok := trim(text, Span{start, i + size}); ok {
				out = append(out, s)
			}
			start, marked = i+size, false
		case r == '.' || r == '!' || r == '?' || r == '…':
			marked = true
		case marked && isCloser(r):
		default:
			marked = false
		}
		i += size
	}
	if s, ok := trim(text, Span{start, p.End}); ok {
		out = append(out, s)
	}
	return out
}

// isWideMark reports a mark that ends a sentence without white space.
func isWideMark(r rune) bool { return r == '。' || r == '！' || r == '？' }

// isCloser reports a quote or bracket that may follow a sentence's mark.
func isCloser(r rune) bool { return strings.ContainsRune(`"')]»”’`, r) }

// cut cuts a sentence that is too long into runs of words.
func cut(text string, s Span, o Options) []piece {
	var out []piece
	start, end := s.Start, s.Start
	var total size
	emit := func() {
		if t, ok := trim(text, Span{start, end}); ok {
			out = append(out, piece{t, total})
		}
		start, total = end, size{}
	}
	most := o.MaxBytes
	if o.MaxTokens > 0 {
		most = min(most, max(o.MaxTokens, utf8.UTFMax)) // a byte is at most a token
	}
	seg := segment.NewWordSegmenterDirect([]byte(text[s.Start:s.End]))
	for seg.Segment() {
		word := min(seg.Type(), 1)
		for left := len(seg.Bytes()); left > 0; { // a single word may be endless
			n := left
			if n > most {
				n = runeBoundary(text, end, most)
			}
			part := size{words: word}
			if o.MaxTokens > 0 {
				part.tokens = Tokens(text[end : end+n])
			}
			if end > start && !o.fit(total.plus(part), end+n-start) {
				emit()
			}
			end, total, left = end+n, total.plus(part), left-n
		}
	}
	emit()
	return out
}

// runeBoundary returns the largest number of bytes from start, at most limit,
// after which a rune begins; at least one rune.
func runeBoundary(text string, start, limit int) int {
	n := min(limit, len(text)-start)
	for n > 0 && start+n < len(text) && !utf8.RuneStart(text[start+n]) {
		n--
	}
	if n == 0 {
		_, n = utf8.DecodeRuneInString(text[start:])
	}
	return n
}

func trim(text string, s Span) (Span, bool) {
	in := text[s.Start:s.End]
	left := strings.TrimLeftFunc(in, unicode.IsSpace)
	s.Start += len(in) - len(left)
	s.End = s.Start + len(strings.TrimRightFunc(left, unicode.IsSpace))
	return s, s.Start < s.End
}

// words counts words as Unicode's text segmentation finds them; anything that
// is neither a word nor white space counts as none. Text without words, such as
// a row of emoji, counts as one.
func words(s string) int { return max(analysis.Segments(s), 1) }
