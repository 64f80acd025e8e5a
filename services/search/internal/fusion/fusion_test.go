package fusion

import (
	"math"
	"testing"
)

func ids(rs []Result) string {
	s := ""
	for _, r := range rs {
		s += r.ID
	}
	return s
}

func TestStandardisedSumsStandardScores(t *testing.T) {
	got := Standardised([]Leg{
		{Name: "lexical", Weight: 1, Hits: []Scored{{"a", 30}, {"b", 20}, {"c", 10}}},
		{Name: "vector", Weight: 1, Hits: []Scored{{"b", 0.9}, {"d", 0.8}}},
	})
	if ids(got) != "bacd" {
		t.Fatalf("order %s", ids(got))
	}
	sd := math.Sqrt(200.0 / 3)
	wantB := 0.5*0 + 0.5*1
	wantA := 0.5*(10/sd) + 0.5*(-1)
	wantD := 0.5*(-10/sd) + 0.5*(-1)
	for i, want := range []float64{wantB, wantA, wantD, wantD} {
		if math.Abs(got[i].Score-want) > 1e-9 {
			t.Errorf("%s scores %v, want %v", got[i].ID, got[i].Score, want)
		}
	}
	if p := got[1].Parts[1]; p.Rank != 0 || math.Abs(p.Normalized+1) > 1e-9 {
		t.Errorf("a hit that the leg missed counts %+v, want the leg's worst", p)
	}
}

func TestTiesAreOrderedByID(t *testing.T) {
	got := Standardised([]Leg{{Weight: 1, Hits: []Scored{{"c", 1}, {"a", 1}, {"b", 1}}}})
	if ids(got) != "abc" {
		t.Errorf("order %s", ids(got))
	}
}

func TestLegOfEqualScoresSaysNothing(t *testing.T) {
	got := Standardised([]Leg{
		{Weight: 1, Hits: []Scored{{"x", 5}, {"y", 5}}},
		{Weight: 1, Hits: []Scored{{"y", 2}, {"x", 1}}},
	})
	if ids(got) != "yx" || got[0].Parts[0].Normalized != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestNoLegsNoResults(t *testing.T) {
	if got := Standardised([]Leg{{Weight: 1}, {Weight: 1}}); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}
