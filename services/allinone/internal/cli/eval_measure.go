package cli

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/ireval"
)

// ndcgAt is how many documents nDCG looks at.
const ndcgAt = 10

// measurement is what the queries of one run came to.
type measurement struct {
	ndcg, recall float64 // sums
	took         []time.Duration
	degraded     int
}

// measure asks every query once, one after another.
func (v *evaluator) measure(ctx context.Context, run map[string]any, queries []ireval.Query, grades map[string]ireval.Grades) (measurement, error) {
	var m measurement
	name := fmt.Sprintf("asking %d queries, %s", len(queries), cell(run["mode"]))
	if fusion := run["fusion"]; fusion != nil {
		name += " by " + cell(fusion)
	}
	for i, q := range queries {
		v.progress.show(name, 100*float64(i)/float64(len(queries)))
		out, took, err := v.ask(ctx, run, q)
		if err != nil {
			return m, fmt.Errorf("query %s: %w", q.ID, err)
		}
		if got := lookup(out, "mode"); got != run["mode"] {
			if m.degraded++; m.degraded == 1 {
				v.progress.line(fmt.Sprintf("query %s was answered as %s: %s", q.ID, cell(got), cell(lookup(out, "warnings"))))
			}
		} else if run["rerank"] != nil && notReranked(out) {
			if m.degraded++; m.degraded == 1 {
				v.progress.line(fmt.Sprintf("query %s was not reranked: %s", q.ID, cell(lookup(out, "warnings"))))
			}
		}
		ranked := documentsOf(out)
		m.ndcg += ireval.NDCG(ranked, grades[q.ID], ndcgAt)
		m.recall += ireval.Recall(ranked, grades[q.ID], v.topK)
		m.took = append(m.took, took)
	}
	return m, nil
}

// notReranked reports whether no model put the hits of an answer in their order.
func notReranked(answer map[string]any) bool {
	hits, _ := answer["hits"].([]any)
	by, _ := answer["reranked_by"].(string)
	return len(hits) > 0 && by == ""
}

// ask searches once, and says how long the answer took to be there.
func (v *evaluator) ask(ctx context.Context, run map[string]any, q ireval.Query) (out map[string]any, took time.Duration, err error) {
	body := maps.Clone(run)
	body["query"], body["plain"] = q.Text, true // judged queries are not written in our syntax
	err = v.patiently(ctx, func() error {
		out = nil
		began := v.app.clock.Now()
		err := v.client.call(ctx, http.MethodPost, joinPath(collectionsPath, v.collection)+":search", body, &out)
		took = v.app.clock.Now().Sub(began)
		return err
	})
	return out, took, err
}

// documentsOf are the documents of an answer, each where its best passage is.
func documentsOf(answer map[string]any) []string {
	hits, _ := answer["hits"].([]any)
	ranked := make([]string, 0, len(hits))
	for _, h := range hits {
		id, _ := lookup(h, "document_id").(string)
		ranked = append(ranked, id)
	}
	return ireval.Distinct(ranked)
}

// row is the measurement as it is printed: means over the queries, and times in
// milliseconds.
func (m measurement) row(run map[string]any, topK int) map[string]any {
	n := len(m.took)
	out := map[string]any{
		"mode": run["mode"], "queries": n, "degraded": m.degraded,
		"ndcg_at_10": rounded(m.ndcg/float64(n), 4), "recall": rounded(m.recall/float64(n), 4), "recall_at": topK,
		"p50_ms": rounded(milliseconds(percentile(m.took, 50)), 1), "p99_ms": rounded(milliseconds(percentile(m.took, 99)), 1),
	}
	for _, name := range []string{"fusion", "weights", "rerank", "diversity"} {
		if run[name] != nil {
			out[name] = run[name]
		}
	}
	return out
}

// percentile is the least of the durations that p percent are not above: the
// nearest rank. There must be one.
func percentile(took []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func rounded(x float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(x*scale) / scale
}
