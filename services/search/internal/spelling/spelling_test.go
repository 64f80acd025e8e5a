package spelling

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/index"
)

// shelf is a vocabulary of texts, each a passage.
type shelf struct {
	texts []string
	asked int
	fail  error
}

func (s *shelf) Near(_ context.Context, questions []index.Near) ([][]index.Neighbour, error) {
	s.asked += len(questions)
	out := make([][]index.Neighbour, len(questions))
	for i, q := range questions {
		counts := make(map[string]int)
		for _, text := range s.texts {
			terms := analysis.Analyze(text)
			slices.Sort(terms)
			for _, t := range slices.Compact(terms) {
				if distance(q.Term, t) <= q.Edits {
					counts[t]++
				}
			}
		}
		for t, n := range counts {
			out[i] = append(out[i], index.Neighbour{Term: t, Passages: n})
		}
	}
	return out, s.fail
}

func (s *shelf) Texts(_ context.Context, term string) ([]string, error) {
	var out []string
	for _, text := range s.texts {
		if slices.Contains(analysis.Analyze(text), term) && len(out) < 5 {
			out = append(out, text)
		}
	}
	return out, nil
}

func correct(t *testing.T, s *shelf, query string) string {
	t.Helper()
	got, err := Correct(t.Context(), s, query, func(start, _ int) bool { return query[start] == '!' || start > 0 && query[start-1] == '!' })
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCorrect(t *testing.T) {
	s := &shelf{texts: []string{
		"The carpet and the cordial guest", "A carpet", "Carpets", "a carver",
		"Les Élections générales de l'été ont été étudiées", "The Elections of Generals",
	}}
	for query, want := range map[string]string{
		"carpef":              "carpet", // carver is as near by its stem, and farther as a word
		"carvet":              "carpet", // as near as carver, and more frequent
		"carvre":              "carver", // two neighbours changed places
		"CARPTE  and\tCarpte": "CARPET  and\tCarpet",
		"!carpef carpef":      "!carpef carpet",
		"carpet":              "",
		"carpets":             "", // is there in another form
		"cprt":                "", // too far for its length
		"the wth avze":        "",
		"generles":            "générales",
		"l'électoin":          "l'elections",
		"elektions":           "elections",
		"cordail4":            "",
		"qqqqqq zzzzzz":       "",
		"":                    "",
	} {
		if got := correct(t, s, query); got != want && (want != "" || got != query) {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}

func TestTheWorkIsBounded(t *testing.T) {
	s := &shelf{texts: []string{"carpet"}}
	var words []string
	for a := 'a'; a <= 'z'; a++ {
		for b := 'a'; b <= 'z'; b++ {
			words = append(words, "qw"+string(a)+"yx"+string(b)+"vk")
		}
	}
	correct(t, s, strings.Join(words, " "))
	if most := 3*maxLooked + 10*maxCorrected; s.asked > most {
		t.Errorf("%d questions, more than %d", s.asked, most)
	}
	s.fail = errors.New("the index went away")
	if _, err := Correct(t.Context(), s, "carpef", func(int, int) bool { return false }); !errors.Is(err, s.fail) {
		t.Errorf("got %v", err)
	}
}

func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"abc", "abc"}: 0, {"abc", "acb"}: 1, {"abc", "ab"}: 1, {"abc", "xabc"}: 1, {"ca", "abc"}: 3, {"été", "ete"}: 2, {"abcd", "badc"}: 2,
	} {
		if got := distance(pair[0], pair[1]); got != want || distance(pair[1], pair[0]) != want {
			t.Errorf("%v: %d, want %d", pair, got, want)
		}
	}
}
