package nearduplicate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestFold(t *testing.T) {
	var long strings.Builder
	for i := range 60 {
		fmt.Fprintf(&long, "word%d ", i*i)
	}
	edited := strings.Replace(long.String(), "word900", "other", 1)
	tests := map[string]struct {
		texts []string
		want  []int
	}{
		"nothing":                {nil, nil},
		"the same":               {[]string{"a b c d", "x y z w", "a b c d"}, []int{-1, -1, 0}},
		"another spelling":       {[]string{"L'été, à Paris: deux jours.", "l’ETE a paris — deux jours"}, []int{-1, 0}},
		"a word changed":         {[]string{long.String(), edited}, []int{-1, 0}},
		"one half":               {[]string{long.String(), long.String()[:long.Len()/2]}, []int{-1, -1}},
		"few words":              {[]string{"yes", "no", "Yes!", "yes no"}, []int{-1, -1, 0, -1}},
		"without words":          {[]string{"?!", "?!", ""}, []int{-1, -1, -1}},
		"the first of several":   {[]string{"p q r s", "a b c d", "a b c d", "a b c d"}, []int{-1, -1, 1, 1}},
		"words in another order": {[]string{"one two three four five", "five four three two one"}, []int{-1, -1}},
	}
	for name, tt := range tests {
		got, err := Fold(t.Context(), tt.texts)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fold(ctx, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("its caller left: %v", err)
	}
}

// TestNothingIsMissed compares with every pair looked at.
func TestNothingIsMissed(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		var texts []string
		for range 40 {
			var words []string
			if len(texts) > 0 && r.IntN(3) > 0 {
				words = strings.Fields(texts[r.IntN(len(texts))])
				for range r.IntN(4) {
					words[r.IntN(len(words))] = fmt.Sprint("n", r.IntN(50))
				}
			} else {
				for range 3 + r.IntN(40) {
					words = append(words, fmt.Sprint("w", r.IntN(200)))
				}
			}
			texts = append(texts, strings.Join(words, " "))
		}
		want := make([]int, len(texts))
		for i := range texts {
			want[i] = -1
			for j := 0; j < i && want[i] < 0; j++ {
				if want[j] < 0 && Resemblance(Of(texts[j]), Of(texts[i])) >= Threshold {
					want[i] = j
				}
			}
		}
		if got, err := Fold(t.Context(), texts); err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	}
}
