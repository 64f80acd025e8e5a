//go:build eval

package elastic_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/ireval"
	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/chunk"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/index/elastic"
	"github.com/poterne/poterne/services/search/internal/index/embedded"
)

// Both backends have the same ten best passages for nearly every question.
func TestCranfieldIsAnsweredAlike(t *testing.T) {
	data, err := ireval.Read(filepath.Join(os.Getenv("POTERNE_EVAL_DATA"), "cranfield"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := embedded.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := elastic.New(elastic.Options{
		Addresses: []string{testkit.Elasticsearch(t).URL}, Prefix: "alike", Timeout: time.Minute, IDs: ids.UUIDv7(), Clock: clock.Real(),
	})
	if err != nil {
		t.Fatal(err)
	}
	var collections [2]index.Collection
	for i, x := range []index.Index{own, theirs} {
		t.Cleanup(func() {
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		})
		if collections[i], err = x.Open(t.Context(), "cranfield"); err != nil {
			t.Fatal(err)
		}
		if err := collections[i].Replace(t.Context(), 1, passages(data)); err != nil {
			t.Fatal(err)
		}
	}
	const depth = 10
	same, asked := 0, 0
	var quality [2]float64
	for _, q := range data.Queries {
		grades := data.Grades[q.ID]
		if grades.Relevant() == 0 {
			continue
		}
		asked++
		var best [2]map[string]bool
		for i, c := range collections {
			legs, err := c.Search(t.Context(), index.Query{Terms: analysis.Query(q.Text), Principals: []string{"all"}, Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			best[i] = make(map[string]bool)
			ranked := make([]string, len(legs.Lexical))
			for j, h := range legs.Lexical {
				if j < depth {
					best[i][h.ChunkID] = true
				}
				ranked[j] = h.ChunkID[:len(h.ChunkID)-2]
			}
			quality[i] += ireval.NDCG(ireval.Distinct(ranked), grades, depth)
		}
		for id := range best[1] {
			delete(best[0], id)
		}
		if len(best[0]) == 0 {
			same++
		}
	}
	a, b := quality[0]/float64(asked), quality[1]/float64(asked)
	t.Logf("%d of %d queries have the same ten best; nDCG@10 %.4f embedded, %.4f Elasticsearch", same, asked, a, b)
	if float64(same) < 0.95*float64(asked) || a-b > 0.01 || b-a > 0.01 {
		t.Error("the backends differ")
	}
}

// passages are the documents as the service indexes them, with vectors that
// nobody asks for.
func passages(data ireval.Data) func(yield func(index.Document, error) bool) {
	return func(yield func(index.Document, error) bool) {
		for i, d := range data.Documents {
			out := index.Document{No: int64(i + 1), ID: d.ID, Principals: []string{"all"}}
			spans := chunk.Split(d.Text, chunk.DefaultOptions())
			if len(spans) == 0 {
				spans = []chunk.Span{{}}
			}
			for n, s := range spans {
				text := follow.Worded(d.Title, d.Text[s.Start:s.End])
				out.Chunks = append(out.Chunks, index.Chunk{Number: n, Text: text, Terms: len(analysis.Analyze(text)), Vector: []float32{1}})
			}
			if !yield(out, nil) {
				return
			}
		}
	}
}
