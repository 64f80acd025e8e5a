package edge_test

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/inproc"
	oip "github.com/poterne/poterne/proto/gen/inference"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// answers are what the fake gives for a request with tensors.
func (f *fakeInference) answers(req *inferencev1.InferTensorsRequest) ([]*oip.ModelInferResponse, error) {
	f.mu.Lock()
	f.inferred = append(f.inferred, req)
	infer := f.infer
	f.mu.Unlock()
	if infer != nil {
		return infer(req)
	}
	out := &oip.ModelInferResponse{ModelName: "small", ModelVersion: "3", RawOutputContents: req.GetRequest().GetRawInputContents()}
	for _, in := range req.GetRequest().GetInputs() {
		out.Outputs = append(out.Outputs, &oip.ModelInferResponse_InferOutputTensor{
			Name: in.GetName(), Datatype: in.GetDatatype(), Shape: in.GetShape(), Contents: in.GetContents(),
		})
	}
	return []*oip.ModelInferResponse{out}, nil
}

func (f *fakeInference) InferTensors(_ context.Context, req *inferencev1.InferTensorsRequest) (*inferencev1.InferTensorsResponse, error) {
	out, err := f.answers(req)
	if err != nil {
		return nil, err
	}
	return &inferencev1.InferTensorsResponse{ServedBy: f.served(), Response: out[0]}, nil
}

func (f *fakeInference) InferTensorsStream(req *inferencev1.InferTensorsRequest, out grpc.ServerStreamingServer[inferencev1.InferTensorsStreamResponse]) error {
	all, err := f.answers(req)
	if err != nil {
		return err
	}
	if err := out.Send(&inferencev1.InferTensorsStreamResponse{Event: &inferencev1.InferTensorsStreamResponse_ServedBy{ServedBy: f.served()}}); err != nil {
		return err
	}
	for _, r := range all {
		if err := out.Send(&inferencev1.InferTensorsStreamResponse{Event: &inferencev1.InferTensorsStreamResponse_Response{Response: r}}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeInference) GetTensorModel(_ context.Context, req *inferencev1.GetTensorModelRequest) (*inferencev1.GetTensorModelResponse, error) {
	if !strings.HasPrefix(req.GetModel(), "small") {
		return nil, apierr.New(apierr.ModelNotFound, "there is no model %q", req.GetModel()).WithField("model")
	}
	return &inferencev1.GetTensorModelResponse{ServedBy: f.served(), Metadata: &oip.ModelMetadataResponse{
		Name: "small", Versions: []string{"1", "3"}, Platform: "sklearn",
		Inputs: []*oip.ModelMetadataResponse_TensorMetadata{{Name: "x", Datatype: "FP32", Shape: []int64{-1, 2}}},
	}}, nil
}

func (f *fakeInference) lastInferred(t *testing.T) *inferencev1.InferTensorsRequest {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.inferred) == 0 {
		t.Fatal("the inference service was not asked")
	}
	return f.inferred[len(f.inferred)-1]
}

const twoNumbers = `{"id":"7","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[[1,2.5]]}]}`

func TestTensorsOverREST(t *testing.T) {
	g := open(t, nil)
	for path, model := range map[string]string{
		"/v2/models/small/infer":             "small",
		"/v2/models/small%40stable/infer":    "small@stable",
		"/v2/models/small@v3/infer":          "small@v3",
		"/v2/models/small/versions/3/infer":  "small@v3",
		"/v2/models/small/versions/v3/infer": "small@v3",
	} {
		a := g.do("POST", path, twoNumbers)
		want := `{"model_name":"small","model_version":"3","id":"7","outputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2.5]}]}`
		if a.status != 200 || a.text != want || a.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %d %s", path, a.status, a.text)
		}
		if a.header.Get("X-Poterne-Model") != "small@v3" || a.header.Get("X-Poterne-Arm") != "canary" || a.header.Get("Ratelimit") == "" {
			t.Errorf("%s: the header is %v", path, a.header)
		}
		if got := g.inference.lastInferred(t); got.GetModel() != model || got.GetRoutingKey() == "" {
			t.Errorf("%s asks %q for %q", path, got.GetModel(), got.GetRoutingKey())
		}
	}
}

// TestBinaryTensors is a request as Triton's HTTP client sends it.
func TestBinaryTensors(t *testing.T) {
	g := open(t, nil)
	head := `{"inputs":[{"name":"x","shape":[2],"datatype":"FP16","parameters":{"binary_data_size":4}}],"outputs":[{"name":"x","parameters":{"binary_data":true}}]}`
	a := g.do("POST", "/v2/models/small/infer", head+"\x00\x3c\x00\x40", "Content-Type", "application/octet-stream",
		"Inference-Header-Content-Length", strconv.Itoa(len(head)))
	n, err := strconv.Atoi(a.header.Get("Inference-Header-Content-Length"))
	if err != nil || a.status != 200 || n > len(a.text) || a.text[n:] != "\x00\x3c\x00\x40" || !strings.Contains(a.text[:n], `"parameters":{"binary_data_size":4}`) {
		t.Fatalf("%d %v %q", a.status, a.header, a.text)
	}
	if raw := g.inference.lastInferred(t).GetRequest().GetRawInputContents(); len(raw) != 1 || string(raw[0]) != "\x00\x3c\x00\x40" {
		t.Errorf("the engine got %q", raw)
	}
	if a = g.do("POST", "/v2/models/small/infer", head, "Inference-Header-Content-Length", "100000"); a.status != 400 || a.at("field") != "Inference-Header-Content-Length" {
		t.Errorf("more JSON than body: %d %s", a.status, a.text)
	}
}

func TestTensorQuestions(t *testing.T) {
	g := open(t, nil)
	ready := make(chan struct{})
	var once sync.Once
	g.Readiness().Subscribe(func(yes bool) {
		if yes {
			once.Do(func() { close(ready) })
		}
	})
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		t.Fatal("never ready")
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/v2/health/live", "", 200, `{"live":true}`},
		{"GET", "/v2", "", 200, `{"extensions":["binary_tensor_data"],"name":"poterne","version":"dev"}`},
		{"GET", "/v2/models/small", "", 200, `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"name":"small","outputs":[],"platform":"sklearn","versions":["1","3"]}`},
		{"GET", "/v2/models/small/versions/3", "", 200, `"versions":["1","3"]`},
		{"GET", "/v2/models/small/ready", "", 200, `{"name":"small","ready":true}`},
		{"GET", "/v2/models/small/versions/3/ready", "", 200, `"ready":true`},
		{"POST", "/v2/repository/index", "", 200, `[{"name":"small","version":"3","state":"READY"}]`},
		{"POST", "/v2/repository/index", `{"ready":true}`, 200, `"READY"`},
	} {
		if a := g.do(tt.method, tt.path, tt.body); a.status != tt.status || !strings.Contains(a.text, tt.says) {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, a.status, a.text)
		}
	}
	for path, want := range map[string]int{"/v2/health/live": 200, "/v2/health/ready": 200, "/v2": 401} { // probes have no key
		if a := g.do("GET", path, "", "Authorization", ""); a.status != want {
			t.Errorf("%s without a key: %d %s", path, a.status, a.text)
		}
	}
	g.inference.setReady(false)
	if a := g.do("GET", "/v2/models/small/ready", ""); a.status != 503 || a.at("ready") != false {
		t.Errorf("a model that is loading: %d %s", a.status, a.text)
	}
	if a := g.do("POST", "/v2/repository/index", `{"ready":true}`); a.text != `[]` {
		t.Errorf("no model is ready: %s", a.text)
	}
}

func TestBadTensors(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Tensors.MaxBytes = 4096 })
	tests := map[string]struct {
		method, path, body string
		headers            []string
		status             int
		code, field        string
	}{
		"no JSON":           {"POST", "/v2/models/small/infer", `{"inputs":`, nil, 400, "INVALID_ARGUMENT", ""},
		"nothing":           {"POST", "/v2/models/small/infer", ``, nil, 400, "INVALID_ARGUMENT", ""},
		"wrong count":       {"POST", "/v2/models/small/infer", strings.Replace(twoNumbers, "[1,2]", "[3]", 1), nil, 400, "INVALID_ARGUMENT", "inputs[0].data"},
		"half floats":       {"POST", "/v2/models/small/infer", strings.Replace(twoNumbers, "FP32", "FP16", 1), nil, 400, "INVALID_ARGUMENT", "inputs[0].data"},
		"overflow":          {"POST", "/v2/models/small/infer", strings.Replace(twoNumbers, "[1,2]", "[9223372036854775807,9]", 1), nil, 400, "INVALID_ARGUMENT", "inputs[0].shape"},
		"too large":         {"POST", "/v2/models/small/infer", strings.Replace(twoNumbers, "[1,2]", "[1025]", 1), nil, 413, "PAYLOAD_TOO_LARGE", "inputs[0]"},
		"body too large":    {"POST", "/v2/models/small/infer", strings.Repeat(" ", 65<<10) + twoNumbers, nil, 413, "PAYLOAD_TOO_LARGE", ""},
		"shared memory":     {"POST", "/v2/models/small/infer", `{"inputs":[{"name":"x","shape":[0],"datatype":"BOOL","data":[],"parameters":{"shared_memory_region":"r"}}]}`, nil, 400, "INVALID_ARGUMENT", "inputs[0].parameters.shared_memory_region"},
		"a long name":       {"POST", "/v2/models/" + strings.Repeat("m", 300) + "/infer", twoNumbers, nil, 400, "INVALID_ARGUMENT", "model_name"},
		"a version's word":  {"POST", "/v2/models/small/versions/latest/infer", twoNumbers, nil, 400, "INVALID_ARGUMENT", "model_version"},
		"two versions":      {"POST", "/v2/models/small@v2/versions/3/infer", twoNumbers, nil, 400, "INVALID_ARGUMENT", "model_version"},
		"not JSON":          {"POST", "/v2/models/small/infer", twoNumbers, []string{"Content-Type", "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE", ""},
		"compressed":        {"POST", "/v2/models/small/infer", twoNumbers, []string{"Content-Encoding", "gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE", ""},
		"no key":            {"POST", "/v2/models/small/infer", twoNumbers, []string{"Authorization", ""}, 401, "UNAUTHENTICATED", ""},
		"an unknown model":  {"GET", "/v2/models/none", "", nil, 404, "MODEL_NOT_FOUND", "model"},
		"none that's ready": {"GET", "/v2/models/none/ready", "", nil, 404, "MODEL_NOT_FOUND", "model"},
		"an unknown path":   {"GET", "/v2/nothing", "", nil, 404, "NOT_FOUND", ""},
		"a wrong method":    {"GET", "/v2/models/small/infer", "", nil, 405, "METHOD_NOT_ALLOWED", ""},
		"a load":            {"POST", "/v2/repository/models/small/load", "", nil, 404, "NOT_FOUND", ""},
		"index of another":  {"POST", "/v2/repository/index", `{"repository_name":"r"}`, nil, 400, "INVALID_ARGUMENT", "repository_name"},
		"index with more":   {"POST", "/v2/repository/index", `{"rady":true}`, nil, 400, "INVALID_ARGUMENT", "rady"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := g.do(tt.method, tt.path, tt.body, tt.headers...)
			field, _ := a.at("field").(string)
			if text, _ := a.at("error").(string); a.status != tt.status || text == "" || a.at("code") != tt.code || field != tt.field {
				t.Errorf("got %d %s, want %d %s at %q", a.status, a.text, tt.status, tt.code, tt.field)
			}
			if a.at("request_id") != a.header.Get("X-Request-Id") {
				t.Errorf("the request id is not in the body: %s", a.text)
			}
		})
	}
	if n := len(g.inference.inferred); n != 0 {
		t.Errorf("the inference service was asked %d times", n)
	}
}

// tensorClient calls the edge as its gRPC port does: through the chain.
func (g *gate) tensorClient() (oip.GRPCInferenceServiceClient, context.Context) {
	g.t.Helper()
	conn := inproc.New(g.Interceptors(), g.RegisterGRPC)
	return oip.NewGRPCInferenceServiceClient(conn), metadata.AppendToOutgoingContext(g.t.Context(), "authorization", "Bearer "+g.key)
}

func booleans(model string, values ...bool) *oip.ModelInferRequest {
	return &oip.ModelInferRequest{ModelName: model, Id: strconv.Itoa(len(values)), Inputs: []*oip.ModelInferRequest_InferInputTensor{{
		Name: "x", Datatype: "BOOL", Shape: []int64{int64(len(values))}, Contents: &oip.InferTensorContents{BoolContents: values},
	}}}
}

func TestTensorsOverGRPC(t *testing.T) {
	g := open(t, nil)
	client, ctx := g.tensorClient()
	resp, err := client.ModelInfer(ctx, booleans("small", true, false))
	if err != nil || resp.GetId() != "2" || resp.GetModelVersion() != "3" {
		t.Fatalf("got %v, %v", resp, err)
	}
	bad := booleans("small", true)
	bad.Inputs[0].Shape = []int64{2}
	_, err = client.ModelInfer(ctx, bad)
	if e := apierr.From(err); status.Code(err) != codes.InvalidArgument || e.Field != "inputs[0].contents" {
		t.Errorf("bad contents: %v", err)
	}
	if _, err = client.ModelInfer(ctx, &oip.ModelInferRequest{ModelName: "small"}); apierr.From(err).Field != "inputs" {
		t.Errorf("no inputs: %v", err)
	}
	if _, err = client.RepositoryModelLoad(ctx, &oip.RepositoryModelLoadRequest{ModelName: "small"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a load: %v", err)
	}
	if _, err = client.ModelInfer(t.Context(), booleans("small", true)); status.Code(err) != codes.Unauthenticated {
		t.Errorf("nobody: %v", err)
	}
	if live, err := client.ServerLive(t.Context(), &oip.ServerLiveRequest{}); err != nil || !live.GetLive() {
		t.Errorf("live: %v", err)
	}
}

// TestTensorsAreAskedAgain is a replica of the inference service that is killed
// with a request in its hands.
func TestTensorsAreAskedAgain(t *testing.T) {
	g := open(t, nil)
	calls := 0
	g.inference.infer = func(*inferencev1.InferTensorsRequest) ([]*oip.ModelInferResponse, error) {
		if calls++; calls == 1 {
			return nil, status.Error(codes.Unavailable, "connection lost")
		}
		return []*oip.ModelInferResponse{{}}, nil
	}
	if a := g.do("POST", "/v2/models/small/infer", twoNumbers); a.status != 200 || calls != 2 {
		t.Errorf("%d %s after %d calls", a.status, a.text, calls)
	}
}

// received reads one answer of a stream.
func received(t *testing.T, s grpc.BidiStreamingClient[oip.ModelInferRequest, oip.ModelStreamInferResponse]) *oip.ModelStreamInferResponse {
	t.Helper()
	resp, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestTensorStream(t *testing.T) {
	g := open(t, nil)
	g.inference.infer = func(req *inferencev1.InferTensorsRequest) ([]*oip.ModelInferResponse, error) {
		n := len(req.GetRequest().GetInputs()[0].GetContents().GetBoolContents())
		if n == 3 {
			return nil, apierr.New(apierr.EngineFailed, "the engine failed on the request")
		}
		return []*oip.ModelInferResponse{{}, {}}[:n], nil
	}
	client, ctx := g.tensorClient()
	s, err := client.ModelStreamInfer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.CloseSend() }()
	send := func(req *oip.ModelInferRequest) {
		if err := s.Send(req); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	send(booleans("small", true, false))
	for range 2 {
		if r := received(t, s); r.GetErrorMessage() != "" || r.GetInferResponse().GetId() != "2" {
			t.Fatalf("got %v", r)
		}
	}
	if header, err := s.Header(); err != nil || len(header.Get("x-poterne-model")) != 1 {
		t.Errorf("the header is %v, %v", header, err)
	}
	send(booleans("small", true, true, true))
	if r := received(t, s); !strings.Contains(r.GetErrorMessage(), "the engine failed") || r.GetInferResponse().GetId() != "3" {
		t.Errorf("a request that fails: %v", r)
	}
	bad := booleans("small", true)
	bad.Inputs[0].Datatype = "FP8"
	send(bad)
	if r := received(t, s); !strings.Contains(r.GetErrorMessage(), "FP8") {
		t.Errorf("tensors that are none: %v", r)
	}
	send(booleans("small", true))
	if r := received(t, s); r.GetErrorMessage() != "" || r.GetInferResponse().GetId() != "1" {
		t.Errorf("the stream does not go on: %v", r)
	}
	send(booleans("other", true))
	if _, err := s.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "one model") {
		t.Errorf("another model in one stream: %v", err)
	}
}

// TestTensorStreamIsHeldToTheLimit fails when a stream lets its caller ask more
// than the key may.
func TestTensorStreamIsHeldToTheLimit(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Security.Limits.RequestsPerMinute = 3 })
	client, ctx := g.tensorClient()
	s, err := client.ModelStreamInfer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if err := s.Send(booleans("small", true)); err != nil {
			t.Fatal(err)
		}
		if _, err = s.Recv(); (err == nil) != (i < 3) {
			t.Fatalf("request %d: %v", i+1, err)
		}
	}
	if apierr.ReasonOf(err) != apierr.RateLimited {
		t.Errorf("the fourth is refused with %v", err)
	}
}
