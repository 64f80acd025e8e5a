package engine

import "strings"

// bytesPerToken is more bytes of text than a token stands for on average in any
// language: embedding models' tokenisers make 4 to 6.
const bytesPerToken = 8

// LeastTokens is a number of tokens that in is sure to have about at least: its
// token ids when it is given as such, and otherwise its words, or an eighth of
// its bytes that are no white space if that is more, for languages that put no
// space between words. It is far below the true number for most texts, so that
// a limit on it refuses nothing that fits.
func (in Input) LeastTokens() int {
	if len(in.Tokens) > 0 {
		return len(in.Tokens)
	}
	words, size := 0, 0
	for word := range strings.FieldsSeq(in.Text) {
		words++
		size += len(word)
	}
	return max(words, size/bytesPerToken)
}

// Bytes is the size of in: its text, or four bytes for each token id.
func (in Input) Bytes() int { return len(in.Text) + 4*len(in.Tokens) }
