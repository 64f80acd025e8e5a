package ranking

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/store"
)

func example() Ranking {
	r := Ranking{
		Mode: "hybrid", Fusion: "standardised", Legs: []string{"lexical", "vector"}, Weights: []float64{0.25, 0.75},
		Generation: 1 << 40, RerankedBy: "judge@v2", More: true, Seen: []Shown{{store.Ref{No: 7, Number: 3}, 1 << 63}},
	}
	for i := range 3 {
		c := Candidate{
			Ref: store.Ref{No: int64(100 - i), Number: i},
			Result: fusion.Result{Score: -1.5 * float64(i), Parts: []fusion.Part{
				{Rank: i, Score: 0.1, Normalized: math.Pi, Weight: 0.25}, {Weight: 0.75},
			}},
			Folded: []store.Ref{{No: 1, Number: 2}},
		}
		if i == 1 {
			c.Reranked, c.Parts, c.Folded = &Reranked{3, 1, 0.5}, nil, nil
		}
		if i == 2 {
			c.Diversified = &Diversified{9, 1, -0.5, 0.25}
		}
		r.Rest = append(r.Rest, c)
	}
	return r
}

func TestTokensAreReadAsTheyWereWritten(t *testing.T) {
	for _, want := range []Ranking{{}, {More: true}, example()} {
		got, err := Decode([]byte("b"), Encode([]byte("b"), want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestOtherTokensAreRefused(t *testing.T) {
	token := Encode([]byte("b"), example())
	bad := map[string]string{
		"empty": "", "rubbish": "%%%", "short": "AQ", "cut": token[:len(token)-4], "longer": token + "AAAA",
		"of another search": Encode([]byte("c"), example()),
		"another version":   "Ag" + token[2:],
	}
	for _, at := range []int{10, len(token) / 2, len(token) - 5} {
		other := "A"
		if token[at] == 'A' {
			other = "B"
		}
		bad[fmt.Sprintf("changed at %d", at)] = token[:at] + other + token[at+1:]
	}
	// Made by somebody who knows how.
	many, odd, legs := example(), example(), example()
	many.Rest = make([]Candidate, Window+1)
	odd.Rest[0].Score = math.NaN()
	legs.Rest[0].Parts = legs.Rest[0].Parts[:1]
	bad["too many hits"], bad["no number"], bad["another number of legs"] = Encode([]byte("b"), many), Encode([]byte("b"), odd), Encode([]byte("b"), legs)
	long := example()
	long.Mode = strings.Repeat("x", 300)
	bad["a long name"] = Encode([]byte("b"), long)
	// No answer can carry text that is not UTF-8, nor a database be asked for any
	// number of passages.
	garbled, legion := example(), example()
	garbled.RerankedBy = "judge@\xff"
	for i := range legion.Rest {
		legion.Rest[i].Folded = make([]store.Ref, maxFolded-1)
	}
	bad["no text"], bad["too many near-duplicates together"] = Encode([]byte("b"), garbled), Encode([]byte("b"), legion)
	for name, token := range bad {
		if _, err := Decode([]byte("b"), token); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTokensAreBounded has the largest that a search makes: what the API takes
// must be more.
func TestTokensAreBounded(t *testing.T) {
	r := example()
	r.Rest = nil
	for i := range Window {
		c := example().Rest[0]
		c.Ref = store.Ref{No: 1 << 40, Number: i}
		c.Folded = []store.Ref{{No: 1 << 40, Number: 100}}
		if i < 200 { // what a model is given, and what is diversified
			c.Reranked, c.Diversified = &Reranked{1000, 1000, 0.1}, &Diversified{1000, 0.1, 0.1, 0.1}
		}
		r.Rest = append(r.Rest, c)
	}
	token := Encode(nil, r)
	t.Logf("%d bytes", len(token))
	if len(token) > 131072 {
		t.Errorf("%d bytes", len(token))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode([]byte("b"), example()), Encode([]byte("b"), Ranking{})[:30])
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, token, body string) {
		_, _ = Decode([]byte("b"), token)
		// Past the sum, which the fuzzer does not guess.
		d := reader{b: []byte(body)}
		_ = d.text()
		for range d.count(Window) {
			c := d.candidate([]float64{1, 1})
			if math.IsNaN(c.Score) {
				t.Fatal("a score that is no number")
			}
		}
	})
}
