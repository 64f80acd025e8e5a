package jsonwalk

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// The bounds of what is looked at here: deeper values, and larger objects, are rare.
const (
	maxDepth = 32
	maxNames = 16
)

// plain reports whether text surely is one JSON value, of UTF-8 and with no name twice in
// an object. It may not know of one with rare escapes, or with an escape in a name, that
// it is.
func plain(text []byte) bool {
	end := plainValue(text, pastSpace(text, 0), maxDepth)
	return end >= 0 && pastSpace(text, end) == len(text) && utf8.Valid(text)
}

func pastSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && isSpace(b[i]) {
		i++
	}
	return i
}

// plainValue returns the index after the value that begins at i, or -1.
func plainValue(b []byte, i, depth int) int {
	if i >= len(b) || depth == 0 {
		return -1
	}
	switch b[i] {
	case '"':
		end, _ := plainString(b, i)
		return end
	case '{':
		return plainObject(b, i, depth)
	case '[':
		return plainList(b, i, depth)
	case 't':
		return plainWord(b, i, "true")
	case 'f':
		return plainWord(b, i, "false")
	case 'n':
		return plainWord(b, i, "null")
	default:
		return plainNumber(b, i)
	}
}

func plainWord(b []byte, i int, word string) int {
	if end := i + len(word); end <= len(b) && string(b[i:end]) == word {
		return end
	}
	return -1
}

func plainList(b []byte, i, depth int) int {
	if i = pastSpace(b, i+1); i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = plainValue(b, i, depth-1); i < 0 {
			return -1
		}
		if i = pastSpace(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case ']':
			return i + 1
		case ',':
			i = pastSpace(b, i+1)
		default:
			return -1
		}
	}
}

func plainObject(b []byte, i, depth int) int {
	if i = pastSpace(b, i+1); i < len(b) && b[i] == '}' {
		return i + 1
	}
	var had names
	for {
		end, bare := plainString(b, i)
		if end < 0 || !bare || !had.add(b[i:end]) {
			return -1
		}
		if i = pastSpace(b, end); i >= len(b) || b[i] != ':' {
			return -1
		}
		if i = plainValue(b, pastSpace(b, i+1), depth-1); i < 0 {
			return -1
		}
		if i = pastSpace(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case '}':
			return i + 1
		case ',':
			i = pastSpace(b, i+1)
		default:
			return -1
		}
	}
}

// names are those of an object so far, in their quotes.
type names struct {
	at  [maxNames][]byte
	n   int
	met uint64 // a bit for each, which some may share
}

// add notes a name, and reports whether it is another one, and there was room for it.
func (h *names) add(name []byte) bool {
	bit := uint64(1) << ((uint(name[1]) + uint(name[len(name)-2])*5 + uint(len(name))*7) % 64)
	if h.met&bit != 0 {
		for _, other := range h.at[:h.n] {
			if bytes.Equal(other, name) {
				return false
			}
		}
	}
	if h.n == maxNames {
		return false
	}
	h.at[h.n] = name
	h.n++
	h.met |= bit
	return true
}

// plainString returns the index after the string that begins at i, or -1, and whether it
// stands for itself. What is not ASCII is passed over.
func plainString(b []byte, i int) (end int, bare bool) {
	if i >= len(b) || b[i] != '"' {
		return -1, false
	}
	bare = true
	for i = ordinary(b, i+1); i < len(b); i = ordinary(b, i) {
		switch c := b[i]; {
		case c == '"':
			return i + 1, bare
		case c >= utf8.RuneSelf:
			i++
		case c == '\\' && i+1 < len(b):
			bare = false
			if i = plainEscape(b, i); i < 0 {
				return -1, false
			}
		default:
			return -1, false
		}
	}
	return -1, false
}

// StringEnd returns the index after the string that begins at index at of text, by its
// quote, or -1 for one that is not as JSON has it, or has rare escapes. Whether it is UTF-8
// is not looked at.
func StringEnd(text []byte, at int) int {
	end, _ := plainString(text, at)
	return end
}

// ordinary returns the index of the first byte from i on that may be more than itself in a
// string, or is not ASCII.
func ordinary(b []byte, i int) int {
	const each = 0x0101010101010101 // a number in each byte of a word
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		// The highest bit is set in bytes that it was set in, and in those that are less than
		// a space, or equal to the quote or the backslash. A borrow comes from such a byte, so
		// that the lowest one is true.
		if odd := (w | (w - each*' ') | ((w ^ each*'"') - each) | ((w ^ each*'\\') - each)) & (each * 0x80); odd != 0 {
			return i + bits.TrailingZeros64(odd)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// plainEscape returns the index after the escape that begins at i, which more follows, or
// -1. Halves of surrogates are looked at elsewhere.
func plainEscape(b []byte, i int) int {
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
	default:
		return -1
	}
	if i+6 > len(b) || b[i+2]|0x20 == 'd' {
		return -1
	}
	for _, c := range b[i+2 : i+6] {
		if c-'0' > 9 && (c|0x20)-'a' > 5 {
			return -1
		}
	}
	return i + 6
}

// plainNumber returns the index after the number that begins at i, or -1.
func plainNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = pastDigits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = pastDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return pastDigits(b, i)
	}
	return i
}

// pastDigits returns the index after the digits that begin at i, of which there must be
// one, or -1.
func pastDigits(b []byte, i int) int {
	first := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == first {
		return -1
	}
	return i
}
