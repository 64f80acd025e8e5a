// Package jsonwalk finds the members of JSON objects that pass by in quantity: it goes
// over their text once and decodes nothing. It trusts the text to be valid JSON and
// says where its structure is not. Start reading at Walk.
package jsonwalk

import "bytes"

// Span is where a member is in its object's text: from the quote before its
// name, by where its value begins, to the end of the value.
type Span struct{ Start, Value, End int }

// Found reports whether s is a member at all.
func (s Span) Found() bool { return s.End > 0 }

// Of returns the member's value within text.
func (s Span) Of(text []byte) []byte { return text[s.Value:s.End] }

// Walk goes over the members of the object that a text begins with, without
// decoding them: for text that passes by in quantity. It trusts values to be
// valid, and ends early, without OK, where the structure is not.
type Walk struct {
	text []byte
	pos  int
	done bool
}

// NewWalk returns a walk over the object that text begins with.
func NewWalk(text []byte) Walk {
	w := Walk{text: text}
	w.space()
	if !w.take('{') {
		w.pos = len(text)
	}
	return w
}

// Next returns the next member: its name as it is written, escapes included,
// and where it is.
func (w *Walk) Next() (name []byte, at Span, ok bool) {
	w.space()
	if w.take(',') {
		w.space()
	}
	if w.take('}') {
		w.done = true
		return nil, Span{}, false
	}
	at.Start = w.pos
	end := stringEnd(w.text, w.pos)
	if end < 0 {
		return nil, Span{}, false
	}
	name = w.text[w.pos+1 : end-1]
	w.pos = end
	w.space()
	if !w.take(':') {
		return nil, Span{}, false
	}
	w.space()
	at.Value = w.pos
	at.End = valueEnd(w.text, w.pos)
	if at.End < 0 {
		w.pos = len(w.text)
		return nil, Span{}, false
	}
	w.pos = at.End
	return name, at, true
}

// OK reports whether the walk came to the object's end; End is then the index
// after it.
func (w *Walk) OK() bool { return w.done }

// End is how far the walk has come.
func (w *Walk) End() int { return w.pos }

func (w *Walk) space() {
	for w.pos < len(w.text) && isSpace(w.text[w.pos]) {
		w.pos++
	}
}

func (w *Walk) take(c byte) bool {
	if w.pos < len(w.text) && w.text[w.pos] == c {
		w.pos++
		return true
	}
	return false
}

// Without returns a copy of text, an object, without the members given, in
// their order in the text, each with one comma beside it.
func Without(text []byte, members ...Span) []byte {
	return AppendWithout(make([]byte, 0, len(text)), text, members...)
}

// AppendWithout adds to dst what Without returns.
func AppendWithout(dst, text []byte, members ...Span) []byte {
	begin, from := len(dst), 0
	for _, m := range members {
		start, end := m.Start, m.End
		after := end
		for after < len(text) && isSpace(text[after]) {
			after++
		}
		if after < len(text) && text[after] == ',' {
			end = after + 1
		} else if before := bytes.TrimRight(text[from:start], " \t\r\n"); len(before) > 0 && before[len(before)-1] == ',' {
			start = from + len(before) - 1
		} else if kept := bytes.TrimRight(dst[begin:], " \t\r\n"); len(before) == 0 && len(kept) > 0 && kept[len(kept)-1] == ',' {
			dst = dst[:begin+len(kept)-1] // the member before was taken out too
		}
		dst = append(dst, text[from:start]...)
		from = end
	}
	return append(dst, text[from:]...)
}

// Compact reports whether there is no space between the parts of text.
func Compact(text []byte) bool {
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			if i = stringEnd(text, i); i < 0 {
				return false
			}
		case isSpace(c):
			return false
		default:
			i++
		}
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// stringEnd returns the index after the string that begins at i, or -1.
func stringEnd(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		esc := bytes.IndexByte(b[i:i+n], '\\')
		if esc < 0 {
			return i + n + 1
		}
		i += esc + 1 // what is escaped is stepped over
	}
	return -1
}

// valueEnd returns the index after the value that begins at i, or -1.
func valueEnd(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			if i = stringEnd(b, i); i < 0 {
				return -1
			}
		case c == '{' || c == '[':
			depth++
			i++
		case c == '}' || c == ']':
			if depth--; depth < 0 {
				return -1
			}
			i++
		case depth == 0:
			start := i
			for i < len(b) && !isSpace(b[i]) && b[i] != ',' && b[i] != '}' && b[i] != ']' {
				i++
			}
			if i == start {
				return -1
			}
		default:
			i++
			continue
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}
