package engine

import (
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// tensorServer is a server of the Open Inference Protocol that repeats its
// inputs, as Triton's documentation says that one behaves, or as MLServer does.
type tensorServer struct {
	oip.UnimplementedGRPCInferenceServiceServer

	plain bool // streams as MLServer
	raw   bool // answers in raw contents, as Triton always does
	hold  chan struct{}

	mu     sync.Mutex
	known  map[string]bool // models of the repository, and whether they are loaded
	asked  []*oip.ModelInferRequest
	called []string
}

// serve starts the server and returns its address.
func (s *tensorServer) serve(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	desc := oip.GRPCInferenceService_ServiceDesc
	if s.plain {
		desc.Streams = []grpc.StreamDesc{{StreamName: "ModelStreamInfer", Handler: plainStream, ServerStreams: true, ClientStreams: true}}
	}
	server.RegisterService(&desc, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(lis)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return lis.Addr().String()
}

func (s *tensorServer) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.called = append(s.called, call)
}

func (s *tensorServer) calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.called)
}

func (s *tensorServer) ready(model string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[model]
}

func (s *tensorServer) ServerLive(context.Context, *oip.ServerLiveRequest) (*oip.ServerLiveResponse, error) {
	return &oip.ServerLiveResponse{Live: true}, nil
}

func (s *tensorServer) ModelReady(_ context.Context, req *oip.ModelReadyRequest) (*oip.ModelReadyResponse, error) {
	return &oip.ModelReadyResponse{Ready: s.ready(req.GetName())}, nil
}

func (s *tensorServer) ModelMetadata(_ context.Context, req *oip.ModelMetadataRequest) (*oip.ModelMetadataResponse, error) {
	if !s.ready(req.GetName()) {
		return nil, status.Errorf(codes.NotFound, "Request for unknown model: '%s' is not found", req.GetName())
	}
	return &oip.ModelMetadataResponse{Name: req.GetName(), Platform: "onnxruntime_onnx", Inputs: []*oip.ModelMetadataResponse_TensorMetadata{
		{Name: "x", Datatype: "FP64", Shape: []int64{-1, 2}},
	}}, nil
}

func (s *tensorServer) RepositoryModelLoad(_ context.Context, req *oip.RepositoryModelLoadRequest) (*oip.RepositoryModelLoadResponse, error) {
	s.note("load " + req.GetModelName())
	return &oip.RepositoryModelLoadResponse{}, s.change(req.GetModelName(), true)
}

func (s *tensorServer) RepositoryModelUnload(_ context.Context, req *oip.RepositoryModelUnloadRequest) (*oip.RepositoryModelUnloadResponse, error) {
	s.note("unload " + req.GetModelName())
	return &oip.RepositoryModelUnloadResponse{}, s.change(req.GetModelName(), false)
}

func (s *tensorServer) change(model string, loaded bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.known[model]; !ok {
		return status.Errorf(codes.InvalidArgument, "failed to load '%s', failed to poll from model repository", model)
	}
	s.known[model] = loaded
	return nil
}

func (s *tensorServer) ModelInfer(ctx context.Context, req *oip.ModelInferRequest) (*oip.ModelInferResponse, error) {
	s.mu.Lock()
	s.asked = append(s.asked, req)
	s.mu.Unlock()
	if !s.ready(req.GetModelName()) {
		return nil, status.Errorf(codes.NotFound, "Request for unknown model: '%s' is not found", req.GetModelName())
	}
	if s.hold != nil {
		s.note("held")
		select {
		case <-s.hold:
		case <-ctx.Done():
			s.note("cancelled")
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	in := req.GetInputs()[0]
	if in.GetDatatype() != "FP64" || len(in.GetShape()) != 2 || in.GetShape()[1] != 2 {
		return nil, status.Errorf(codes.InvalidArgument, "unexpected shape for input '%s'", in.GetName())
	}
	out := &oip.ModelInferResponse{ModelName: req.GetModelName(), ModelVersion: "1", Id: req.GetId(), RawOutputContents: req.GetRawInputContents()}
	o := &oip.ModelInferResponse_InferOutputTensor{Name: "predict", Datatype: in.GetDatatype(), Shape: in.GetShape(), Contents: in.GetContents()}
	if s.raw && len(out.GetRawOutputContents()) == 0 {
		out.RawOutputContents, o.Contents = [][]byte{make([]byte, 8*in.GetShape()[0]*in.GetShape()[1])}, nil
	}
	out.Outputs = []*oip.ModelInferResponse_InferOutputTensor{o}
	return out, nil
}

// ModelStreamInfer answers each request twice, with errors inside the answers.
func (s *tensorServer) ModelStreamInfer(stream grpc.BidiStreamingServer[oip.ModelInferRequest, oip.ModelStreamInferResponse]) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // the client has sent all
		}
		for range 2 {
			resp, err := s.ModelInfer(stream.Context(), req)
			out := &oip.ModelStreamInferResponse{InferResponse: resp}
			if err != nil {
				out.ErrorMessage = status.Convert(err).Message()
			}
			if err := stream.Send(out); err != nil {
				return err
			}
		}
	}
}

// plainStream is the same as MLServer has it.
func plainStream(srv any, stream grpc.ServerStream) error {
	s, ok := srv.(*tensorServer)
	if !ok {
		return errors.New("not a tensorServer")
	}
	req := new(oip.ModelInferRequest)
	if err := stream.RecvMsg(req); err != nil {
		return err
	}
	for range 2 {
		resp, err := s.ModelInfer(stream.Context(), req)
		if err != nil {
			return err
		}
		if err := stream.SendMsg(resp); err != nil {
			return err
		}
	}
	return nil
}

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
	if r := apierr.ReasonOf(err); r != apierr.InvalidArgument && r != apierr.EngineFailed {
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
		if got := s.asked[0]; got.GetModelName() != "iris" || got.GetModelVersion() != "" || got.GetId() != "7" {
			t.Errorf("the server was asked for %v", got)
		}
	})
	t.Run(KindMLServer, func(t *testing.T) {
		s := &tensorServer{plain: true, known: map[string]bool{"other": true}}
		a := NewMLServer(TensorConfig{Endpoints: map[string]TensorEndpoint{"m": {Address: s.serve(t), Slots: 3}}})
		tensorContract(t, attached(t, a, map[string]string{"endpoint": "m", "model": "other", "model-version": "2"}), 2)
		if got := s.asked[0]; got.GetModelName() != "other" || got.GetModelVersion() != "2" {
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
	lis, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
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

// program is one that is there.
func program(t *testing.T) *Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return NewProgram(path)
}

// setUp runs a plan's setup and returns the files it wrote.
func setUp(t *testing.T, plan *Plan, port int) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := plan.Command.Setup(dir, port); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if to, err := os.Readlink(path); err == nil {
			out[name] = "-> " + to
			return nil
		}
		data, err := os.ReadFile(path)
		out[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMLServerPlan(t *testing.T) {
	a := NewMLServer(TensorConfig{Program: program(t), Slots: 4, Queue: 8})
	weights := File{Role: RoleWeights, Path: "/models/iris.joblib", SizeBytes: 1000}
	plan, err := a.Plan(t.Context(), tensorModel(KindMLServer, map[string]string{"inputs": "x:FP64[-1,2]", "slots": "2"}, weights))
	if err != nil {
		t.Fatal(err)
	}
	if plan.Slots != 2 || plan.MaxInFlight != 10 || plan.MemoryBytes[PoolCPU] != mlserverMemory+3000 || !slices.Equal(plan.Command.Args(1), []string{"start", "."}) {
		t.Errorf("the plan is %+v", plan)
	}
	files := setUp(t, plan, 4321)
	for name, parts := range map[string][]string{
		"settings.json":       {`"host": "127.0.0.1"`, `"grpc_port": 4321`, `"metrics_endpoint": null`, `"parallel_workers": 0`},
		"model-settings.json": {`"name": "iris"`, `"implementation": "mlserver_sklearn.SKLearnModel"`, `"uri": "/models/iris.joblib"`, `"datatype": "FP64"`},
	} {
		for _, part := range parts {
			if !strings.Contains(files[name], part) {
				t.Errorf("%s lacks %s:\n%s", name, part, files[name])
			}
		}
	}
}

func TestTritonPlan(t *testing.T) {
	a := NewTriton(TensorConfig{Program: program(t), Slots: 4, Queue: 8})
	weights := File{Role: RoleWeights, Path: "/models/iris.onnx", SizeBytes: 1000}
	plan, err := a.Plan(t.Context(), tensorModel(KindTriton, map[string]string{
		"gpu": "1", "max-batch-size": "8", "inputs": "x:FP64[2]; s:BYTES[-1]", "outputs": "y:INT64[]",
	}, weights))
	if err != nil {
		t.Fatal(err)
	}
	if plan.MemoryBytes[PoolCPU] != tritonMemory || plan.MemoryBytes["gpu1"] != 2000 {
		t.Errorf("memory is %v", plan.MemoryBytes)
	}
	args := strings.Join(plan.Command.Args(4321), " ")
	for _, want := range []string{"--model-control-mode=explicit", "--load-model=iris", "--grpc-port=4321", "--grpc-address=127.0.0.1", "--allow-http=false"} {
		if !strings.Contains(args, want) {
			t.Errorf("%s is not in %s", want, args)
		}
	}
	want := map[string]string{
		"iris/1/model.onnx": "-> /models/iris.onnx",
		"iris/config.pbtxt": "name: \"iris\"\nbackend: \"onnxruntime\"\nmax_batch_size: 8\n" +
			"input [ { name: \"x\" data_type: TYPE_FP64 dims: [ 2 ] } ]\ninput [ { name: \"s\" data_type: TYPE_STRING dims: [ -1 ] } ]\n" +
			"output [ { name: \"y\" data_type: TYPE_INT64 dims: [  ] } ]\ninstance_group [ { kind: KIND_GPU gpus: [ 1 ] } ]\n",
	}
	if got := setUp(t, plan, 0); !maps.Equal(got, want) {
		t.Errorf("wrote %v", got)
	}
}

func TestTensorPlansRefuse(t *testing.T) {
	cfg := TensorConfig{Program: program(t), Slots: 4, Endpoints: map[string]TensorEndpoint{"e": {Address: "127.0.0.1:1", Slots: 1}}}
	weights := File{Role: RoleWeights, Path: "/m"}
	chat := tensorModel(KindMLServer, nil, weights)
	chat.Spec.Task = commonv1.Task_TASK_CHAT
	for name, tt := range map[string]struct {
		adapter Adapter
		model   Model
		field   string
	}{
		"a chat model":         {NewMLServer(cfg), chat, "spec.task"},
		"no weights":           {NewMLServer(cfg), tensorModel(KindMLServer, nil), "spec.artifacts"},
		"two files":            {NewTriton(cfg), tensorModel(KindTriton, nil, weights, weights), "spec.artifacts"},
		"any class of Python":  {NewMLServer(cfg), tensorModel(KindMLServer, map[string]string{"runtime": "os.system"}, weights), "spec.parameters.runtime"},
		"a backend of code":    {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"backend": "python"}, weights), "spec.parameters.backend"},
		"an unknown parameter": {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"http-port": "1"}, weights), "spec.parameters.http-port"},
		"an unknown endpoint":  {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"endpoint": "x"}), "spec.parameters.endpoint"},
		"tensors of no type":   {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"inputs": "x:FP8[1]"}, weights), "spec.parameters.inputs"},
		"tensors of no shape":  {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"inputs": "x:FP32"}, weights), "spec.parameters.inputs"},
		"a negative dimension": {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"outputs": "x:FP32[-2]"}, weights), "spec.parameters.outputs"},
		"no program":           {NewTriton(TensorConfig{Endpoints: cfg.Endpoints}), tensorModel(KindTriton, nil, weights), "spec.parameters.endpoint"},
	} {
		if _, err := tt.adapter.Plan(t.Context(), tt.model); apierr.From(err) == nil || apierr.From(err).Field != tt.field {
			t.Errorf("%s: %v, want the field %s", name, err, tt.field)
		}
	}
	if err := NewTriton(TensorConfig{}).Available(); err == nil {
		t.Error("nothing is configured, and yet available")
	}
	for name, want := range map[string]string{"iris@v1": "iris", "../../etc": "______etc", "": "model", "--flag": "flag", "sha256:ab": "sha256_ab"} {
		if got := localName(Model{Name: name}); got != want {
			t.Errorf("%q becomes %q", name, got)
		}
	}
}
