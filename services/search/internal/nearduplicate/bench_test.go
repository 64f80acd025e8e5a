package nearduplicate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/search/internal/texttest"
)

// BenchmarkFold reports what it takes to fold texts of 200 words of a language's
// frequencies: none of which repeats another, all of which stand in one frame of
// words (a form's), far below the threshold or close to it, and all of which repeat
// one of a few.
func BenchmarkFold(b *testing.B) {
	for _, n := range []int{100, 1000, 2000} {
		for name, texts := range map[string][]string{"apart": apart(n), "framed": framed(n, benchWords/2), "close": framed(n, 3*benchWords/4), "repeated": repeated(n)} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					if _, err := Fold(b.Context(), texts); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

const benchWords = 200

func apart(n int) []string {
	w := texttest.New(rand.New(rand.NewPCG(1, 1)))
	out := make([]string, n)
	for i := range out {
		out[i] = w.Passage(benchWords)
	}
	return out
}

func framed(n, shared int) []string {
	w := texttest.New(rand.New(rand.NewPCG(2, 2)))
	frame := w.Passage(shared)
	out := make([]string, n)
	for i := range out {
		out[i] = frame + " " + w.Passage(benchWords-shared)
	}
	return out
}

func repeated(n int) []string {
	rng := rand.New(rand.NewPCG(3, 3))
	some := apart(20)
	out := make([]string, n)
	for i := range out {
		words := strings.Fields(some[rng.IntN(len(some))])
		words[rng.IntN(len(words))] = fmt.Sprint("other", i)
		out[i] = strings.Join(words, " ")
	}
	return out
}
