// Package analysis turns text into the terms that are indexed and looked for.
// It works the same for every backend: an index is given finished terms and
// splits them at spaces, so that all backends rank alike. It knows no index;
// start reading at Analyze and Query.
//
// The steps, for English and French together: words by Unicode's text
// segmentation (UAX #29), lower case, French elisions (l', qu') and the English
// possessive cut off, accents folded, British spellings made American, then a
// stem in the language that the text's own function words speak. Function words stay in the index, where
// BM25 gives them next to no weight, and are left out of queries that say more
// than that.
package analysis

import "strings"

// maxTermBytes is the length above which a word is not indexed: nobody looks
// for it, and it is usually encoded data.
const maxTermBytes = 64

// Token is one word of a text.
type Token struct {
	// Word is the folded word before stemming.
	Word string
	// Start and End are its place in the text, in bytes.
	Start, End int
}

// Tokens returns the words of text in order.
func Tokens(text string) []Token {
	out := make([]Token, 0, len(text)/6+1)
	each(text, func(t Token) { out = append(out, t) })
	return out
}

// Count returns how many words, and so terms, the text has.
func Count(text string) (n int) {
	each(text, func(Token) { n++ })
	return n
}

// word folds one segment; it reports false for what is not indexed.
func word(s string, start int) (Token, bool) {
	end := start + len(s)
	if cut := elided(s); cut > 0 {
		s, start = s[cut:], start+cut
	}
	if cut := possessive(s); cut > 0 {
		s, end = s[:len(s)-cut], end-cut
	}
	if len(s) == 0 || len(s) > maxTermBytes {
		return Token{}, false
	}
	w := Fold(s)
	return Token{Word: w, Start: start, End: end}, w != ""
}

// elided returns how many bytes of a French elision begin s.
func elided(s string) int {
	i := strings.IndexAny(s, "'’")
	if i <= 0 {
		return 0
	}
	switch strings.ToLower(s[:i]) {
	case "l", "d", "j", "m", "t", "s", "c", "n", "qu", "jusqu", "lorsqu", "puisqu", "quoiqu":
	default:
		return 0
	}
	if s[i] == '\'' {
		return i + 1
	}
	return i + len("’")
}

// possessive returns how many bytes of an English possessive end s.
func possessive(s string) int {
	for _, p := range [...]string{"'s", "’s", "'S", "’S"} {
		if len(s) > len(p) && strings.HasSuffix(s, p) {
			return len(p)
		}
	}
	return 0
}

// Analyze returns the terms of a passage in order, with repetitions.
func Analyze(text string) []string {
	tokens := Tokens(text)
	stem := stemmerFor(detect(tokens))
	out := make([]string, len(tokens))
	for i, t := range tokens {
		out[i] = stem(t.Word)
	}
	return out
}

// Term is one word of a query: a passage that has any of the variants has the
// word.
type Term struct {
	// Variants are the word's stems, one per language, without repetition.
	Variants []string
	// Count is how often the query has the word.
	Count int
}

// Query returns the words of a query in the order they first appear. Each is
// looked for as either language stems it, because a query's language is hard to
// tell from a few words and its collection may hold both; in one whose function
// words are English, as English stems it.
func Query(text string) []Term {
	tokens := Tokens(text)
	variants := stems
	if balance(tokens) < 0 {
		variants = func(word string) []string { return []string{stemEnglish(word)} }
	}
	content := withoutFunctionWords(tokens)
	if len(content) == 0 {
		content = tokens
	}
	var out []Term
	seen := make(map[string]int, len(content))
	for _, t := range content {
		v := variants(t.Word)
		key := strings.Join(v, " ")
		if i, ok := seen[key]; ok {
			out[i].Count++
			continue
		}
		seen[key] = len(out)
		out = append(out, Term{Variants: v, Count: 1})
	}
	return out
}

// stems returns what a passage in either language has for the word.
func stems(word string) []string {
	en, fr := stemEnglish(word), stemFrench(word)
	if en == fr {
		return []string{en}
	}
	return []string{en, fr}
}

func withoutFunctionWords(tokens []Token) []Token {
	lang := detect(tokens)
	out := make([]Token, 0, len(tokens))
	for _, t := range tokens {
		if !isFunctionWord(t.Word, lang) {
			out = append(out, t)
		}
	}
	return out
}

// Matches returns the words of a passage whose term is wanted.
func Matches(text string, wanted map[string]bool) []Token {
	tokens := Tokens(text)
	stem := stemmerFor(detect(tokens))
	var out []Token
	for _, t := range tokens {
		if wanted[stem(t.Word)] {
			out = append(out, t)
		}
	}
	return out
}
