package analysis

// Phrase is words that stand one after another. Each is what a passage in
// either language has for it; one of these is enough.
type Phrase [][]string

// PhraseOf returns the words of text in order, function words among them.
func PhraseOf(text string) Phrase {
	tokens := Tokens(text)
	out := make(Phrase, len(tokens))
	for i, t := range tokens {
		out[i] = stems(t.Word)
	}
	return out
}

// IsFunctionWord reports whether the folded word is one in either language.
func IsFunctionWord(word string) bool { return isEnglishWord(word) || isFrenchWord(word) }
