package contextbuilder

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// The types of our annotations.
const (
	citation        = "document_citation"
	unknownCitation = "unknown_citation"
)

const (
	// maxBracket is the longest list of numbers in brackets that is read, in bytes.
	maxBracket = 48
	// maxNumber is the largest number that is a citation: `[2024]` is a year.
	maxNumber = 999
	// maxUnknown bounds the numbers that are told of one answer.
	maxUnknown = 32
	// maxRange bounds `[1-9]`.
	maxRange = 50
)

func citations(passages []passage) []*edgev1.Annotation {
	out := make([]*edgev1.Annotation, 0, len(passages))
	for _, p := range passages {
		score := p.hit.GetScore()
		out = append(out, &edgev1.Annotation{
			Type: citation, DocumentId: p.hit.GetDocumentId(), ChunkId: p.hit.GetChunkId(),
			Score: &score, Title: p.hit.GetTitle(), Number: p.number, ChunkIds: p.chunks,
		})
	}
	return out
}

// Citer reads one answer, whole or piece by piece, and holds what it cites against
// the passages: `[2]`, `[1, 3]`, `[1-3]` outside of code. It must not be used by two
// goroutines at once.
type Citer struct {
	passages []*edgev1.Annotation
	action   string
	cited    map[int]bool
	unknown  []int
	held     string // the beginning of what may be a citation
	code     fence
}

// Citer returns one for an answer that rests on passages.
func (b *Builder) Citer(passages []*edgev1.Annotation) *Citer {
	return &Citer{passages: passages, action: b.cfg.UnknownCitations, cited: make(map[int]bool)}
}

// Write returns what can go on of the answer by now: all of it, where nothing is to
// be changed.
func (c *Citer) Write(piece string) string {
	if c.action == KeepUnknown {
		c.read(piece)
		return piece
	}
	return c.read(piece)
}

// Close returns what was held back.
func (c *Citer) Close() string {
	rest := c.held
	c.held = ""
	if c.action == KeepUnknown {
		return ""
	}
	return rest
}

func (c *Citer) read(piece string) string {
	in := c.held + piece
	c.held = ""
	var out strings.Builder
	for i := 0; i < len(in); {
		at := i
		if in[i] != '`' {
			c.code.settle()
		}
		if c.action == RemoveUnknown && in[i] == ' ' && !c.code.inside() {
			if i+1 == len(in) {
				c.held = in[i:]
				break
			}
			if in[i+1] == '[' {
				at++ // a space goes with what it is before
			}
		}
		if in[at] != '[' || c.code.inside() {
			c.code.next(in[i])
			out.WriteByte(in[i])
			i++
			continue
		}
		end := at + 1
		for end < len(in) && end-at < maxBracket && listed(in[end]) {
			end++
		}
		switch {
		case end == len(in) && end-at < maxBracket:
			c.held = in[i:]
			return out.String()
		case end == len(in) || in[end] != ']':
			c.code.next('[')
			out.WriteString(in[i : at+1])
			i = at + 1
		default:
			out.WriteString(c.bracket(in[i:at], in[at+1:end]))
			i = end + 1
			c.code.next(']')
		}
	}
	return out.String()
}

// listed reports whether b may stand in a list of numbers; three bytes are a dash.
func listed(b byte) bool { return strings.IndexByte("0123456789,;- ^\xe2\x80\x93", b) >= 0 }

// bracket notes what is cited between two brackets, and returns what is to stand there.
func (c *Citer) bracket(before, inside string) string {
	whole := before + "[" + inside + "]"
	numbers, ok := numbersOf(inside)
	if !ok {
		return whole
	}
	var parts []string
	known := true
	for _, n := range numbers {
		text := strconv.Itoa(n)
		switch {
		case n <= len(c.passages):
			c.cited[n] = true
			parts = append(parts, text)
			continue
		case !slices.Contains(c.unknown, n) && len(c.unknown) < maxUnknown:
			c.unknown = append(c.unknown, n)
		}
		known = false
		if c.action == MarkUnknown {
			parts = append(parts, text+"?")
		}
	}
	switch {
	case known || c.action == KeepUnknown:
		return whole
	case len(parts) == 0:
		return ""
	default:
		return before + "[" + strings.Join(parts, ", ") + "]"
	}
}

// numbersOf reads `1`, `1, 2` and `1-3`.
func numbersOf(s string) ([]int, bool) {
	var out []int
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		from, to, spans := strings.Cut(strings.ReplaceAll(strings.TrimPrefix(part, "^"), "–", "-"), "-")
		a, err := strconv.ParseUint(from, 10, 16)
		if err != nil || a < 1 || a > maxNumber {
			return nil, false
		}
		z := a
		if spans {
			if z, err = strconv.ParseUint(to, 10, 16); err != nil || z < a || z > maxNumber || z-a > maxRange {
				return nil, false
			}
		}
		for ; a <= z; a++ {
			out = append(out, int(a))
		}
	}
	return out, len(out) > 0
}

// Annotations is what a whole answer rests on: every passage with whether it is
// cited, and the numbers that are none.
func (c *Citer) Annotations() []*edgev1.Annotation {
	var out []*edgev1.Annotation
	for i, p := range c.passages {
		out = append(out, marked(p, c.cited[i+1]))
	}
	return append(out, c.unknowns()...)
}

// Cited is what is new at the end of a stream that began with the passages: those
// that are cited, and the numbers that are none.
func (c *Citer) Cited() []*edgev1.Annotation {
	var out []*edgev1.Annotation
	for i, p := range c.passages {
		if c.cited[i+1] {
			out = append(out, marked(p, true))
		}
	}
	return append(out, c.unknowns()...)
}

func marked(p *edgev1.Annotation, cited bool) *edgev1.Annotation {
	a, ok := proto.Clone(p).(*edgev1.Annotation)
	if !ok {
		return p
	}
	a.Cited = &cited
	return a
}

func (c *Citer) unknowns() []*edgev1.Annotation {
	out := make([]*edgev1.Annotation, 0, len(c.unknown))
	for _, n := range c.unknown {
		out = append(out, &edgev1.Annotation{Type: unknownCitation, Number: int32(n)})
	}
	return out
}

// Counts is how many passages are cited, and how many numbers are none.
func (c *Citer) Counts() (cited, unknown int) { return len(c.cited), len(c.unknown) }

// fence knows whether a text is inside of Markdown's code.
type fence struct {
	run    int // of backticks
	block  bool
	inline bool
}

func (f *fence) inside() bool { return f.block || f.inline }

// settle takes what came before for whole.
func (f *fence) settle() {
	switch {
	case f.run >= 3:
		f.block, f.inline = !f.block, false
	case f.run > 0 && !f.block:
		f.inline = !f.inline
	}
	f.run = 0
}

func (f *fence) next(b byte) {
	if b == '`' {
		f.run++
		return
	}
	f.settle()
	if b == '\n' {
		f.inline = false
	}
}
