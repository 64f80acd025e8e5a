package bench

import "testing"

func TestEveryBarOfQualityIsLookedAt(t *testing.T) {
	figures := []evaluated{
		{Mode: "hybrid", Fusion: "standardised", Queries: 225, NDCG: 0.56},
		{Mode: "hybrid", Fusion: "reciprocal_rank", Queries: 225, NDCG: 0.55},
		{Mode: "lexical", Queries: 225, NDCG: 0.5299},
		{Mode: "vector", Queries: 225, NDCG: 0.51},
	}
	rows, err := qualityRows(figures)
	if err != nil {
		t.Fatal(err)
	}
	holds := map[string]bool{}
	for _, r := range rows {
		if r.Bar != "" {
			holds[r.What] = r.Holds
		}
	}
	if len(holds) != 4 || holds["nDCG@10 of 225 queries, lexical"] || !holds["nDCG@10 of 225 queries, hybrid standardised"] {
		t.Errorf("got %v", holds)
	}
	figures[0].Degraded = 1
	if _, err := qualityRows(figures); err == nil {
		t.Error("figures of another mode were taken")
	}
	if _, err := qualityRows(figures[1:]); err == nil {
		t.Error("a missing figure was not missed")
	}
}
