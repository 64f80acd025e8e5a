package inference_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// A request under which two engines ended is not given to a third; others are
// served as before.
func TestARequestThatEndsEngines(t *testing.T) {
	var ended atomic.Int64
	ends := func(body []byte, in string) error {
		if !strings.Contains(string(body), "poison") {
			return nil
		}
		ended.Add(1)
		return apierr.New(apierr.Unavailable, "the engine does not answer").
			WithMetadata("engine_ended", "true").WithMetadata("in_flight", in)
	}
	m := newMesh(t, 4, meshOptions{
		config: func(cfg *inference.Config) { cfg.Placement.Replicas = 4 },
		worker: func(_ int, w *fakes.Worker) {
			w.OnInvoke = func(_ context.Context, req *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error) {
				in := "1"
				if strings.Contains(string(req.GetBody()), "crowd") {
					in = "50"
				}
				return &workerv1.InvokeResponse{Body: req.GetBody()}, ends(req.GetBody(), in)
			}
			w.OnStream = func(req *workerv1.InvokeRequest, stream workerStream) error {
				if err := ends(req.GetBody(), "1"); err != nil {
					return err
				}
				return fakes.Answer(stream, "fine")
			}
		},
	}, fakes.Model("m", 1))
	m.awaitReady(t, "m", 4)
	_, err := m.client.Invoke(caller(t), chat("m", `{"poison":1}`))
	wantReason(t, err, apierr.FailedPrecondition, "")
	if ended.Load() != 2 || apierr.From(err).Metadata["engines_ended"] != "2" {
		t.Errorf("%d engines ended: %v", ended.Load(), err)
	}
	_, err = m.client.Invoke(caller(t), chat("m", `{"poison":1}`))
	if wantReason(t, err, apierr.FailedPrecondition, ""); ended.Load() != 2 {
		t.Errorf("%d engines ended the second time", ended.Load())
	}
	// It is known by all of it: as a stream too, and another body is another one.
	stream, err := m.client.InvokeStream(caller(t), chat("m", `{"poison":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); apierr.ReasonOf(err) != apierr.FailedPrecondition || ended.Load() != 2 {
		t.Errorf("as a stream: %v; %d engines ended", err, ended.Load())
	}
	if _, err := m.client.Invoke(caller(t), chat("m", `{"fine":1}`)); err != nil {
		t.Errorf("another: %v", err)
	}
	// Among many nobody can tell who it was.
	_, err = m.client.Invoke(caller(t), chat("m", `{"poison":"in a crowd"}`))
	if wantReason(t, err, apierr.Unavailable, ""); ended.Load() != 5 {
		t.Errorf("%d engines ended, the three tries included", ended.Load())
	}
	resp, err := m.client.GetServedModel(caller(t), &inferencev1.GetServedModelRequest{Model: "m"})
	if s := resp.GetModel(); err != nil || s.GetDesiredReplicas() != 4 || s.GetMinReplicas() != 4 || s.GetMaxReplicas() != 4 || s.GetPlacementProblem() != "" {
		t.Errorf("placement: %v, %v", s, err)
	}
}
