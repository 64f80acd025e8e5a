package engine

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// rows is a request for a model of two numbers.
func rows(values ...float64) *oip.ModelInferRequest {
	return &oip.ModelInferRequest{ModelName: "theirs", ModelVersion: "9", Id: "7", Inputs: []*oip.ModelInferRequest_InferInputTensor{{
		Name: "x", Datatype: "FP64", Shape: []int64{int64(len(values) / 2), 2}, Contents: &oip.InferTensorContents{Fp64Contents: values},
	}}}
}

// tensorContract is what every tensor engine does; it must have the model ready
// and give a tensor `predict` for each row of two numbers, so many times to each
// request of a stream.
func tensorContract(t *testing.T, e Engine, answers int) {
	t.Helper()
	te, ok := e.(TensorEngine)
	if !ok {
		t.Fatalf("%T serves no tensors", e)
	}
	if err := e.Health(t.Context()); err != nil {
		t.Fatalf("not healthy: %v", err)
	}
	md, err := te.Metadata(t.Context())
	if err != nil || len(md.GetInputs()) != 1 || md.GetInputs()[0].GetName() != "x" || md.GetInputs()[0].GetDatatype() != "FP64" {
		t.Errorf("metadata: %v, %v", md, err)
	}
	req := rows(0, 1, 1, 1)
	before := proto.Clone(req)
	resp, err := te.Infer(t.Context(), req)
	if err != nil || len(resp.GetOutputs()) != 1 || resp.GetOutputs()[0].GetName() != "predict" || resp.GetOutputs()[0].GetShape()[0] != 2 {
		t.Errorf("answer: %v, %v", resp, err)
	}
	if !proto.Equal(req, before) {
		t.Errorf("the request was changed: %v", req)
	}
	bad := rows(1, 2)
	bad.Inputs[0].Shape, bad.Inputs[0].Contents.Fp64Contents = []int64{1, 3}, []float64{1, 2, 3}
	_, err = te.Infer(t.Context(), bad)
	if e := apierr.From(err); e == nil || e.Reason != apierr.InvalidArgument || e.Field != "inputs[0].shape" {
		t.Errorf("a wrong shape: %v", err)
	}
	var got int
	err = te.InferStream(t.Context(), rows(0, 1), func(r *oip.ModelInferResponse) error {
		got++
		if r.GetOutputs()[0].GetName() != "predict" {
			t.Errorf("streamed: %v", r)
		}
		return nil
	})
	if err != nil || got != answers {
		t.Errorf("a stream of %d answers ended with %v", got, err)
	}
	stop := errors.New("enough")
	if err := te.InferStream(t.Context(), rows(0, 1), func(*oip.ModelInferResponse) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a reader that stops: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := te.Infer(cancelled, rows(0, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := e.Invoke(t.Context(), Chat, []byte(`{}`)); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("a chat: %v", err)
	}
}

func tensorModel(engine string, parameters map[string]string, files ...File) Model {
	return Model{Name: "iris@v3", Spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_TENSOR, Engine: engine, Parameters: parameters}, Files: files}
}

// attached plans the use of a running server.
func attached(t *testing.T, a Adapter, parameters map[string]string) Engine {
	t.Helper()
	plan, err := a.Plan(t.Context(), tensorModel(a.Kind(), parameters))
	if err != nil {
		t.Fatal(err)
	}
	if plan.Command != nil {
		t.Fatal("a server that runs is started")
	}
	e := plan.Connect(0)
	t.Cleanup(e.Close)
	return e
}

func TestTensorContract(t *testing.T) {
	t.Run(KindTriton, func(t *testing.T) {
		s := &tensorServer{raw: true, known: map[string]bool{"iris": true}}
		a := NewTriton(TensorConfig{Endpoints: map[string]TensorEndpoint{"t": {Address: s.serve(t), Slots: 3}}})
		tensorContract(t, attached(t, a, map[string]string{"endpoint": "t"}), 2)
		if got := s.requests()[0]; got.GetModelName() != "iris" || got.GetModelVersion() != "" || got.GetId() != "7" {
			t.Errorf("the server was asked for %v", got)
		}
	})
	t.Run(KindMLServer, func(t *testing.T) {
		s := &tensorServer{plain: true, fails: true, known: map[string]bool{"other": true}}
		a := NewMLServer(TensorConfig{Endpoints: map[string]TensorEndpoint{"m": {Address: s.serve(t), Slots: 3}}})
		tensorContract(t, attached(t, a, map[string]string{"endpoint": "m", "model": "other", "model-version": "2"}), 2)
		if got := s.requests()[0]; got.GetModelName() != "other" || got.GetModelVersion() != "2" {
			t.Errorf("the server was asked for %v", got)
		}
	})
}

// TestRepository has the model loaded before use and unloaded afterwards.
func TestRepository(t *testing.T) {
	s := &tensorServer{raw: true, known: map[string]bool{"iris": false}}
	a := NewTriton(TensorConfig{Endpoints: map[string]TensorEndpoint{"t": {Address: s.serve(t), Slots: 3, Repository: true}}})
	e := attached(t, a, map[string]string{"endpoint": "t"})
	for range 2 {
		if err := e.Health(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.change("iris", false); err != nil { // as when the server was started again
		t.Fatal(err)
	}
	if err := e.Health(t.Context()); err == nil {
		t.Error("healthy without its model")
	}
	if err := e.Health(t.Context()); err != nil {
		t.Errorf("not loaded again: %v", err)
	}
	e.Close()
	if got := s.calls(); !slices.Equal(got, []string{"load iris", "load iris", "unload iris"}) {
		t.Errorf("the server was asked to %v", got)
	}
	missing := attached(t, a, map[string]string{"endpoint": "t", "model": "none"})
	if err := missing.Health(t.Context()); apierr.ReasonOf(err) != apierr.InvalidArgument || !strings.Contains(err.Error(), "failed to poll") {
		t.Errorf("a model that is not there: %v", err)
	}
	// Without leave nothing is loaded.
	b := NewTriton(TensorConfig{Endpoints: map[string]TensorEndpoint{"t": {Address: a.cfg.Endpoints["t"].Address, Slots: 3}}})
	if err := attached(t, b, map[string]string{"endpoint": "t"}).Health(t.Context()); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("a model that is not loaded: %v", err)
	}
}

func TestTensorCancellationReachesTheServer(t *testing.T) {
	s := &tensorServer{known: map[string]bool{"iris": true}, hold: make(chan struct{})}
	a := NewTriton(TensorConfig{Endpoints: map[string]TensorEndpoint{"t": {Address: s.serve(t), Slots: 3}}})
	e, _ := attached(t, a, map[string]string{"endpoint": "t"}).(TensorEngine)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := e.Infer(ctx, rows(0, 1))
		done <- err
	}()
	await(t, func() bool { return slices.Contains(s.calls(), "held") })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	await(t, func() bool { return slices.Contains(s.calls(), "cancelled") })
}

// await waits for another goroutine.
func await(t *testing.T, what func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for !what() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it did not happen")
		}
	}
}

func TestTensorServerThatIsGone(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = lis.Close()
	a := NewMLServer(TensorConfig{Endpoints: map[string]TensorEndpoint{"m": {Address: lis.Addr().String(), Slots: 1}}})
	e := attached(t, a, map[string]string{"endpoint": "m"})
	if err := e.Health(t.Context()); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("health: %v", err)
	}
	te, _ := e.(TensorEngine)
	if _, err := te.Infer(t.Context(), rows(0, 1)); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("infer: %v", err)
	}
	if err := te.InferStream(t.Context(), rows(0, 1), nil); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("stream: %v", err)
	}
}
