package fusion

import (
	"fmt"
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
	got := Fuse(Standardised, []Leg{
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
	got := Fuse(Standardised, []Leg{{Weight: 1, Hits: []Scored{{"c", 1}, {"a", 1}, {"b", 1}}}})
	if ids(got) != "abc" {
		t.Errorf("order %s", ids(got))
	}
}

func TestLegOfEqualScoresSaysNothing(t *testing.T) {
	got := Fuse(Standardised, []Leg{
		{Weight: 1, Hits: []Scored{{"x", 5}, {"y", 5}}},
		{Weight: 1, Hits: []Scored{{"y", 2}, {"x", 1}}},
	})
	if ids(got) != "yx" || got[0].Parts[0].Normalized != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestNoLegsNoResults(t *testing.T) {
	if got := Fuse(Standardised, []Leg{{Weight: 1}, {Weight: 1}}); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestMinMaxIsInProportion(t *testing.T) {
	got := Fuse(MinMax, []Leg{
		{Weight: 3, Hits: []Scored{{"a", 30}, {"b", 25}, {"c", 10}}},
		{Weight: 1, Hits: []Scored{{"d", 0.9}, {"b", 0.4}, {"e", -0.1}}},
	})
	want := map[string]float64{"a": 0.75, "b": 0.75*0.75 + 0.25*0.5, "c": 0, "d": 0.25, "e": 0}
	if ids(got) != "abdce" {
		t.Fatalf("order %s", ids(got))
	}
	for _, r := range got {
		if math.Abs(r.Score-want[r.ID]) > 1e-9 {
			t.Errorf("%s scores %v, want %v", r.ID, r.Score, want[r.ID])
		}
	}
}

func TestMinMaxOfEqualScores(t *testing.T) {
	got := Fuse(MinMax, []Leg{
		{Weight: 1, Hits: []Scored{{"x", 5}}},
		{Weight: 1, Hits: []Scored{{"y", 2}, {"x", 1}}},
	})
	if ids(got) != "xy" || got[0].Score != 0.5 || got[0].Parts[0].Normalized != 1 || got[1].Parts[0].Normalized != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestMinMaxScaleIsTheBestHundreds(t *testing.T) {
	leg := Leg{Weight: 1}
	for i := range 150 {
		leg.Hits = append(leg.Hits, Scored{fmt.Sprintf("%03d", i), float64(1000 - i)})
	}
	got := Fuse(MinMax, []Leg{leg, {Weight: 1, Hits: []Scored{{"other", 1}}}})
	for _, r := range got {
		want := map[string]float64{"000": 1, "099": 0, "149": -50.0 / 99, "other": -50.0 / 99}
		if w, ok := want[r.ID]; ok && math.Abs(r.Parts[0].Normalized-w) > 1e-9 {
			t.Errorf("%s counts %v, want %v", r.ID, r.Parts[0].Normalized, w)
		}
	}
}
