package ireval_test

import (
	"math"
	"slices"
	"testing"

	"github.com/poterne/poterne/pkg/ireval"
)

func TestNDCG(t *testing.T) {
	grades := ireval.Grades{"a": 3, "b": 2, "c": 1, "d": 0, "e": -1}
	// The grades 3, 2 and 1 over log2 of 2, 3 and 4 are 3, 1.2618595 and 0.5.
	const ideal = 4.7618595
	for _, tt := range []struct {
		name   string
		ranked []string
		k      int
		want   float64
	}{
		{"ideal", []string{"a", "b", "c", "d"}, 10, 1},
		{"backwards", []string{"c", "b", "a"}, 10, (1 + 1.2618595 + 1.5) / ideal},
		{"unjudged before", []string{"x", "a"}, 10, (3 / 1.5849625) / ideal},
		{"below zero gains nothing", []string{"e", "d", "b"}, 10, 1 / ideal},
		{"cut", []string{"b", "x", "a"}, 2, 2 / (3 + 1.2618595)},
		{"nothing found", nil, 10, 0},
		{"no places", []string{"a"}, 0, 0},
	} {
		if got := ireval.NDCG(tt.ranked, grades, tt.k); math.Abs(got-tt.want) > 1e-6 {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := ireval.NDCG([]string{"d"}, ireval.Grades{"d": 0, "e": -1}, 10); got != 0 {
		t.Errorf("without relevant documents: %v", got)
	}
}

func TestRecall(t *testing.T) {
	grades := ireval.Grades{"a": 3, "b": 2, "c": 1, "d": 0}
	for k, want := range map[int]float64{0: 0, 1: 1.0 / 3, 2: 1.0 / 3, 3: 2.0 / 3, 100: 2.0 / 3} {
		if got := ireval.Recall([]string{"b", "d", "a", "x"}, grades, k); math.Abs(got-want) > 1e-12 {
			t.Errorf("at %d: %v, want %v", k, got, want)
		}
	}
	if got := ireval.Recall([]string{"d"}, ireval.Grades{"d": 0}, 10); got != 0 {
		t.Errorf("without relevant documents: %v", got)
	}
}

func TestDistinct(t *testing.T) {
	if got := ireval.Distinct([]string{"b", "a", "b", "c", "a"}); !slices.Equal(got, []string{"b", "a", "c"}) {
		t.Errorf("got %v", got)
	}
}
