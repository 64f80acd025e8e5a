package detect

import "strings"

// contextBytes is how much of what went out is kept, so that a stream knows what
// stands before a word: a rune, or an escaped line break.
const contextBytes = 8

// Stream works on a text that comes piece by piece. It holds back what could be
// the beginning of a finding, at most a few kilobytes and in ordinary text the
// last word. What comes out, joined, is what Guard.Text makes of the whole. It
// must not be used by two goroutines at once.
type Stream struct {
	guard   *Guard
	text    string // the context, and what is held back
	held    int    // where that begins
	blocked bool
}

// Write takes the next piece, and returns what can go out by now.
func (s *Stream) Write(piece string) (string, []Found) { return s.advance(piece, false) }

// Close returns what was held back. Nothing may be written afterwards.
func (s *Stream) Close() (string, []Found) { return s.advance("", true) }

// Blocked reports whether something was found that blocks the text. What came
// out is what stood before it; nothing more will.
func (s *Stream) Blocked() bool { return s.blocked }

func (s *Stream) advance(piece string, whole bool) (string, []Found) {
	if s.blocked {
		return "", nil
	}
	s.text += piece
	var out strings.Builder
	var found []Found
	for {
		f, ok, safe := s.guard.scanner.next(s.text, s.held, whole)
		if !ok {
			out.WriteString(s.text[s.held:safe])
			s.held = safe
			break
		}
		out.WriteString(s.text[s.held:f.Start])
		action := s.guard.actions[f.Kind]
		found = append(found, Found{Kind: f.Kind, Action: action})
		if action == Block {
			s.blocked, s.text, s.held = true, "", 0
			return out.String(), found
		}
		out.WriteString(replaced(s.text[f.Start:f.End], f.Kind, action))
		s.held = f.End
	}
	// A cut within a rune does no harm: what is left of it is of no word.
	if drop := s.held - contextBytes; drop > 0 {
		s.text, s.held = strings.Clone(s.text[drop:]), contextBytes
	}
	return out.String(), found
}
