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

// TestNothingIsMissed compares with every pair looked at: texts that repeat others
// with a few words changed, that share a frame, and that have nothing in common.
func TestNothingIsMissed(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	folded, near := 0, 0
	for range 12 {
		texts := variants(r)
		want := make([]int, len(texts))
		for i := range texts {
			want[i] = -1
			for j := 0; j < i && want[i] < 0; j++ {
				if want[j] >= 0 {
					continue
				}
				switch by := Resemblance(Of(texts[j]), Of(texts[i])); {
				case by >= Threshold:
					want[i] = j
					folded++
				case by > Threshold-0.1:
					near++
				}
			}
		}
		if got, err := Fold(t.Context(), texts); err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	}
	if folded < 50 || near < 50 {
		t.Errorf("%d repeat another, %d nearly do: that tells little", folded, near)
	}
}

func variants(r *rand.Rand) []string {
	var texts, frame []string
	for range 40 {
		frame = append(frame, fmt.Sprint("w", r.IntN(60)))
	}
	for range 60 {
		var words []string
		switch {
		case len(texts) > 0 && r.IntN(3) > 0:
			words = strings.Fields(texts[r.IntN(len(texts))])
			for range r.IntN(5) {
				words[r.IntN(len(words))] = fmt.Sprint("n", r.IntN(50))
			}
		case r.IntN(2) > 0:
			words = slices.Clone(frame)
			for range r.IntN(30) {
				words = append(words, fmt.Sprint("f", r.IntN(200)))
			}
		default:
			for range 3 + r.IntN(40) {
				words = append(words, fmt.Sprint("w", r.IntN(200)))
			}
		}
		texts = append(texts, strings.Join(words, " "))
	}
	return texts
}

// However many texts stand in one frame of words, few are compared.
func TestFewAreCompared(t *testing.T) {
	texts := framed(300, benchWords/2)
	sets := make([]Set, len(texts))
	for i, text := range texts {
		sets[i] = Of(text)
	}
	f := newFolder(sets)
	pairs := 0
	for i := range sets {
		rarest := f.rarest(i)
		f.first(i, rarest)
		for j := range i {
			if f.compared[j] == int32(i)+1 {
				pairs++
			}
		}
		f.hold(i, rarest)
	}
	if pairs > 10*len(texts) {
		t.Errorf("%d pairs of %d texts were compared", pairs, len(texts))
	}
}
