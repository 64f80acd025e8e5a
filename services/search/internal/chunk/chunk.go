// Package chunk cuts a document's text into passages that are embedded and
// found on their own. It knows no model and no store; start reading at Split.
package chunk

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/segment"
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
	var out []Span
	var open Span // the passage being filled
	openWords := 0
	flush := func() {
		if openWords > 0 {
			out = append(out, open)
		}
		openWords = 0
	}
	for _, p := range paragraphs(text) {
		n := words(text[p.Start:p.End])
		fits := openWords > 0 && openWords+n <= o.MaxWords && p.End-open.Start <= o.MaxBytes
		switch {
		case fits:
			open.End, openWords = p.End, openWords+n
		case n <= o.MaxWords && p.End-p.Start <= o.MaxBytes:
			flush()
			open, openWords = p, n
		default:
			flush()
			out = append(out, splitParagraph(text, p, o)...)
		}
	}
	flush()
	return out
}

// paragraphs returns the trimmed stretches between blank lines.
func paragraphs(text string) []Span {
	var out []Span
	start := 0
	for start < len(text) {
		end := len(text)
		next := end
		if i := blankLine(text[start:]); i >= 0 {
			end = start + i
			next = end + 1
		}
		if s, ok := trim(text, Span{start, end}); ok {
			out = append(out, s)
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

// splitParagraph cuts one paragraph that is too long for a passage.
func splitParagraph(text string, p Span, o Options) []Span {
	var out []Span
	var open []piece
	total := 0
	for _, next := range pieces(text, p, o) {
		for len(open) > 0 && (total+next.words > o.MaxWords || next.End-open[0].Start > o.MaxBytes) {
			out = append(out, Span{open[0].Start, open[len(open)-1].End})
			open, total = overlap(open, next, o)
		}
		open, total = append(open, next), total+next.words
	}
	if len(open) > 0 {
		out = append(out, Span{open[0].Start, open[len(open)-1].End})
	}
	return out
}

// overlap returns the last whole sentences of a finished passage that the next
// one repeats: fewer than all of them, and none that would not fit beside next.
func overlap(done []piece, next piece, o Options) ([]piece, int) {
	total, from := 0, len(done)
	for i := len(done) - 1; i > 0; i-- {
		sum := total + done[i].words
		if sum > o.OverlapWords || sum+next.words > o.MaxWords || next.End-done[i].Start > o.MaxBytes {
			break
		}
		total, from = sum, i
	}
	return append([]piece(nil), done[from:]...), total
}

// piece is a sentence, or a part of a long one.
type piece struct {
	Span
	words int
}

func pieces(text string, p Span, o Options) []piece {
	var out []piece
	for _, s := range sentences(text, p) {
		n := words(text[s.Start:s.End])
		if n <= o.MaxWords && s.End-s.Start <= o.MaxBytes {
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
	start, end, count := s.Start, s.Start, 0
	emit := func() {
		if t, ok := trim(text, Span{start, end}); ok {
			out = append(out, piece{t, count})
		}
		start, count = end, 0
	}
	seg := segment.NewWordSegmenterDirect([]byte(text[s.Start:s.End]))
	for seg.Segment() {
		size := len(seg.Bytes())
		if seg.Type() != segment.None {
			if count == o.MaxWords {
				emit()
			}
			count++
		}
		for end+size-start > o.MaxBytes { // also a single endless word
			if end == start {
				n := runeBoundary(text, start, o.MaxBytes)
				end, size = end+n, size-n
			}
			emit()
			count = min(1, size)
		}
		end += size
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
func words(s string) int {
	n := 0
	seg := segment.NewWordSegmenterDirect([]byte(s))
	for seg.Segment() {
		if seg.Type() != segment.None {
			n++
		}
	}
	return max(n, 1)
}
