package chunk

import (
	"unicode"
	"unicode/utf8"
)

// asciiToken is how many letters or digits of ASCII are taken for one token.
// Vocabularies of embedding models have 4 to 5 of English in one; rare words,
// names and numbers have fewer.
const asciiToken = 3

// Tokens estimates how many tokens a model's tokeniser makes of s, rather too
// many than too few: one for each asciiToken letters or digits of a word, one for
// each other character. It is never more than the bytes of s, and that of two
// texts together never more than the sum of theirs.
func Tokens(s string) int {
	n, run := 0, 0
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			if run%asciiToken == 0 {
				n++
			}
			run++
		case unicode.IsSpace(r):
			run = 0
		default:
			n, run = n+1, 0
		}
	}
	return n
}

// MostTokens is a bound on how many tokens a model's tokeniser makes of s that holds
// for all but texts made to break it: twice the estimate, and one more for each
// digit and for each byte of what is not ASCII, where vocabularies differ most;
// never more than the bytes of s and the marks of beginning and end.
func MostTokens(s string) int {
	n := 2 * Tokens(s)
	for i := range len(s) {
		if b := s[i]; b >= utf8.RuneSelf || b >= '0' && b <= '9' {
			n++
		}
	}
	const marks = 3
	return min(n, len(s)+marks)
}
