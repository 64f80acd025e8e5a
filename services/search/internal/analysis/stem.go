package analysis

import (
	"strings"

	"github.com/blevesearch/snowballstem"
	porter2 "github.com/blevesearch/snowballstem/english"
)

func stemmerFor(lang language) func(string) string {
	if lang == french {
		return stemFrench
	}
	return stemEnglish
}

// stemEnglish is Porter's second English stemmer (snowballstem.org) of the word
// as it is spelled in America.
func stemEnglish(w string) string {
	if len(w) < 3 || !letters(w) {
		return w
	}
	env := snowballstem.NewEnv(american(w))
	porter2.Stem(env)
	return env.Current()
}

// stemFrench removes plural and feminine endings and the commonest endings of
// adverbs and verbs from a folded word: a short form of J. Savoy's light French
// stemmer ("A stemming procedure and stopword list for general French corpora",
// JASIS 50(10), 1999) that needs no accents, since people leave them out.
func stemFrench(w string) string {
	if len(w) < 4 || !letters(w) {
		return w
	}
	w = frenchPlural(w)
	if len(w) > 8 {
		if s, ok := strings.CutSuffix(w, "issement"); ok {
			return s
		}
		if s, ok := strings.CutSuffix(w, "ement"); ok {
			return undouble(s)
		}
	}
	if len(w) > 6 {
		for _, ending := range [...]string{"aient", "erent", "erait", "eront"} {
			if s, ok := strings.CutSuffix(w, ending); ok {
				return undouble(s)
			}
		}
	}
	if len(w) > 5 {
		for _, ending := range [...]string{"ees", "ee", "er", "ez", "ait"} {
			if s, ok := strings.CutSuffix(w, ending); ok {
				return undouble(s)
			}
		}
	}
	if len(w) > 4 && strings.HasSuffix(w, "e") {
		return undouble(w[:len(w)-1])
	}
	return undouble(w)
}

func frenchPlural(w string) string {
	switch {
	case len(w) > 5 && strings.HasSuffix(w, "eaux"):
		return w[:len(w)-1]
	case len(w) > 4 && strings.HasSuffix(w, "aux"):
		return w[:len(w)-2] + "l"
	case strings.HasSuffix(w, "x") || strings.HasSuffix(w, "s"):
		return w[:len(w)-1]
	default:
		return w
	}
}

// undouble turns a doubled last letter into one: cruelle and cruel meet.
func undouble(w string) string {
	if n := len(w); n > 3 && w[n-1] == w[n-2] {
		return w[:n-1]
	}
	return w
}

func letters(w string) bool {
	for i := range len(w) {
		if w[i] < 'a' || w[i] > 'z' {
			return false
		}
	}
	return true
}
