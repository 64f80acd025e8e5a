package search_test

import (
	"math"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

func legs(lexical, vector float64) *searchv1.LegWeights {
	return &searchv1.LegWeights{Lexical: lexical, Vector: vector}
}

// explained returns the fusion of an answer and the lexical leg's share, after
// a check that every hit's explanation adds up.
func explained(t *testing.T, resp *searchv1.SearchResponse) (method string, lexical float64) {
	t.Helper()
	if len(resp.GetHits()) == 0 {
		t.Fatal("nothing was found")
	}
	for _, hit := range resp.GetHits() {
		sum := 0.0
		for _, l := range hit.GetExplanation().GetLegs() {
			sum += l.GetWeight() * l.GetNormalizedScore()
		}
		if math.Abs(sum-hit.GetScore()) > 1e-9 {
			t.Errorf("%s: the explanation sums up to %v, the score is %v", hit.GetChunkId(), sum, hit.GetScore())
		}
	}
	e := resp.GetHits()[0].GetExplanation()
	return e.GetFusion(), e.GetLegs()[0].GetWeight()
}

func TestFusionIsChosen(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	library(t, h)
	resp, err := h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: "own", Fusion: "reciprocal_rank", Weights: legs(3, 1)})
	if err != nil || resp.GetCollection().GetFusion() != "reciprocal_rank" || resp.GetCollection().GetWeights().GetLexical() != 3 {
		t.Fatalf("%v, %v", resp, err)
	}
	h.put(ctx, "own", doc("wing", "The flow over a wing."), doc("heat", "Heat flows through copper."))
	for _, tt := range []struct {
		collection, fusion string
		weights            *searchv1.LegWeights
		want               string
		lexical            float64
	}{
		{"c", "", nil, "standardised", 0.5},
		{"c", "min_max", nil, "min_max", 0.5},
		{"c", "", legs(1, 4), "standardised", 0.2},
		{"own", "", nil, "reciprocal_rank", 0.75},
		{"own", "standardised", nil, "standardised", 0.75},
		{"own", "", legs(0, 5), "reciprocal_rank", 0},
	} {
		resp := h.search(ctx, &searchv1.SearchRequest{
			Collection: tt.collection, Query: "flow over wings", Explain: true, Fusion: tt.fusion, Weights: tt.weights,
		})
		if method, lexical := explained(t, resp); method != tt.want || lexical != tt.lexical {
			t.Errorf("%+v: got %s, %v", tt, method, lexical)
		}
	}
}

func TestReciprocalRanksAreExplained(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	resp := h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: "copper", Explain: true, Fusion: "reciprocal_rank"})
	for _, hit := range resp.GetHits() {
		for _, l := range hit.GetExplanation().GetLegs() {
			want := 0.0
			if l.GetRank() > 0 {
				want = 1 / (60 + float64(l.GetRank()))
			}
			if math.Abs(l.GetNormalizedScore()-want) > 1e-12 {
				t.Errorf("%s: %v, want %v", hit.GetChunkId(), l, want)
			}
		}
	}
}

func TestALegWithAllTheWeightIsTheSearch(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	ctx := h.as("ada")
	for mode, weights := range map[string]*searchv1.LegWeights{"lexical": legs(1, 0), "vector": legs(0, 1)} {
		want := chunkIDs(h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "flow over copper", Mode: mode}))
		for _, method := range []string{"standardised", "reciprocal_rank", "min_max"} {
			resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "flow over copper", Fusion: method, Weights: weights})
			if got := chunkIDs(resp); got != want || resp.GetMode() != "hybrid" {
				t.Errorf("%s, %s: got %q as %s, want %q", mode, method, got, resp.GetMode(), want)
			}
		}
	}
}

func TestBadFusions(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	ctx := h.as("ada")
	for _, tt := range []struct {
		field, fusion string
		weights       *searchv1.LegWeights
	}{
		{"fusion", "magic", nil},
		{"weights", "", legs(0, 0)},
		{"weights", "", &searchv1.LegWeights{}},
		{"weights.lexical", "", legs(-0.1, 1)},
		{"weights.lexical", "", legs(math.NaN(), 1)},
		{"weights.vector", "", legs(1, 1000.1)},
		{"weights.vector", "", legs(1, math.Inf(1))},
	} {
		_, err := h.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "x", Fusion: tt.fusion, Weights: tt.weights})
		h.wantReason(err, apierr.InvalidArgument, tt.field)
		_, err = h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: "bad", Fusion: tt.fusion, Weights: tt.weights})
		h.wantReason(err, apierr.InvalidArgument, tt.field)
	}
}
