package plainchat

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/poterne/poterne/services/edge/internal/jsonmember"
)

// reader goes over a text once. What it does not read is a failure, after which it stands
// at the end and reads nothing.
type reader struct {
	text  []byte
	pos   int
	bad   bool
	alike bool // what was read would be written as it is
}

func (r *reader) good() bool { return !r.bad }

func (r *reader) fail() bool {
	r.bad, r.pos = true, len(r.text)
	return false
}

// space passes over spaces.
func (r *reader) space() {
	for ; r.pos < len(r.text); r.pos++ {
		switch r.text[r.pos] {
		case ' ', '\t', '\r', '\n':
			r.alike = false
		default:
			return
		}
	}
}

// next passes over c, if it is what comes next.
func (r *reader) next(c byte) bool {
	r.space()
	if r.pos < len(r.text) && r.text[r.pos] == c {
		r.pos++
		return true
	}
	return false
}

// take passes over c, which must come next.
func (r *reader) take(c byte) { _ = r.next(c) || r.fail() }

// end reports whether nothing is left.
func (r *reader) end() bool {
	r.space()
	return r.pos == len(r.text) && r.good() || r.fail()
}

// object reads an object of at least one member. value reads the value of the member that
// it is given the name of, and returns that member's bit; 0: it is not known.
func (r *reader) object(value func(name []byte) int) (seen int) {
	r.take('{')
	for more := true; more && r.good(); more = r.next(',') {
		name := r.name()
		r.take(':')
		r.space()
		bit := value(name)
		if bit == 0 || seen&bit != 0 {
			r.fail()
		}
		seen |= bit
	}
	r.take('}')
	return seen
}

// name reads a name as it is written: escaped it is none that is known.
func (r *reader) name() []byte {
	r.take('"')
	n := bytes.IndexByte(r.text[r.pos:], '"')
	if n < 0 {
		r.fail()
		return nil
	}
	name := r.text[r.pos : r.pos+n]
	r.pos += n + 1
	return name
}

// words reads a string.
func (r *reader) words() []byte {
	start := r.pos
	r.take('"')
	for {
		n := bytes.IndexByte(r.text[r.pos:], '"')
		if n < 0 {
			r.fail()
			return nil
		}
		part := r.text[r.pos : r.pos+n]
		r.pos += n + 1
		if slashes := len(part) - len(bytes.TrimRight(part, `\`)); slashes%2 == 0 {
			break
		}
	}
	raw := r.text[start:r.pos]
	text := raw[1 : len(raw)-1]
	if jsonmember.Plain(text) {
		return text
	}
	if bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) && !bytes.ContainsFunc(text, isControl) {
		return text
	}
	out, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		r.fail()
		return nil
	}
	r.alike = r.alike && jsonmember.Quoted(raw)
	return out
}

func isControl(c rune) bool { return c < ' ' }

func (r *reader) boolean() *bool {
	rest := r.text[r.pos:]
	is := bytes.HasPrefix(rest, []byte("true"))
	switch {
	case is:
		r.pos += len("true")
	case bytes.HasPrefix(rest, []byte("false")):
		r.pos += len("false")
	default:
		r.fail()
	}
	return &is
}

// number reads a number without an exponent, with fractions or without.
func (r *reader) number(fractions bool) []byte {
	start := r.pos
	if r.pos < len(r.text) && r.text[r.pos] == '-' {
		r.pos++
	}
	if first := r.pos; r.digits() > 1 && r.text[first] == '0' {
		r.fail()
	}
	if fractions && r.pos < len(r.text) && r.text[r.pos] == '.' {
		r.pos++
		r.digits()
	}
	if r.bad {
		return nil
	}
	return r.text[start:r.pos]
}

// digits passes over digits, of which there must be one, and says how many there were.
func (r *reader) digits() int {
	start := r.pos
	for r.pos < len(r.text) && r.text[r.pos]-'0' <= 9 {
		r.pos++
	}
	if r.pos == start {
		r.fail()
		return 0
	}
	return r.pos - start
}

// whole reads a whole number of so many bits; of -0 the codec knows better.
func (r *reader) whole(bits int) int64 {
	raw := r.number(false)
	n, err := strconv.ParseInt(string(raw), 10, bits)
	if err != nil || n == 0 && len(raw) > 1 {
		r.fail()
	}
	return n
}

func (r *reader) int32() *int32 {
	n := int32(r.whole(32))
	return &n
}

func (r *reader) int64() *int64 {
	n := r.whole(64)
	return &n
}

func (r *reader) float() *float64 {
	raw := r.number(true)
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		r.fail()
		return nil
	}
	r.alike = r.alike && jsonmember.Figures(raw, f)
	return &f
}
