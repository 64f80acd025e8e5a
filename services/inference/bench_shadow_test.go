package inference_test

import (
	"context"
	"slices"
	"testing"
	"time"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// BenchmarkShadow measures what a copy costs its request: requests to two models
// that differ in nothing else take turns, over gRPC to engines that need 5 ms, and
// copies to ones that need 20 ms.
func BenchmarkShadow(b *testing.B) {
	m := benchMesh(b)
	took := map[string][]time.Duration{}
	for b.Loop() {
		for _, model := range []string{"plain", "copied"} {
			began := time.Now()
			if _, err := m.client.Invoke(caller(b), chat(model, `{}`)); err != nil {
				b.Fatal(err)
			}
			took[model] = append(took[model], time.Since(began))
		}
	}
	for model, list := range took {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds()), model+"-p50-us")
		b.ReportMetric(float64(list[len(list)*95/100].Microseconds()), model+"-p95-us")
	}
}

func benchMesh(b *testing.B) *mesh {
	b.Helper()
	return newMesh(b, 1, meshOptions{worker: func(_ int, w *fakes.Worker) {
		w.OnInvoke = func(_ context.Context, req *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error) {
			pause := 5 * time.Millisecond
			if req.GetDigest() == fakes.VersionDigest("copied", 2) {
				pause = 20 * time.Millisecond
			}
			<-time.After(pause)
			return &workerv1.InvokeResponse{Body: []byte(`{"choices":[]}`), Usage: &commonv1.TokenUsage{PromptTokens: 1}}, nil
		}
	}}, fakes.Model("plain", 2, fakes.Alias("production", 1)),
		fakes.Model("copied", 2, fakes.Alias("production", 1), fakes.Experiment("look", func(e *registryv1.Experiment) {
			e.LayerRanges, e.Shadow = nil, &registryv1.Shadow{Version: 2, Share: 1_000_000}
		})))
}
