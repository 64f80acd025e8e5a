package chunk

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// What was cut anew is whole and in order, as what was cut once is, and shows where
// it came from.
func FuzzAgain(f *testing.F) {
	f.Add(strings.Repeat("One two three four five. ", 20), 5, 3, 4, uint64(0b101), false)
	f.Add("# A\n\n"+strings.Repeat("x1 y2 z3. ", 30)+"\n\n- a\n- b\n", 9, 4, 6, ^uint64(0), true)
	f.Add(strings.Repeat("a b c d. ", 12), 40, 20, 5, uint64(2), false)
	f.Fuzz(func(t *testing.T, text string, maxWords, overlapWords, maxTokens int, which uint64, structure bool) {
		text = strings.ToValidUTF8(text, "?")
		o := Options{
			MaxWords: 1 + abs(maxWords)%50, OverlapWords: abs(overlapWords) % 25, MaxBytes: 200, Structure: structure,
		}
		coarse := Split(text, o)
		small := o
		small.MaxTokens = utf8.UTFMax + abs(maxTokens)%40
		var fine []Span
		for i, s := range coarse {
			if which>>(i%64)&1 == 1 {
				fine = append(fine, Again(text, s, small)...)
				continue
			}
			fine = append(fine, s)
		}
		fine = Ordered(text, fine)
		checkSplit(t, text, fine, o)
		if !Refines(coarse, coarse) || len(fine) > 0 && !Refines(fine, coarse) {
			t.Fatalf("%v does not refine %v", fine, coarse)
		}
		if len(fine) > 1 && Refines(fine[:len(fine)-1], coarse) {
			t.Fatalf("%v without its end refines %v", fine, coarse)
		}
	})
}

func TestMostTokens(t *testing.T) {
	for s, want := range map[string]int{"": 0, "the plan": 6, "2024": 7, "été": 8, strings.Repeat("word ", 10): 40} {
		if got := MostTokens(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}
