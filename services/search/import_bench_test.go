package search_test

import (
	"fmt"
	"testing"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// BenchmarkImport imports documents of one chunk each, whose vectors cost next to
// nothing, until they can be found.
func BenchmarkImport(b *testing.B) {
	h := newHarness(b)
	ctx := h.as("ada")
	h.create(ctx, "c")
	call := h.startImport(ctx, &searchv1.ImportDocumentsRequest{Collection: "c"})
	b.ResetTimer()
	go func() {
		for n := 0; n < b.N; n += 100 {
			req := new(searchv1.ImportDocumentsRequest)
			for i := n; i < min(n+100, b.N); i++ {
				req.Lines = append(req.Lines, &searchv1.ImportLine{Document: doc(fmt.Sprint("d", i), benchText(i))})
			}
			_ = call.Send(req)
		}
		_ = call.CloseSend()
	}()
	if _, p, err := rest(call); err != nil || p.GetCreated() != int64(b.N) {
		b.Fatalf("%v, %v", p, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "chunks/s")
}

// BenchmarkBatchUpsert writes the same in batches as large as an import's.
func BenchmarkBatchUpsert(b *testing.B) {
	h := newHarness(b)
	ctx := h.as("ada")
	h.create(ctx, "c")
	b.ResetTimer()
	for n := 0; n < b.N; n += 256 {
		req := &searchv1.BatchUpsertDocumentsRequest{Collection: "c"}
		for i := n; i < min(n+256, b.N); i++ {
			req.Documents = append(req.Documents, doc(fmt.Sprint("d", i), benchText(i)))
		}
		if _, err := h.client.BatchUpsertDocuments(ctx, req); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "chunks/s")
}

func benchText(i int) string {
	return fmt.Sprint("the boundary layer of a wing at supersonic speed meets the shock wave and the heat flow along a thin plate grows ", i)
}
