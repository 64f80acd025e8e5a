package hugepages

import (
	"bufio"
	"io"

	"github.com/poterne/poterne/pkg/procmaps"
)

// span is addresses, from from up to to.
type span struct{ from, to uintptr }

// whole returns the whole huge pages in s; false where there are none.
func (s span) whole() (span, bool) {
	s.from = (s.from + huge - 1) &^ (huge - 1)
	s.to &^= huge - 1
	return s, s.from < s.to
}

// partsAround reads proc(5), maps, and returns what can be written to around object, in
// whole huge pages. Go reserves addresses for its heap in one piece after the other: it
// is what lies around an object of it without a gap, and is nobody's file.
func partsAround(maps io.Reader, object uintptr) (parts []span) {
	found, end := false, uintptr(0)
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		s, writable, ok := anonymous(lines.Text())
		if !ok || s.from != end {
			if found {
				return parts
			}
			parts = nil
		}
		if !ok {
			continue
		}
		end = s.to
		found = found || s.from <= object && object < s.to
		if whole, ok := s.whole(); ok && writable {
			parts = append(parts, whole)
		}
	}
	if !found {
		return nil
	}
	return parts
}

// anonymous reads a line of maps of memory that is private and nobody's file.
func anonymous(line string) (s span, writable, ok bool) {
	m, ok := procmaps.Parse(line)
	if !ok || !m.Private || m.Access != "rw-p" && m.Access != "---p" || m.Name == "[stack]" {
		return span{}, false, false
	}
	return span{m.From, m.To}, m.Access == "rw-p", true
}
