package elastic

import (
	"math"
	"strings"
	"unicode/utf8"
)

// What is sent in bulk is Smile rather than JSON: a vector's values are then
// neither written as decimal digits here nor read from them there, which costs
// both sides more than anything else of a passage. Written is what the "Smile
// Data Format Specification", version 1.0, has of it, without names and texts
// that refer to earlier ones.

const (
	// smileSeparator ends a document; nothing within one has this byte.
	smileSeparator = 0xFF

	smileEmpty       = 0x20
	smileInt32       = 0x24
	smileInt64       = 0x25
	smileFloat32     = 0x28
	smileFloat64     = 0x29
	smileLongName    = 0x34
	smileLongText    = 0xE4
	smileEnd         = 0xFC // of a long name or text
	smileShortNames  = 0x80
	smileShortTexts  = 0x40
	smileArray       = 0xF8
	smileArrayEnd    = 0xF9
	smileObject      = 0xFA
	smileObjectEnd   = 0xFB
	smileShortLength = 64
)

// smile is a text in the making.
type smile []byte

// begin begins a document; each has a head of its own.
func (s smile) begin() smile { return append(s, ':', ')', '\n', 0) }

func (s smile) object() smile    { return append(s, smileObject) }
func (s smile) objectEnd() smile { return append(s, smileObjectEnd) }
func (s smile) array() smile     { return append(s, smileArray) }
func (s smile) arrayEnd() smile  { return append(s, smileArrayEnd) }

// name writes a member's name.
func (s smile) name(n string) smile {
	switch {
	case n == "":
		return append(s, smileEmpty)
	case isShortASCII(n):
		return append(append(s, smileShortNames+byte(len(n)-1)), n...)
	default:
		return append(append(append(s, smileLongName), valid(n)...), smileEnd)
	}
}

// text writes a string; what of it is not UTF-8 is written as U+FFFD.
func (s smile) text(t string) smile {
	switch {
	case t == "":
		return append(s, smileEmpty)
	case isShortASCII(t):
		return append(append(s, smileShortTexts+byte(len(t)-1)), t...)
	default:
		return append(append(append(s, smileLongText), valid(t)...), smileEnd)
	}
}

func (s smile) texts(list []string) smile {
	s = s.array()
	for _, t := range list {
		s = s.text(t)
	}
	return s.arrayEnd()
}

// words writes one text of all the words, a space between each two.
func (s smile) words(list []string) smile {
	s = append(s, smileLongText)
	for i, w := range list {
		if i > 0 {
			s = append(s, ' ')
		}
		s = append(s, valid(w)...)
	}
	return append(s, smileEnd)
}

// integer writes a number with seven bits a byte, the highest first and the last
// six marked, and its sign lowest. Readers count on the wider kind having five
// bytes at least.
func (s smile) integer(n int64) smile {
	z := uint64(n<<1) ^ uint64(n>>63)
	var low [10]byte
	at := len(low) - 1
	low[at] = 0x80 | byte(z&0x3F)
	for z >>= 6; z > 0; z >>= 7 {
		at--
		low[at] = byte(z & 0x7F)
	}
	kind := byte(smileInt32)
	if n != int64(int32(n)) {
		kind = smileInt64
	}
	return append(append(s, kind), low[at:]...)
}

func (s smile) float32(x float32) smile {
	b := math.Float32bits(x)
	return append(s, smileFloat32, byte(b>>28), byte(b>>21)&0x7F, byte(b>>14)&0x7F, byte(b>>7)&0x7F, byte(b)&0x7F)
}

func (s smile) float64(x float64) smile {
	b := math.Float64bits(x)
	s = append(s, smileFloat64)
	for shift := 63; shift >= 0; shift -= 7 {
		s = append(s, byte(b>>shift)&0x7F)
	}
	return s
}

func (s smile) vector(v []float32) smile {
	s = s.array()
	for _, x := range v {
		s = s.float32(x)
	}
	return s.arrayEnd()
}

func isShortASCII(s string) bool {
	if len(s) > smileShortLength {
		return false
	}
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// valid returns s as UTF-8, which has no byte that ends a text or a document.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
