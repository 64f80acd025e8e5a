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

// The languages that queries may be said to be in.
const (
	English = "en"
	French  = "fr"
)

// LanguageOf returns the language whose function words the text has more of; ""
// when it has as many of both.
func LanguageOf(text string) string {
	balance := 0
	for _, t := range Tokens(text) {
		en, fr := isEnglishWord(t.Word), isFrenchWord(t.Word)
		switch {
		case en && !fr:
			balance--
		case fr && !en:
			balance++
		}
	}
	switch {
	case balance < 0:
		return English
	case balance > 0:
		return French
	default:
		return ""
	}
}

// QueryIn is Query for a text that is known to be in the language: its words
// are looked for as that language stems them, and its function words are left
// out. "" is Query.
func QueryIn(text, lang string) []Term {
	if lang != English && lang != French {
		return Query(text)
	}
	in := english
	if lang == French {
		in = french
	}
	tokens := Tokens(text)
	content := make([]Token, 0, len(tokens))
	for _, t := range tokens {
		if !isFunctionWord(t.Word, in) {
			content = append(content, t)
		}
	}
	if len(content) == 0 {
		content = tokens
	}
	stem := stemmerFor(in)
	var out []Term
	seen := make(map[string]int, len(content))
	for _, t := range content {
		s := stem(t.Word)
		if i, ok := seen[s]; ok {
			out[i].Count++
			continue
		}
		seen[s] = len(out)
		out = append(out, Term{Variants: []string{s}, Count: 1})
	}
	return out
}
