package search_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

// costly is an inference service on the same machine: each text costs CPU time.
type costly struct {
	*fakeInference

	each time.Duration
}

func (f costly) Embed(ctx context.Context, req *inferencev1.EmbedRequest) (*inferencev1.EmbedResponse, error) {
	resp, err := f.fakeInference.Embed(ctx, req)
	for end := time.Now().Add(time.Duration(len(req.GetInputs())) * f.each); time.Now().Before(end); {
	}
	return resp, err
}

// BenchmarkReadersDuringARebuild measures searches with and without a building
// of an embedding generation beside them, in turns. The ratio of their p99 is
// what counts; that of searches without one to others without one is the noise.
func BenchmarkReadersDuringARebuild(b *testing.B) {
	h := benchHarness(b, 3000)
	var with, without, again []time.Duration
	const searches = 400
	for b.Loop() {
		without = append(without, h.timed(searches)...)
		no := false
		number := h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{ServeWhenReady: &no}).GetNumber()
		h.until(number, "building")
		with = append(with, h.timed(searches)...)
		g := h.until(number, "building") // it has not ended meanwhile
		b.ReportMetric(float64(g.GetDocumentsDone()), "documents-embedded")
		if _, err := h.client.DeleteEmbeddingGeneration(h.admin("acme", "root"), &searchv1.DeleteEmbeddingGenerationRequest{Collection: "c", Number: number}); err != nil {
			b.Fatal(err)
		}
		h.gone(number)
		again = append(again, h.timed(searches)...)
	}
	for _, q := range []float64{.5, .99} {
		a, z := quantile(without, q), quantile(with, q)
		b.ReportMetric(float64(a.Microseconds())/1000, fmt.Sprintf("ms-p%g-without", q*100))
		b.ReportMetric(float64(z.Microseconds())/1000, fmt.Sprintf("ms-p%g-with", q*100))
		b.ReportMetric(float64(z)/float64(a), fmt.Sprintf("ratio-p%g", q*100))
		b.ReportMetric(float64(quantile(again, q))/float64(a), fmt.Sprintf("noise-p%g", q*100))
	}
}

func benchHarness(b *testing.B, documents int) *harness {
	b.Helper()
	h := newHarness(b, func(cfg *search.Config) { cfg.Index.PollInterval = 100 * time.Millisecond })
	ctx := h.as("ada")
	h.create(ctx, "c")
	for start := 0; start < documents; start += 500 {
		var docs []*searchv1.Document
		for i := start; i < min(start+500, documents); i++ {
			docs = append(docs, doc(fmt.Sprint("d", i), fmt.Sprintf("alpha word%d beta word%d gamma word%d", i, i%97, i%7)))
		}
		h.put(ctx, "c", docs...)
	}
	h.stop()
	h.startWith(func(r grpc.ServiceRegistrar) {
		inferencev1.RegisterInferenceServiceServer(r, costly{h.inference, 2 * time.Millisecond})
	})
	return h
}

func (h *harness) timed(n int) []time.Duration {
	out := make([]time.Duration, n)
	for i := range out {
		began := time.Now()
		h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: fmt.Sprintf("word%d beta", i%97)})
		out[i] = time.Since(began)
	}
	return out
}

func quantile(d []time.Duration, q float64) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[min(len(s)-1, int(float64(len(s))*q))]
}
