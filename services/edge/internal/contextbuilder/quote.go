package contextbuilder

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// quote makes a text harmless in a prompt: it can neither close the tag that it
// stands in nor open another, spells no control token of a chat template
// (`<|im_end|>`, `</s>`, `[INST]`), and cites nothing: `[3]` in a document is not
// passage 3. Forms of the marks that tokenisers which normalise (NFKC) would fold
// into them count as the marks. Characters that nobody sees and that may say
// something else to the model than to its reader are left out: control and tag
// characters, and those that change the direction of writing.
func quote(s string) string {
	if plain(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if invisible(r) {
			return -1
		}
		return r // U+FFFD in place of bytes that are no text
	}, s)
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	for i, r := range s {
		switch r {
		case '[', '［':
			if control(s[i+utf8.RuneLen(r):]) {
				b.WriteString("&#91;")
			} else {
				b.WriteRune(r)
			}
		default:
			if e := entity(r); e != "" {
				b.WriteString(e)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

// plain reports whether nothing of s needs a closer look.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= utf8.RuneSelf, c < ' ' && c != '\n' && c != '\t', c == 0x7f:
			return false
		case c == '&' || c == '<' || c == '>' || c == '"' || c == '[':
			return false
		}
	}
	return true
}

// entity is how a mark is written; empty: as it is.
func entity(r rune) string {
	switch r {
	case '&', '＆', '﹠':
		return "&amp;"
	case '<', '＜', '﹤':
		return "&lt;"
	case '>', '＞', '﹥':
		return "&gt;"
	case '"', '＂':
		return "&quot;"
	default:
		return ""
	}
}

// invisible is for characters that are left out.
func invisible(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case unicode.IsControl(r):
		return true
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // directions
		return true
	case r == 0x200b, r == 0x2060, r == 0xfeff, r == 0xad: // no width; joiners are part of words
		return true
	default:
		return r >= 0xe0000 && r <= 0xe0fff // tags and more variation selectors
	}
}

// maxControl is the longest name of a control token in brackets that is looked for.
const maxControl = 40

// control reports whether what follows a bracket makes it a control token or a
// citation: capitals, digits and what joins them, up to the closing bracket.
func control(rest string) bool {
	letters := 0
	for i, r := range rest {
		switch {
		case i > maxControl:
			return false
		case r == ']' || r == '］':
			return letters > 0
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || letters == 0 && (r == 'g' || r == 's'):
			letters++
		case r >= 'Ａ' && r <= 'Ｚ' || r >= '０' && r <= '９':
			letters++
		case r == '/' || r == ' ' || r == ',' || r == ';' || r == '-' || r == '–' || r == '^' || r == '|' || r == '\u200c' || r == '\u200d':
		default:
			return false
		}
	}
	return false
}

// Quote makes a text harmless between tags of a prompt.
func Quote(s string) string { return quote(s) }
