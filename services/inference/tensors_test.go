package inference_test

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

func tensors(model string) *inferencev1.InferTensorsRequest {
	return &inferencev1.InferTensorsRequest{Model: model, Request: &oip.ModelInferRequest{
		ModelName: model, Id: "7", Inputs: []*oip.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: "BOOL", Shape: []int64{0}}},
	}}
}

func tensorModel() []fakes.Change {
	return []fakes.Change{fakes.Tensors(), fakes.Alias("production", 1), fakes.Alias("next", 2)}
}

func TestInferTensors(t *testing.T) {
	m := newMesh(t, 2, meshOptions{}, fakes.Model("m", 2, tensorModel()...), fakes.Model("talker", 1, fakes.Alias("production", 1)))
	for ref, version := range map[string]string{"m": "1", "m@next": "2", "m@v2": "2"} {
		resp, err := m.client.InferTensors(caller(t), tensors(ref))
		if err != nil {
			t.Fatal(err)
		}
		got, by := resp.GetResponse(), resp.GetServedBy()
		if strconv.Itoa(int(by.GetVersion())) != version || got.GetModelName() != "m" || got.GetModelVersion() != version || got.GetId() != "7" {
			t.Errorf("%s is answered with %v", ref, resp)
		}
	}
	meta, err := m.client.GetTensorModel(caller(t), &inferencev1.GetTensorModelRequest{Model: "m@next"})
	if err != nil {
		t.Fatal(err)
	}
	if md := meta.GetMetadata(); md.GetName() != "m" || !slices.Equal(md.GetVersions(), []string{"1", "2"}) || md.GetInputs()[0].GetName() != "x" {
		t.Errorf("metadata is %v", md)
	}
	_, err = m.client.InferTensors(caller(t), tensors("talker"))
	if e := apierr.From(err); e.Reason != apierr.InvalidArgument || e.Field != "model" || !strings.Contains(e.Message, "not for tensors") {
		t.Errorf("a model of texts: %v", err)
	}
	_, err = m.client.Invoke(caller(t), chat("m", `{}`))
	if e := apierr.From(err); e.Reason != apierr.InvalidArgument || !strings.Contains(e.Message, "is for tensors") {
		t.Errorf("a chat with a model of tensors: %v", err)
	}
	if _, err = m.client.InferTensors(caller(t), tensors("nobody")); apierr.ReasonOf(err) != apierr.ModelNotFound {
		t.Errorf("an unknown model: %v", err)
	}
	if _, err = m.client.InferTensors(caller(t), &inferencev1.InferTensorsRequest{Model: "m"}); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("no request: %v", err)
	}
}

// stream returns the ids of the answers, and how the stream ended.
func stream(t *testing.T, m *mesh, model string) (by *inferencev1.ServedBy, ids []string, err error) {
	t.Helper()
	from, err := m.client.InferTensorsStream(caller(t), tensors(model))
	if err != nil {
		t.Fatal(err)
	}
	for {
		msg, err := from.Recv()
		if errors.Is(err, io.EOF) {
			return by, ids, nil
		}
		if err != nil {
			return by, ids, err
		}
		if msg.GetServedBy() != nil {
			if by != nil || len(ids) > 0 {
				t.Error("served_by is not the first message")
			}
			by = msg.GetServedBy()
			continue
		}
		if got := msg.GetResponse(); got.GetModelName() != "m" || got.GetModelVersion() != "1" {
			t.Errorf("the answer is by %v", got)
		}
		ids = append(ids, msg.GetResponse().GetId())
	}
}

func TestInferTensorsStream(t *testing.T) {
	answer := func(*workerv1.InferTensorsRequest, func(*oip.ModelInferResponse) error) error { return nil }
	failing := make(chan struct{}, 1) // the worker that takes it fails
	m := newMesh(t, 2, meshOptions{worker: func(_ int, w *fakes.Worker) {
		w.OnInfer = func(req *workerv1.InferTensorsRequest, send func(*oip.ModelInferResponse) error) error {
			select {
			case <-failing:
				return apierr.New(apierr.Unavailable, "the engine failed before it answered")
			default:
				return answer(req, send)
			}
		}
	}}, fakes.Model("m", 2, tensorModel()...))
	m.awaitReady(t, "m", 2)
	if by, ids, err := stream(t, m, "m"); err != nil || len(ids) != 0 || by.GetVersion() != 1 {
		t.Errorf("no answer: %v, %v, %v", by, ids, err)
	}
	answer = func(_ *workerv1.InferTensorsRequest, send func(*oip.ModelInferResponse) error) error {
		return errors.Join(send(&oip.ModelInferResponse{Id: "a"}), send(&oip.ModelInferResponse{Id: "b"}))
	}
	failing <- struct{}{}
	by, ids, err := stream(t, m, "m")
	if err != nil || !slices.Equal(ids, []string{"a", "b"}) || by.GetAttempts() != 2 {
		t.Errorf("the first worker failed: %v, %v, %v", by, ids, err)
	}
	answer = func(_ *workerv1.InferTensorsRequest, send func(*oip.ModelInferResponse) error) error {
		return errors.Join(send(&oip.ModelInferResponse{Id: "a"}), apierr.New(apierr.Unavailable, "gone"))
	}
	if by, ids, err = stream(t, m, "m"); apierr.ReasonOf(err) != apierr.EngineFailed || !slices.Equal(ids, []string{"a"}) || by.GetAttempts() != 1 {
		t.Errorf("lost after the first answer: %v, %v, %v", by, ids, err)
	}
}
