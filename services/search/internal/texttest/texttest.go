// Package texttest makes texts for tests and benchmarks: words are as unevenly
// frequent as those of a language (Zipf's law), a tenth of them written in the
// plural, with English function words where those are; and questions as people
// ask them.
package texttest

import (
	"math/rand/v2"
	"strings"
)

// vocabulary is how many words there are beside function words.
const vocabulary = 200_000

// Writer makes texts. It is not safe for concurrent use.
type Writer struct {
	rng  *rand.Rand
	zipf *rand.Zipf
}

// New returns a writer whose texts depend on rng alone.
func New(rng *rand.Rand) *Writer {
	return &Writer{rng: rng, zipf: rand.NewZipf(rng, 1.05, 2.7, vocabulary)}
}

// Passage returns a text of about so many words.
func (w *Writer) Passage(words int) string {
	var out strings.Builder
	n := words - words/4 + w.rng.IntN(1+words/2)
	for i := range n {
		switch {
		case i == 0:
		case i%15 == 0:
			out.WriteString(". ")
		default:
			out.WriteByte(' ')
		}
		w.write(&out, int(w.zipf.Uint64()))
	}
	return out.String()
}

// Question returns a question of four to ten words that say something and some
// that do not. Half of the former are as rare as texts have them, half are
// among the most frequent ones, as people who ask about a subject use them.
func (w *Writer) Question() string {
	const frequent = 600
	var out strings.Builder
	out.WriteString("what are the")
	for n := 4 + w.rng.IntN(7); n > 0; n-- {
		rank := 0
		for rank < len(functionWords) || n%2 == 0 && rank >= frequent {
			rank = int(w.zipf.Uint64())
		}
		out.WriteByte(' ')
		w.write(&out, rank)
	}
	return out.String()
}

func (w *Writer) write(out *strings.Builder, rank int) {
	if rank < len(functionWords) {
		out.WriteString(functionWords[rank])
		return
	}
	for n := rank + 100; n > 0; n /= len(syllables) {
		out.WriteString(syllables[n%len(syllables)])
	}
	if w.rng.IntN(10) == 0 {
		out.WriteByte('s')
	}
}

var syllables = [...]string{
	"ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "ron", "mun", "tal", "ver", "lin", "cor", "den",
}

var functionWords = [...]string{
	"the", "of", "and", "in", "to", "a", "is", "for", "that", "with", "was", "as", "by", "on", "are", "from", "be", "at", "it", "this",
	"which", "or", "an", "were", "not", "have", "has", "these", "their", "can", "more", "been", "also", "between", "such", "other",
	"than", "but", "we", "its", "all", "they", "will", "had", "into", "two", "one", "some", "when", "who", "there", "his", "after",
	"may", "most", "if", "our", "he", "both", "only", "during", "about", "no", "each", "through", "over", "then", "under", "where",
}
