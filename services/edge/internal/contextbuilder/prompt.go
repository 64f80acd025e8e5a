package contextbuilder

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// nothingFound stands in the place of passages.
const nothingFound = "No passage was found that answers this question."

const (
	// charsPerToken is the estimate that budgets begin with: about four bytes
	// of English make a token in the usual vocabularies. Other scripts take more
	// bytes for a character, so counting bytes leaves them room as well.
	charsPerToken = 4
	// messageOverhead is what a chat template adds to a message, in tokens.
	messageOverhead = 8
	// tagBytes is what the delimiters of a passage take.
	tagBytes = 48
	// minPassage is the least of a cut passage that is worth its place, in tokens.
	minPassage = 32
	// maxTitle bounds a title in a prompt, in characters.
	maxTitle = 200
)

// passage is a hit that is in the prompt, or several that follow each other in one
// document.
type passage struct {
	number int32
	hit    *searchv1.Hit // the best
	chunks []string      // all, in their order; nil: the hit's alone
	raw    string        // as found
	text   string        // quoted
	title  string        // quoted
	cut    bool
	start  int32
	end    int32
}

// pack takes hits in their order while there is room for them, in tokens of which
// perByte make a byte. The last one may be cut; when there is no room at all, none is
// taken. It returns those that are left as well.
func pack(hits []*searchv1.Hit, room int, perByte float64) (chosen []passage, left []*searchv1.Hit) {
	bytes := int(float64(room) / perByte)
	for i, h := range hits {
		p := passage{hit: h, raw: h.GetText(), text: quote(h.GetText()), title: quoteTitle(h.GetTitle()), start: h.GetStartOffset(), end: h.GetEndOffset()}
		need := len(p.text) + len(p.title) + tagBytes
		if need > bytes {
			most := bytes - len(p.title) - tagBytes
			if float64(most)*perByte < minPassage {
				return chosen, hits[i:]
			}
			p.text, p.cut = firstBytes(p.text, most), true
			return append(chosen, p), hits[i+1:]
		}
		chosen = append(chosen, p)
		bytes -= need
	}
	return chosen, nil
}

// arrange puts passages into their order, makes one of those that follow each other
// in a document, and numbers them. Numbers are places: a prompt that begins with the
// same passages as one before is the same that far.
func arrange(chosen []passage, order string) []passage {
	out := chosen
	if order == OrderDocument {
		out = slices.Clone(chosen)
		slices.SortStableFunc(out, func(a, b passage) int {
			return cmp.Or(cmp.Compare(a.hit.GetDocumentId(), b.hit.GetDocumentId()), cmp.Compare(a.start, b.start), cmp.Compare(a.hit.GetChunkId(), b.hit.GetChunkId()))
		})
		out = merge(out, chosen)
	}
	for i := range out {
		out[i].number = int32(i + 1)
	}
	return out
}

// merge joins passages that touch or overlap in one document.
func merge(sorted, byRelevance []passage) []passage {
	rank := func(h *searchv1.Hit) int {
		return slices.IndexFunc(byRelevance, func(p passage) bool { return p.hit == h })
	}
	var out []passage
	for _, p := range sorted {
		if n := len(out); n > 0 && follows(&out[n-1], &p) {
			last := &out[n-1]
			if last.chunks == nil {
				last.chunks = []string{last.hit.GetChunkId()}
			}
			last.chunks = append(last.chunks, p.hit.GetChunkId())
			if more := p.end - last.end; more > 0 {
				last.raw += p.raw[len(p.raw)-int(more):]
				last.text, last.end = quote(last.raw), p.end
			}
			if rank(p.hit) < rank(last.hit) {
				last.hit = p.hit
			}
			continue
		}
		out = append(out, p)
	}
	return out
}

// follows reports whether b goes on where a ends, or before. Texts that are not
// exactly what the document has between their ends, because something was taken out
// of them or they were cut, are let be.
func follows(a, b *passage) bool {
	whole := func(p *passage) bool { return !p.cut && p.end > p.start && len(p.raw) == int(p.end-p.start) }
	if a.hit.GetDocumentId() != b.hit.GetDocumentId() || !whole(a) || !whole(b) || b.start > a.end {
		return false
	}
	more := b.end - a.end
	return more <= 0 || utf8.RuneStart(b.raw[len(b.raw)-int(more)])
}

func quoteTitle(s string) string {
	return quote(strings.Join(strings.Fields(firstRunes(s, maxTitle)), " "))
}

func render(passages []passage) string {
	var b strings.Builder
	b.WriteString("<passages>\n")
	for _, p := range passages {
		fmt.Fprintf(&b, "<passage number=\"%d\" title=\"%s\">\n%s\n</passage>\n", p.number, p.title, p.text)
	}
	if len(passages) == 0 {
		b.WriteString(nothingFound + "\n")
	}
	b.WriteString("</passages>")
	return b.String()
}

// firstRunes returns the first n characters of s.
func firstRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// firstBytes returns at most n bytes of s, whole characters and whole entities
// of quote.
func firstBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	s = s[:n]
	if i := strings.LastIndexByte(s, '&'); i >= 0 && !strings.Contains(s[i:], ";") {
		s = s[:i]
	}
	return s
}
