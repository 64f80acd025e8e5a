// Package detect finds in texts what must not go through a gateway unseen:
// secrets, personal data, attempts to give a model other instructions. It works
// on whole texts and on texts that come piece by piece, and finds the same in
// both. It changes no request itself and decides nothing about who asks. Start
// reading at Detector, then Scanner; what to do about findings is in rules.go.
package detect

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind names what is found: a class and a name, such as pii/email.
type Kind string

// Verdict is what a detector says of a text's beginning.
type Verdict int

// The verdicts.
const (
	// No is that nothing begins there, however the text goes on.
	No Verdict = iota
	// Yes is that something does, however the text goes on.
	Yes
	// More is that this depends on how the text goes on.
	More
)

// Detector finds some kinds. Implementations hold no state and are safe for
// concurrent use.
type Detector interface {
	// Kinds lists what it finds.
	Kinds() []Kind
	// Starts reports whether something that it finds may begin with the byte b.
	Starts(b byte) bool
	// Match says whether text begins with something, of which kind, and how many
	// bytes of it that is. whole says that nothing follows after text, and then
	// the verdict is never More. A verdict of No or Yes must hold for every
	// continuation of text; that is what makes streams find the same.
	Match(text string, whole bool) (kind Kind, n int, v Verdict)
}

// maxLength is the most bytes that a finding has, and therefore the most of a
// stream that is ever held back: a private key in its armour.
const maxLength = 8 << 10

// All returns the built-in detectors.
func All() []Detector {
	out := []Detector{
		newEmail(),
		card{},
		iban{},
		nir{},
		siret{},
		siren{},
		frenchVAT{},
		frenchTax{},
		ssn{},
		phone{},
		privateKey{},
		newJWT(), newURLPassword(), newAssignment(), newPhrases(), newTemplateToken(),
		hiddenText{},
	}
	return append(out, tokens()...)
}

// Finding is a part of a text.
type Finding struct {
	Kind Kind
	// Start and End are its place, in bytes.
	Start, End int
}

// Scanner finds what any of some detectors finds. Where several do, the longest
// finding counts, then the first detector's. It is safe for concurrent use.
type Scanner struct {
	starts [256][]Detector
	wanted map[Kind]bool
}

// NewScanner returns a scanner that reports the wanted kinds of the detectors.
func NewScanner(detectors []Detector, wanted func(Kind) bool) *Scanner {
	s := &Scanner{wanted: make(map[Kind]bool)}
	for _, d := range detectors {
		use := false
		for _, k := range d.Kinds() {
			if wanted(k) {
				s.wanted[k], use = true, true
			}
		}
		for b := range len(s.starts) {
			if use && d.Starts(byte(b)) {
				s.starts[b] = append(s.starts[b], d)
			}
		}
	}
	return s
}

// Find returns the findings in a whole text, in their order; none overlap.
func (s *Scanner) Find(text string) []Finding {
	var out []Finding
	for at := 0; ; {
		f, ok, _ := s.next(text, at, true)
		if !ok {
			return out
		}
		out = append(out, f)
		at = f.End
	}
}

// next returns the first finding that begins at or after the byte at. When there
// is none, safe is the place before which none begins, whatever follows.
func (s *Scanner) next(text string, at int, whole bool) (f Finding, ok bool, safe int) {
	for i := at; i < len(text); {
		if s.starts[text[i]] != nil && begins(text, i) {
			n, kind, v := s.at(text[i:], whole)
			switch v {
			case Yes:
				return Finding{Kind: kind, Start: i, End: i + n}, true, i
			case More:
				return Finding{}, false, i
			case No:
			}
		}
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		_, size := utf8.DecodeRuneInString(text[i:])
		i += size
	}
	return Finding{}, false, len(text)
}

func (s *Scanner) at(text string, whole bool) (longest int, kind Kind, v Verdict) {
	if len(text) >= maxLength {
		text, whole = text[:maxLength], true
	}
	for _, d := range s.starts[text[0]] {
		k, n, verdict := d.Match(text, whole)
		switch {
		case verdict == More:
			return 0, "", More // it may become the longest
		case verdict == Yes && n > longest && s.wanted[k]:
			longest, kind, v = n, k, Yes
		}
	}
	return longest, kind, v
}

// begins reports whether something may begin at the byte i: in the middle of a
// word nothing does. An escaped line break, as in JSON, is none of a word.
func begins(text string, i int) bool {
	if i == 0 {
		return true
	}
	if a, b := text[i-1], text[i]; a < utf8.RuneSelf && b < utf8.RuneSelf && (!wordByte(a) || !wordByte(b)) {
		return true
	}
	if r, _ := utf8.DecodeRuneInString(text[i:]); !wordRune(r) {
		return true
	}
	r, size := utf8.DecodeLastRuneInString(text[:i])
	if !wordRune(r) {
		return true
	}
	return size == 1 && i >= 2 && text[i-2] == '\\' && (r == 'n' || r == 't' || r == 'r')
}

func wordByte(b byte) bool { return isAlnum(b) || b == '_' }

func wordRune(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func isUpper(b byte) bool { return 'A' <= b && b <= 'Z' }

func isLetter(b byte) bool { return isUpper(b) || 'a' <= b && b <= 'z' }

func isAlnum(b byte) bool { return isDigit(b) || isLetter(b) }

// set is some bytes.
type set [256]bool

func setOf(chars string) *set {
	s := new(set)
	for i := range len(chars) {
		s[chars[i]] = true
	}
	return s
}

// setBut is all that people see, but for the bytes in chars.
func setBut(chars string) *set {
	s := new(set)
	for b := int(' ') + 1; b < len(s); b++ {
		s[b] = strings.IndexByte(chars, byte(b)) < 0
	}
	return s
}

// while returns how many bytes from the start are in ok, at most limit; more says
// that the text ends with them and may go on.
func (s *set) while(text string, whole bool, limit int) (n int, more bool) {
	end := min(len(text), limit)
	for n < end && s[text[n]] {
		n++
	}
	return n, n == len(text) && n < limit && !whole
}

// prefixed reports whether text begins with prefix, which is Yes, or might.
func prefixed(text, prefix string, whole bool) Verdict {
	n := min(len(text), len(prefix))
	switch {
	case text[:n] != prefix[:n]:
		return No
	case n == len(prefix):
		return Yes
	case whole:
		return No
	default:
		return More
	}
}
