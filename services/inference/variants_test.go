package inference_test

import (
	"context"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// A worker with room for the smaller form only: the answer says so, and a digest
// that names the version's own weights is not answered by anything else.
func TestAVariantServesAndTheAnswerSaysSo(t *testing.T) {
	t.Parallel()
	refuse := func(w *fakes.Worker, req *workerv1.LoadModelRequest) error {
		if req.GetDigest() == fakes.VersionDigest("m", 1) {
			return apierr.New(apierr.FailedPrecondition, "needs 100 bytes, 60 are free")
		}
		w.Set(req.GetDigest(), workerv1.ModelState_MODEL_STATE_READY)
		return nil
	}
	m := newMesh(t, 1, meshOptions{
		worker: func(_ int, w *fakes.Worker) { w.OnLoad = refuse },
	}, fakes.Model("m", 1, fakes.Sized(100), fakes.Variant(1, "q4", 50, 0.04)))
	m.awaitReady(t, "m", 1)
	q4 := fakes.VariantDigest("m", 1, "q4")
	resp, err := m.client.Invoke(caller(t), chat("m", `{"messages":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	by := resp.GetServedBy()
	if by.GetVariant() != "q4" || by.GetVariantDigest() != q4 || by.GetDigest() != fakes.VersionDigest("m", 1) ||
		by.GetVariantReason() != inferencev1.VariantReason_VARIANT_REASON_PLACEMENT {
		t.Errorf("%v", by)
	}
	if resp, err = m.client.Invoke(caller(t), chat("m@"+q4, `{"messages":[]}`)); err != nil {
		t.Fatal(err)
	}
	if by := resp.GetServedBy(); by.GetVariant() != "q4" || by.GetVariantReason() != 0 {
		t.Errorf("asked for by its digest: %v", by)
	}
	exact := chat("m@"+fakes.VersionDigest("m", 1), `{"messages":[]}`)
	exact.WaitForReady = durationpb.New(0)
	_, err = m.client.Invoke(caller(t), exact)
	wantReason(t, err, apierr.Unavailable, "")

	list, err := m.client.GetServedModel(caller(t), &inferencev1.GetServedModelRequest{Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	forms := list.GetModel().GetVariants()
	if len(forms) != 2 {
		t.Fatalf("%v", forms)
	}
	base, small := forms[0], forms[1]
	if base.GetName() != "base" || base.GetReadyWorkers() != 0 || base.GetSizeBytes() != 100 || base.GetLoss() != 0 ||
		base.GetPlacementProblem() != "needs 100 bytes, 60 are free" || !base.GetAllowed() {
		t.Errorf("%v", base)
	}
	if small.GetName() != "q4" || small.GetReadyWorkers() != 1 || small.GetLoss() != 0.04 || small.GetPlacementProblem() != "" {
		t.Errorf("%v", small)
	}
}

// With the better form busy a stream goes to the worse one, and says why.
func TestSaturationIsSaid(t *testing.T) {
	t.Parallel()
	hold, entered := make(chan struct{}), make(chan struct{}, 8)
	base := fakes.VersionDigest("m", 1)
	m := newMesh(t, 2, meshOptions{
		worker: func(i int, w *fakes.Worker) {
			digest := []string{base, fakes.VariantDigest("m", 1, "q4")}[i]
			w.Set(digest, workerv1.ModelState_MODEL_STATE_READY)
			w.Report(digest, 1, 0, 0)
			// The second worker, seen first, would be given the base form too.
			w.OnLoad = func(*fakes.Worker, *workerv1.LoadModelRequest) error {
				return apierr.New(apierr.FailedPrecondition, "needs 100 bytes, 0 are free")
			}
			w.OnInvoke = func(ctx context.Context, req *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error) {
				if req.GetDigest() != digest {
					return nil, apierr.New(apierr.NotFound, "%s is not here", req.GetDigest())
				}
				if digest == base {
					entered <- struct{}{}
					select {
					case <-hold:
					case <-ctx.Done():
					}
				}
				return &workerv1.InvokeResponse{Body: []byte(`{}`)}, nil
			}
		},
	}, fakes.Model("m", 1, fakes.Sized(100), fakes.Variant(1, "q4", 50, 0.04), fakes.Label("poterne.dev/saturation-fallback", "true")))
	m.awaitReady(t, "m", 2)
	done := make(chan *inferencev1.ServedBy, 2)
	for range 2 {
		go func() {
			resp, err := m.client.Invoke(caller(t), chat("m", `{"messages":[]}`))
			if err != nil {
				t.Error(err)
			}
			done <- resp.GetServedBy()
		}()
	}
	<-entered
	<-entered
	resp, err := m.client.Invoke(caller(t), chat("m", `{"messages":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	if by := resp.GetServedBy(); by.GetVariant() != "q4" || by.GetVariantReason() != inferencev1.VariantReason_VARIANT_REASON_SATURATION {
		t.Errorf("%v", by)
	}
	close(hold)
	for range 2 {
		if by := <-done; by.GetVariant() != "base" || by.GetVariantReason() != 0 {
			t.Errorf("%v", by)
		}
	}
}
