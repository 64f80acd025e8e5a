// Package spelling corrects the words of a query that no passage has among
// those that the caller may read. Corrections come from these passages alone:
// the index tells which terms near a word they have, and their texts how people
// write them. Start reading at Corrector.Correct.
package spelling

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/index"
)

// The bounds on the work for one query.
const (
	// maxLooked is how many of its words are looked at.
	maxLooked = 64
	// maxCorrected is how many unknown ones are corrected.
	maxCorrected = 5
	// maxTried is how many terms are tried for each.
	maxTried = 10
)

// Vocabulary knows the terms of what the caller may read.
type Vocabulary interface {
	// Near is as that of index.Collection, for the caller's principals.
	Near(ctx context.Context, questions []index.Near) ([][]index.Neighbour, error)
	// Texts returns texts of a few passages that have the term.
	Texts(ctx context.Context, term string) ([]string, error)
}

// Correct returns the query with its unknown words corrected, and otherwise as
// it is; "" when there is nothing to correct. The parts that are left out are
// what the query excludes.
func Correct(ctx context.Context, v Vocabulary, query string, leftOut func(start, end int) bool) (string, error) {
	words := corrigible(query, leftOut)
	unknown, err := unknownOf(ctx, v, words)
	if err != nil || len(unknown) == 0 {
		return "", err
	}
	better := make(map[string]string, len(unknown))
	for _, w := range unknown {
		best, err := correction(ctx, v, w)
		if err != nil {
			return "", err
		}
		if best != "" {
			better[w] = best
		}
	}
	if len(better) == 0 {
		return "", nil
	}
	var out strings.Builder
	last := 0
	for _, t := range analysis.Tokens(query) {
		if b, ok := better[t.Word]; ok && !leftOut(t.Start, t.End) {
			out.WriteString(query[last:t.Start] + inTheCaseOf(query[t.Start:t.End], b))
			last = t.End
		}
	}
	return out.String() + query[last:], nil
}

// edits is how many a word may have: short words have too many neighbours.
func edits(word string) int {
	switch n := utf8.RuneCountInString(word); {
	case n < 4:
		return 0
	case n < 8:
		return 1
	default:
		return 2
	}
}

// corrigible returns the query's different words that can be corrected.
func corrigible(query string, leftOut func(start, end int) bool) []string {
	var out []string
	for _, t := range analysis.Tokens(query) {
		if len(out) == maxLooked {
			break
		}
		if !leftOut(t.Start, t.End) && edits(t.Word) > 0 && !analysis.IsFunctionWord(t.Word) &&
			strings.IndexFunc(t.Word, notLetter) < 0 && !slices.Contains(out, t.Word) {
			out = append(out, t.Word)
		}
	}
	return out
}

func notLetter(r rune) bool { return !unicode.IsLetter(r) && r != '\'' && r != '-' }

// unknownOf returns those of the words that no passage has in any form.
func unknownOf(ctx context.Context, v Vocabulary, words []string) ([]string, error) {
	var questions []index.Near
	var of []int
	for i, w := range words {
		for _, form := range forms(w) {
			questions, of = append(questions, index.Near{Term: form}), append(of, i)
		}
	}
	if len(questions) == 0 {
		return nil, nil
	}
	found, err := v.Near(ctx, questions)
	if err != nil {
		return nil, err
	}
	known := make([]bool, len(words))
	for i, n := range found {
		known[of[i]] = known[of[i]] || len(n) > 0
	}
	var out []string
	for i, w := range words {
		if !known[i] && len(out) < maxCorrected {
			out = append(out, w)
		}
	}
	return out, nil
}

// forms are the terms that passages in either language have for the word, which
// is one of them in a passage that it does not fit.
func forms(word string) []string {
	var out []string
	for _, p := range analysis.PhraseOf(word) {
		out = append(out, p...)
	}
	if !slices.Contains(out, word) {
		out = append(out, word)
	}
	return out
}

// candidate is a term that may be what was meant.
type candidate struct {
	term     string
	distance int
	passages int
}

// correction returns how people write what was meant by the word; "" when
// nothing is near enough.
func correction(ctx context.Context, v Vocabulary, word string) (string, error) {
	candidates, err := candidatesFor(ctx, v, word)
	if err != nil {
		return "", err
	}
	var best string
	var rank candidate
	for _, c := range candidates[:min(len(candidates), maxTried)] {
		texts, err := v.Texts(ctx, c.term)
		if err != nil {
			return "", err
		}
		written, distance := writing(word, c.term, texts)
		c.distance = distance
		if written != "" && (best == "" || compare(c, rank) < 0) {
			best, rank = written, c
		}
	}
	return best, nil
}

// compare puts the nearest first, then the most frequent.
func compare(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(b.passages, a.passages), strings.Compare(a.term, b.term))
}

// The endings that stemming takes away, in bytes.
const shortestEnding, longestEnding = 3, 6

// questionsFor asks for the terms near the word's. Stems may be farther apart
// than words are, because a misspelled ending is not taken away: walkng and
// walk, for walking. So the word is asked for without an ending, too.
func questionsFor(word string) []index.Near {
	var out []index.Near
	for _, form := range forms(word) {
		out = append(out, index.Near{Term: form, Edits: min(edits(word)+1, index.MaxEdits)})
	}
	for n := shortestEnding; n <= longestEnding && len(word)-n >= 4; n++ {
		if utf8.RuneStart(word[len(word)-n]) {
			out = append(out, index.Near{Term: word[:len(word)-n], Edits: 1})
		}
	}
	return out
}

// candidatesFor returns the terms near the word's, best first.
func candidatesFor(ctx context.Context, v Vocabulary, word string) ([]candidate, error) {
	questions, whole := questionsFor(word), len(forms(word))
	found, err := v.Near(ctx, questions)
	if err != nil {
		return nil, err
	}
	var out []candidate
	seen := make(map[string]int)
	for i, neighbours := range found {
		for _, n := range neighbours {
			c := candidate{term: n.Term, passages: n.Passages, distance: distance(questions[i].Term, n.Term)}
			if i >= whole {
				c.distance++
			}
			if at, ok := seen[n.Term]; ok {
				out[at].distance = min(out[at].distance, c.distance)
				continue
			}
			seen[n.Term] = len(out)
			out = append(out, c)
		}
	}
	slices.SortFunc(out, compare)
	return out, nil
}

// writing returns the word of the texts with that term which is nearest to
// word, the most frequent of them, in lower case, and how far it is; "" when
// none is near enough.
func writing(word, term string, texts []string) (best string, nearest int) {
	counts := make(map[string]int)
	for _, text := range texts {
		for _, t := range analysis.Matches(text, map[string]bool{term: true}) {
			if analysis.IsFunctionWord(t.Word) || strings.IndexFunc(t.Word, notLetter) >= 0 {
				continue
			}
			if d := distance(word, t.Word); d > 0 && d <= edits(word) {
				counts[strings.ToLower(text[t.Start:t.End])]++
			}
		}
	}
	for w, n := range counts {
		d := distance(word, analysis.Fold(w))
		if best == "" || cmp.Or(cmp.Compare(d, nearest), cmp.Compare(counts[best], n), strings.Compare(w, best)) < 0 {
			best, nearest = w, d
		}
	}
	return best, nearest
}

// inTheCaseOf writes b as a is written: all in capitals, or the first letter.
func inTheCaseOf(a, b string) string {
	first, size := utf8.DecodeRuneInString(a)
	switch {
	case !unicode.IsUpper(first):
		return b
	case len(a) > size && a == strings.ToUpper(a):
		return strings.ToUpper(b)
	default:
		r, size := utf8.DecodeRuneInString(b)
		return string(unicode.ToUpper(r)) + b[size:]
	}
}
