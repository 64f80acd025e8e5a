package chunk

import (
	"strings"
)

// kind is what a block of text is.
type kind int

const (
	paragraph kind = iota
	heading
	lines // a list, a table or code: cut between lines when it must be
)

// block is a trimmed stretch of text that is kept whole while it fits.
type block struct {
	Span
	kind kind
}

// structure returns the blocks of a text in Markdown, or in what package extract
// makes of other files: headings, fenced code, lists, tables, and paragraphs
// between blank lines. It reads each line once; what it takes for something else
// costs a worse cut and nothing more.
func structure(text string) []block {
	s := &scanner{text: text}
	for start := 0; start < len(text); {
		end := len(text)
		if i := strings.IndexByte(text[start:], '\n'); i >= 0 {
			end = start + i + 1
		}
		s.line(Span{start, end})
		start = end
	}
	s.close()
	return s.out
}

// scanner puts lines together to blocks.
type scanner struct {
	text  string
	out   []block
	open  block
	some  bool   // a block is open
	fence string // what ends the open code
}

func (s *scanner) close() {
	if t, ok := trim(s.text, s.open.Span); s.some && ok {
		s.out = append(s.out, block{t, s.open.kind})
	}
	s.some, s.fence = false, ""
}

func (s *scanner) begin(l Span, k kind) {
	s.close()
	s.open, s.some = block{l, k}, true
}

// line takes the next line, whose end is part of it.
func (s *scanner) line(l Span) {
	full := s.text[l.Start:l.End]
	rest := strings.TrimSpace(full)
	indented := full[:len(full)-len(strings.TrimLeft(full, " \t"))] != ""
	switch fence := fenceOf(rest); {
	case s.fence != "":
		s.open.End = l.End
		if strings.HasPrefix(rest, s.fence) && strings.Trim(rest, s.fence[:1]) == "" {
			s.close()
		}
	case rest == "":
		if !s.some || s.open.kind != lines {
			s.close()
			return
		}
		s.open.End = l.End // a list may go on; what is blank is trimmed off its end
	case fence != "":
		s.begin(l, lines)
		s.fence = fence
	case isHeading(rest):
		s.begin(l, heading)
		s.close()
	case s.some && s.open.kind == paragraph && isUnderline(rest) && s.oneLine():
		s.open = block{Span{s.open.Start, l.End}, heading}
		s.close()
	case isItem(rest) || strings.HasPrefix(rest, "|"), strings.Contains(rest, " | ") && (!s.some || s.open.kind == lines):
		if s.some && s.open.kind == lines {
			s.open.End = l.End
			return
		}
		s.begin(l, lines)
	case s.some && s.open.kind == lines && (indented || !s.blankBefore()), s.some && s.open.kind == paragraph:
		s.open.End = l.End
	default:
		s.begin(l, paragraph)
	}
}

// oneLine reports whether the open block has one line.
func (s *scanner) oneLine() bool {
	return strings.Count(strings.TrimSpace(s.text[s.open.Start:s.open.End]), "\n") == 0
}

// blankBefore reports whether the open block's last line is blank.
func (s *scanner) blankBefore() bool {
	before := strings.TrimRight(s.text[s.open.Start:s.open.End], " \t\r")
	before = strings.TrimSuffix(before, "\n")
	return strings.HasSuffix(strings.TrimRight(before, " \t\r"), "\n")
}

// fenceOf returns the marks that open code; empty for other lines.
func fenceOf(s string) string {
	for _, mark := range []string{"`", "~"} {
		if n := len(s) - len(strings.TrimLeft(s, mark)); n >= 3 && (mark == "~" || !strings.Contains(s[n:], mark)) {
			return s[:n]
		}
	}
	return ""
}

func isHeading(s string) bool {
	n := len(s) - len(strings.TrimLeft(s, "#"))
	return n > 0 && n <= 6 && (len(s) == n || s[n] == ' ' || s[n] == '\t')
}

// isUnderline reports the second line of a heading that is underlined.
func isUnderline(s string) bool {
	return len(s) >= 2 && (strings.Trim(s, "=") == "" || strings.Trim(s, "-") == "")
}

// isItem reports the first line of a list's item.
func isItem(s string) bool {
	if len(s) > 1 && strings.ContainsRune("-*+", rune(s[0])) && s[1] == ' ' {
		return true
	}
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	return digits > 0 && digits < 10 && len(s) > digits+1 && (s[digits] == '.' || s[digits] == ')') && s[digits+1] == ' '
}

// rows returns the trimmed lines of a block.
func rows(text string, b Span) []Span {
	var out []Span
	for start := b.Start; start < b.End; {
		end := b.End
		if i := strings.IndexByte(text[start:b.End], '\n'); i >= 0 {
			end = start + i + 1
		}
		if s, ok := trim(text, Span{start, end}); ok {
			out = append(out, s)
		}
		start = end
	}
	return out
}
