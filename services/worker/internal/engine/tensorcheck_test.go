package engine

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
)

func input(name, datatype string, shape ...int64) *oip.ModelInferRequest_InferInputTensor {
	return &oip.ModelInferRequest_InferInputTensor{Name: name, Datatype: datatype, Shape: shape}
}

func withContentType(in *oip.ModelInferRequest_InferInputTensor) *oip.ModelInferRequest_InferInputTensor {
	in.Parameters = map[string]*oip.InferParameter{"content_type": {ParameterChoice: &oip.InferParameter_StringParam{StringParam: "base64"}}}
	return in
}

func TestMismatch(t *testing.T) {
	two := declaration{{Name: "x", Datatype: "FP32", Shape: []int64{-1, 4}}, {Name: "mask", Datatype: "BOOL", Shape: []int64{-1}}}
	mask := input("mask", "BOOL", 3)
	long := make([]int64, 40)
	for name, tt := range map[string]struct {
		declared declaration
		inputs   []*oip.ModelInferRequest_InferInputTensor
		field    string // empty: nothing is wrong
		says     string
	}{
		"as declared":            {two, []*oip.ModelInferRequest_InferInputTensor{input("x", "FP32", 3, 4), mask}, "", ""},
		"no elements":            {two, []*oip.ModelInferRequest_InferInputTensor{input("x", "FP32", 0, 4), mask}, "", ""},
		"in another order":       {two, []*oip.ModelInferRequest_InferInputTensor{mask, input("x", "FP32", 3, 4)}, "", ""},
		"nothing declared":       {nil, []*oip.ModelInferRequest_InferInputTensor{input("y", "FP64", 7)}, "", ""},
		"another dimension":      {two, []*oip.ModelInferRequest_InferInputTensor{mask, input("x", "FP32", 3, 5)}, "inputs[1].shape", `"x" has the shape [3,5], and the model declares [-1,4]`},
		"fewer dimensions":       {two, []*oip.ModelInferRequest_InferInputTensor{input("x", "FP32", 4), mask}, "inputs[0].shape", "[4]"},
		"more dimensions":        {two, []*oip.ModelInferRequest_InferInputTensor{input("x", "FP32", 1, 3, 4), mask}, "inputs[0].shape", "[1,3,4]"},
		"very many dimensions":   {two, []*oip.ModelInferRequest_InferInputTensor{input("x", "FP32", long...), mask}, "inputs[0].shape", ",0,…]"},
		"another type":           {two, []*oip.ModelInferRequest_InferInputTensor{input("x", "FP64", 3, 4), mask}, "inputs[0].datatype", `"x" has the datatype FP64, and the model declares FP32`},
		"unknown":                {two, []*oip.ModelInferRequest_InferInputTensor{input("x", "FP32", 3, 4), mask, input("y", "FP32", 1)}, "inputs[2].name", `"y" is none that the model declares; it declares "x", "mask"`},
		"an unknown one so long": {two, []*oip.ModelInferRequest_InferInputTensor{input(strings.Repeat("y", 9999), "FP32", 1), mask}, "inputs[0].name", `yyy…" is none`},
		"missing":                {two, []*oip.ModelInferRequest_InferInputTensor{input("x", "FP32", 3, 4)}, "inputs", `"mask" is missing, which the model declares as BOOL[-1]`},
		"made into something":    {two, []*oip.ModelInferRequest_InferInputTensor{withContentType(input("x", "BYTES", 1)), mask}, "", ""},
		"a shape that is free":   {declaration{{Name: "x", Datatype: "FP32"}}, []*oip.ModelInferRequest_InferInputTensor{input("x", "FP32", 1, 2, 3)}, "", ""},
		"a type that is free":    {declaration{{Name: "x", Shape: []int64{2}}}, []*oip.ModelInferRequest_InferInputTensor{input("x", "INT8", 2)}, "", ""},
	} {
		got := tt.declared.mismatch(&oip.ModelInferRequest{Inputs: tt.inputs}, true)
		switch {
		case got == nil && tt.field == "":
		case got == nil || got.Field != tt.field || !strings.Contains(got.Message, tt.says) || got.Reason != apierr.InvalidArgument || len(got.Message) > 1024:
			t.Errorf("%s: got %v, want %s: %s", name, got, tt.field, tt.says)
		}
	}
	if got := two.mismatch(&oip.ModelInferRequest{Inputs: []*oip.ModelInferRequest_InferInputTensor{input("x", "FP32", 3, 4)}}, false); got != nil {
		t.Errorf("one that may be left away: %v", got)
	}
}

// triples is a request of three numbers for a model of two.
func triples() *oip.ModelInferRequest {
	return &oip.ModelInferRequest{Inputs: []*oip.ModelInferRequest_InferInputTensor{{
		Name: "x", Datatype: "FP64", Shape: []int64{1, 3}, Contents: &oip.InferTensorContents{Fp64Contents: []float64{1, 2, 3}},
	}}}
}

func timesOf(calls []string, call string) (n int) {
	for _, c := range calls {
		if c == call {
			n++
		}
	}
	return n
}

// A server that holds requests to what is declared never sees one that differs.
func TestTensorsAreCheckedBeforeAStrictServer(t *testing.T) {
	s := &tensorServer{raw: true, known: map[string]bool{"iris": true}}
	e := newTensorClient(tensorTarget{address: s.serve(t), model: "iris", streams: streamWrapped, strict: true})
	t.Cleanup(e.Close)
	if _, err := e.Facts(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := e.Infer(t.Context(), triples()); apierr.From(err).Field != "inputs[0].shape" {
			t.Errorf("got %v", err)
		}
		err := e.InferStream(t.Context(), triples(), func(*oip.ModelInferResponse) error { return nil })
		if apierr.From(err).Field != "inputs[0].shape" {
			t.Errorf("a stream: %v", err)
		}
		if _, err := e.Infer(t.Context(), rows(1, 2)); err != nil {
			t.Error(err)
		}
	}
	if n := len(s.requests()); n != 3 {
		t.Errorf("the server saw %d requests", n)
	}
	if n := timesOf(s.calls(), "metadata"); n != 1 {
		t.Errorf("the server was asked %d times what it takes", n)
	}
}

// A server that could not say what the model declares is asked again; one that
// has no such call is not.
func TestDeclarationIsAskedForUntilItIsTold(t *testing.T) {
	for name, tt := range map[string]struct {
		code  codes.Code
		again bool
	}{
		"busy":             {codes.Unavailable, true},
		"failing":          {codes.Internal, true},
		"slow":             {codes.DeadlineExceeded, true},
		"without metadata": {codes.Unimplemented, false},
	} {
		s := &tensorServer{raw: true, loose: true, known: map[string]bool{"iris": true}, silent: status.Error(tt.code, "no")}
		e := newTensorClient(tensorTarget{address: s.serve(t), model: "iris", streams: streamWrapped, strict: true})
		t.Cleanup(e.Close)
		if _, err := e.Infer(t.Context(), triples()); err != nil {
			t.Errorf("%s: what is not declared is held against the caller: %v", name, err)
		}
		s.mu.Lock()
		s.silent = nil
		s.mu.Unlock()
		_, err := e.Infer(t.Context(), triples())
		if refused := err != nil && apierr.From(err).Field == "inputs[0].shape"; refused != (err != nil) || refused != tt.again {
			t.Errorf("%s: then %v", name, err)
		}
	}
}

// A server that runs elsewhere may have another model by now.
func TestAnotherModelElsewhere(t *testing.T) {
	s := &tensorServer{raw: true, loose: true, known: map[string]bool{"iris": true}}
	a := NewTriton(TensorConfig{Endpoints: map[string]TensorEndpoint{"t": {Address: s.serve(t), Slots: 3}}})
	e, _ := attached(t, a, map[string]string{"endpoint": "t"}).(TensorEngine)
	if _, err := e.Infer(t.Context(), triples()); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Fatalf("got %v", err)
	}
	s.mu.Lock()
	s.inputs = []*oip.ModelMetadataResponse_TensorMetadata{{Name: "x", Datatype: "FP64", Shape: []int64{-1, 3}}}
	s.mu.Unlock()
	if _, err := e.Infer(t.Context(), triples()); err != nil {
		t.Errorf("what it now takes: %v", err)
	}
	if _, err := e.Infer(t.Context(), triples()); err != nil || timesOf(s.calls(), "metadata") != 3 {
		t.Errorf("got %v, after %v", err, s.calls())
	}
}

// MLServer holds nothing to what is declared: it is asked, and only a request that
// it fails on is.
func TestTensorsAreExplainedAfterALooseServer(t *testing.T) {
	s := &tensorServer{plain: true, fails: true, known: map[string]bool{"iris": true}}
	a := NewMLServer(TensorConfig{Endpoints: map[string]TensorEndpoint{"m": {Address: s.serve(t), Slots: 3}}})
	e, _ := attached(t, a, map[string]string{"endpoint": "m"}).(TensorEngine)
	_, err := e.Infer(t.Context(), triples())
	if got := apierr.From(err); got.Reason != apierr.InvalidArgument || got.Field != "inputs[0].shape" || !strings.Contains(got.Message, "X has 3 features") {
		t.Errorf("got %v", got)
	}
	err = e.InferStream(t.Context(), triples(), func(*oip.ModelInferResponse) error { return nil })
	if got := apierr.From(err); got.Reason != apierr.InvalidArgument || got.Field != "inputs[0].shape" {
		t.Errorf("a stream: %v", got)
	}
	if n := timesOf(s.calls(), "metadata"); n != 1 {
		t.Errorf("the server was asked %d times what it takes", n)
	}
	s.loose = true
	renamed := rows(1, 2)
	renamed.Inputs[0].Name = "input-0"
	for name, req := range map[string]*oip.ModelInferRequest{"another name": renamed, "another shape": triples()} {
		if _, err := e.Infer(t.Context(), req); err != nil {
			t.Errorf("%s, which it takes: %v", name, err)
		}
	}
	s.mu.Lock()
	s.loose, s.inputs = false, []*oip.ModelMetadataResponse_TensorMetadata{}
	s.mu.Unlock()
	silent, _ := attached(t, a, map[string]string{"endpoint": "m"}).(TensorEngine)
	if _, err := silent.Infer(t.Context(), triples()); apierr.ReasonOf(err) != apierr.EngineFailed {
		t.Errorf("a model that declares nothing: %v", err)
	}
}

// A failure that has nothing to do with the tensors is nobody's fault but its own.
func TestOnlyFailuresOnTheRequestAreExplained(t *testing.T) {
	s := &tensorServer{known: map[string]bool{"iris": true}}
	e := newTensorClient(tensorTarget{address: s.serve(t), model: "iris", streams: streamPlain})
	t.Cleanup(e.Close)
	for _, code := range []codes.Code{codes.Unauthenticated, codes.NotFound, codes.ResourceExhausted, codes.Unavailable, codes.DeadlineExceeded} {
		err := e.explain(t.Context(), triples(), status.Error(code, "no"))
		if r := apierr.ReasonOf(err); r == apierr.InvalidArgument {
			t.Errorf("%v became %v", code, r)
		}
	}
	notReady := status.Error(codes.InvalidArgument, "Model iris is not ready yet.")
	if r := apierr.ReasonOf(tensorError(t.Context(), notReady)); r != apierr.Unavailable {
		t.Errorf("a model that is not ready: %v", r)
	}
	for _, code := range []codes.Code{codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange} {
		if r := apierr.ReasonOf(tensorError(t.Context(), status.Error(code, "no"))); r != apierr.InvalidArgument {
			t.Errorf("%v became %v", code, r)
		}
	}
}
