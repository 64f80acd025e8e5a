package inference_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// quantizer is what a fake worker can make.
func quantizer(measures bool, types ...string) []*workerv1.Quantizer {
	return []*workerv1.Quantizer{{Engine: fakes.Engine, Types: types, Measures: measures}}
}

// quantized is what came of a quantisation.
type quantized struct {
	started  *inferencev1.QuantizeStarted
	progress []*workerv1.QuantizeProgress
	result   *workerv1.QuantizeResult
}

// quantize reads a quantisation to its end and holds its events to their order.
func (m *mesh) quantize(t *testing.T, ctx context.Context, req *inferencev1.QuantizeModelRequest) (out quantized, err error) { //nolint:revive // as the test's own helpers
	t.Helper()
	stream, err := m.client.QuantizeModel(ctx, req)
	if err != nil {
		return out, err
	}
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if out.result == nil {
				t.Error("the stream ended without a result")
			}
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if out.started == nil && msg.GetStarted() == nil || out.result != nil {
			t.Errorf("%v came out of order", msg)
		}
		switch ev := msg.GetEvent().(type) {
		case *inferencev1.QuantizeModelResponse_Started:
			out.started = ev.Started
		case *inferencev1.QuantizeModelResponse_Progress:
			out.progress = append(out.progress, ev.Progress)
		case *inferencev1.QuantizeModelResponse_Result:
			out.result = ev.Result
		}
	}
}

// variant adds a variant to the first version.
func variant(name string) fakes.Change {
	return func(m *registryv1.ModelState) {
		v := m.GetVersions()[0]
		v.Variants = append(v.Variants, &registryv1.Variant{
			Model: v.GetModel(), Version: v.GetNumber(), Name: name, Digest: fakes.Digest(name),
			Spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: fakes.Engine, Parameters: map[string]string{"variant": name}},
		})
	}
}

func TestQuantize(t *testing.T) {
	asked := make(chan *workerv1.QuantizeRequest, 1)
	m := newMesh(t, 1, meshOptions{worker: func(_ int, w *fakes.Worker) {
		w.Quantizers = quantizer(true, "q8_0", "q4_k_m")
		w.OnQuantize = func(req *workerv1.QuantizeRequest, stream grpc.ServerStreamingServer[workerv1.QuantizeResponse]) error {
			asked <- req
			return errors.Join(fakes.Quantizing(stream, -1), fakes.Quantizing(stream, 100),
				stream.Send(&workerv1.QuantizeResponse{Event: &workerv1.QuantizeResponse_Result{Result: fakes.Quantized(req)}}))
		}
	}}, fakes.Model("m", 2, fakes.Alias("production", 1), variant("q8_0")))
	for name, tt := range map[string]struct{ source, digest, parameter string }{
		"the version's own weights":       {"", fakes.VersionDigest("m", 1), ""},
		"the same, by name":               {"base", fakes.VersionDigest("m", 1), ""},
		"a variant of it":                 {"q8_0", fakes.Digest("q8_0"), "q8_0"},
		"a version that is named":         {"@v2", fakes.VersionDigest("m", 2), ""},
		"the default of an aliased model": {"@production", fakes.VersionDigest("m", 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			model, source := "m", tt.source
			if strings.HasPrefix(source, "@") {
				model, source = "m"+source, ""
			}
			got, err := m.quantize(t, caller(t), &inferencev1.QuantizeModelRequest{
				Model: model, Source: source, Type: "q4_k_m", Text: []byte("some text"), Window: 128, AllowRequantize: true, Threads: 3,
			})
			if err != nil {
				t.Fatal(err)
			}
			req := <-asked
			if req.GetDigest() != tt.digest || req.GetSpec().GetParameters()["variant"] != tt.parameter || req.GetType() != "q4_k_m" ||
				string(req.GetText()) != "some text" || req.GetWindow() != 128 || !req.GetAllowRequantize() || req.GetThreads() != 3 ||
				!strings.HasPrefix(req.GetName(), "m@v") {
				t.Errorf("the worker was asked %v", req)
			}
			if s := got.started; s.GetModel() != "m" || s.GetSourceDigest() != tt.digest || s.GetWorkerId() != "a" || s.GetVersion() < 1 {
				t.Errorf("started with %v", s)
			}
			if len(got.progress) != 2 || got.progress[0].GetPercent() != -1 || got.result.GetSizeBytes() != 1<<20 {
				t.Errorf("got %v and %v", got.progress, got.result)
			}
		})
	}
}

// TestQuantizeRefuses holds that every refusal says why.
func TestQuantizeRefuses(t *testing.T) {
	m := newMesh(t, 4, meshOptions{worker: func(i int, w *fakes.Worker) {
		switch i {
		case 0:
			w.Quantizers = quantizer(false, "q8_0", "q4_0")
		case 1:
			w.Quantizers = quantizer(true, "q8_0", "q5_0")
			w.Drain(true)
		case 2:
			w.Quantizers = []*workerv1.Quantizer{{Engine: "another", Types: []string{"q9"}}}
		}
	}},
		fakes.Model("one", 1),
		fakes.Model("split", 2, fakes.Split("control", 1, 900_000), fakes.Split("candidate", 2, 100_000)),
		fakes.Model("ramped", 2, fakes.Split("control", 1, 1_000_000), fakes.Split("candidate", 2, 0)),
		fakes.Model("strange", 1, func(s *registryv1.ModelState) { s.GetVersions()[0].Spec.Engine = "strange" }),
	)
	m.awaitReady(t, "one", 2)
	for name, tt := range map[string]struct {
		req    *inferencev1.QuantizeModelRequest
		reason apierr.Reason
		says   string
	}{
		"a split": {&inferencev1.QuantizeModelRequest{Model: "split", Type: "q8_0"}, apierr.FailedPrecondition, "split@v1"},
		"no such model": {
			&inferencev1.QuantizeModelRequest{Model: "two", Type: "q8_0"}, apierr.ModelNotFound, "two",
		},
		"no such variant": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "q8_0", Source: "f16"}, apierr.NotFound, "there are: base",
		},
		"a window that is too small": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "q8_0", Window: 63}, apierr.InvalidArgument, "window",
		},
		"a text that is none": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "q8_0", Text: []byte{0xff}}, apierr.InvalidArgument, "UTF-8",
		},
		"a type that is no name": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "Q8 0"}, apierr.InvalidArgument, "type",
		},
		"an unknown worker": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "q8_0", WorkerId: "z"}, apierr.NotFound, `no worker "z"`,
		},
		"a draining worker": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "q8_0", WorkerId: "b"}, apierr.Unavailable, "worker b is draining",
		},
		"a worker for other engines": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "q8_0", WorkerId: "c"}, apierr.FailedPrecondition, "worker c has no quantiser",
		},
		"a worker without a quantiser": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "q8_0", WorkerId: "d"}, apierr.FailedPrecondition, "worker d has no quantiser",
		},
		"a worker that does not know the type": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "q5_0", WorkerId: "a"}, apierr.FailedPrecondition, "known are: q4_0, q8_0",
		},
		"a worker that cannot measure": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "q8_0", WorkerId: "a", Text: []byte("x")},
			apierr.FailedPrecondition, "leave the text out",
		},
		"only a draining one measures": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "q8_0", Text: []byte("x")}, apierr.Unavailable, "draining",
		},
		"nobody knows the type": {
			&inferencev1.QuantizeModelRequest{Model: "one", Type: "q2_k"}, apierr.FailedPrecondition, "known are: q4_0, q5_0, q8_0",
		},
		"nobody has the engine": {
			&inferencev1.QuantizeModelRequest{Model: "strange", Type: "q8_0"}, apierr.FailedPrecondition, "no worker has a quantiser",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := m.quantize(t, caller(t), tt.req)
			if e := apierr.From(err); e == nil || e.Reason != tt.reason || !strings.Contains(e.Message, tt.says) || got.started != nil {
				t.Errorf("got %v; want %s saying %q", err, tt.reason, tt.says)
			}
		})
	}
	// One arm that is reachable says which version is meant.
	if got, err := m.quantize(t, caller(t), &inferencev1.QuantizeModelRequest{Model: "ramped", Type: "q8_0"}); err != nil || got.started.GetVersion() != 1 {
		t.Errorf("got %v, %v", got.started, err)
	}
	m.workers[0].Kill()
	for {
		_, err := m.quantize(t, caller(t), &inferencev1.QuantizeModelRequest{Model: "one", Type: "q4_0", WorkerId: "a"})
		if e := apierr.From(err); e != nil && e.Reason == apierr.Unavailable && strings.Contains(e.Message, "worker a is away") {
			break
		} else if e == nil || e.Reason != apierr.Unavailable {
			t.Fatal(err)
		}
	}
}

// TestQuantizeChooses holds the order in which workers are asked.
func TestQuantizeChooses(t *testing.T) {
	sum := strings.Repeat("00", 7) + "2a" + strings.Repeat("00", 24)
	model := fakes.Model("m", 1, func(s *registryv1.ModelState) {
		s.GetVersions()[0].Spec.Artifacts = []*commonv1.Artifact{{Uri: "https://host/f", Sha256: sum, SizeBytes: 1, Role: "weights"}}
	})
	release := make(chan struct{})
	m := newMesh(t, 4, meshOptions{worker: func(i int, w *fakes.Worker) {
		w.Quantizers = quantizer(true, "q8_0")
		if i == 1 || i == 2 { // they have the files
			w.Artifacts = []uint64{7, 0x2a}
		}
		w.OnQuantize = func(req *workerv1.QuantizeRequest, stream grpc.ServerStreamingServer[workerv1.QuantizeResponse]) error {
			if err := fakes.Quantizing(stream, 0); err != nil {
				return err
			}
			if string(req.GetText()) == "wait" {
				<-release
			}
			return stream.Send(&workerv1.QuantizeResponse{Event: &workerv1.QuantizeResponse_Result{Result: fakes.Quantized(req)}})
		}
	}}, model)
	ask := &inferencev1.QuantizeModelRequest{Model: "m", Type: "q8_0"}
	who := func(req *inferencev1.QuantizeModelRequest) string {
		t.Helper()
		got, err := m.quantize(t, caller(t), req)
		if err != nil {
			t.Fatal(err)
		}
		return got.started.GetWorkerId()
	}
	if got := who(ask); got != "b" {
		t.Errorf("%s was asked; b has the files and the lower id", got)
	}
	if got := who(&inferencev1.QuantizeModelRequest{Model: "m", Type: "q8_0", WorkerId: "d"}); got != "d" {
		t.Errorf("%s was asked in the place of d", got)
	}
	// While b has one in hand, c is the less busy of those with the files.
	stream, err := m.client.QuantizeModel(caller(t), &inferencev1.QuantizeModelRequest{Model: "m", Type: "q8_0", Text: []byte("wait"), WorkerId: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if got := who(ask); got != "c" {
		t.Errorf("%s was asked while b was busy", got)
	}
	close(release)
	for err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestQuantizeAsksAnother holds that a worker that has no room now is passed
// over before anything was said, and that its own refusal stays its own.
func TestQuantizeAsksAnother(t *testing.T) {
	refusal := apierr.New(apierr.Overloaded, "one is being made")
	m := newMesh(t, 2, meshOptions{worker: func(i int, w *fakes.Worker) {
		w.Quantizers = quantizer(true, "q8_0")
		if i == 0 {
			w.OnQuantize = func(req *workerv1.QuantizeRequest, stream grpc.ServerStreamingServer[workerv1.QuantizeResponse]) error {
				if req.GetWindow() == 64 { // it has the files by now, and knows what they take
					return errors.Join(fakes.Quantizing(stream, -1),
						apierr.New(apierr.FailedPrecondition, "9 GiB are needed").WithMetadata("needed_bytes", "9663676416"))
				}
				if req.GetAllowRequantize() {
					return apierr.New(apierr.FailedPrecondition, "the weights are odd").WithField("type")
				}
				return refusal
			}
		}
	}}, fakes.Model("m", 1))
	got, err := m.quantize(t, caller(t), &inferencev1.QuantizeModelRequest{Model: "m", Type: "q8_0"})
	if err != nil || got.started.GetWorkerId() != "b" {
		t.Errorf("%v, %v", got.started, err)
	}
	got, err = m.quantize(t, caller(t), &inferencev1.QuantizeModelRequest{Model: "m", Type: "q8_0", Window: 64})
	if err != nil || got.started.GetWorkerId() != "b" || got.result == nil {
		t.Errorf("one that has no room is not passed over: %v, %v", got.started, err)
	}
	_, err = m.quantize(t, caller(t), &inferencev1.QuantizeModelRequest{Model: "m", Type: "q8_0", WorkerId: "a"})
	if e := apierr.From(err); e == nil || e.Reason != apierr.Overloaded || e.Message != refusal.Message {
		t.Errorf("got %v", err)
	}
	_, err = m.quantize(t, caller(t), &inferencev1.QuantizeModelRequest{Model: "m", Type: "q8_0", AllowRequantize: true})
	if e := apierr.From(err); e == nil || e.Reason != apierr.FailedPrecondition || e.Message != "the weights are odd" || e.Field != "type" {
		t.Errorf("got %v", err)
	}
}

// TestQuantizeEnds holds what ends a quantisation: its caller, its time and its
// worker.
func TestQuantizeEnds(t *testing.T) {
	ended := make(chan struct{}, 4)
	m := newMesh(t, 1, meshOptions{
		config: func(c *inference.Config) { c.Quantize.Timeout = 500 * time.Millisecond },
		worker: func(_ int, w *fakes.Worker) {
			w.Quantizers = quantizer(true, "q8_0", "q4_0")
			w.OnQuantize = func(req *workerv1.QuantizeRequest, stream grpc.ServerStreamingServer[workerv1.QuantizeResponse]) error {
				err := fakes.Quantizing(stream, 10)
				if req.GetType() == "q4_0" {
					return err // without a result
				}
				<-stream.Context().Done()
				ended <- struct{}{}
				return errors.Join(err, stream.Context().Err())
			}
		},
	}, fakes.Model("m", 1))
	ask := &inferencev1.QuantizeModelRequest{Model: "m", Type: "q8_0"}
	begin := func(ctx context.Context) grpc.ServerStreamingClient[inferencev1.QuantizeModelResponse] {
		t.Helper()
		stream, err := m.client.QuantizeModel(ctx, ask)
		if err != nil {
			t.Fatal(err)
		}
		if msg, err := stream.Recv(); err != nil || msg.GetStarted() == nil {
			t.Fatal(msg, err)
		}
		return stream
	}
	end := func(stream grpc.ServerStreamingClient[inferencev1.QuantizeModelResponse]) error {
		for {
			if _, err := stream.Recv(); err != nil {
				return err
			}
		}
	}
	if err := end(begin(caller(t))); apierr.ReasonOf(err) != apierr.DeadlineExceeded || !strings.Contains(err.Error(), "500ms") {
		t.Errorf("at the end of its time: %v", err)
	}
	<-ended
	ctx, cancel := context.WithCancel(caller(t))
	stream := begin(ctx)
	cancel()
	if err := end(stream); apierr.ReasonOf(err) != apierr.Cancelled {
		t.Errorf("after its caller: %v", err)
	}
	<-ended
	if _, err := m.quantize(t, caller(t), &inferencev1.QuantizeModelRequest{Model: "m", Type: "q4_0"}); apierr.ReasonOf(err) != apierr.EngineFailed {
		t.Errorf("without a result: %v", err)
	}
	stream = begin(caller(t))
	m.workers[0].Kill()
	err := end(stream)
	if e := apierr.From(err); e.Reason != apierr.Unavailable || !strings.Contains(e.Message, "worker a was lost in the middle") || e.RetryAfter == 0 {
		t.Errorf("after its worker: %v", err)
	}
}

// TestQuantizeTellsOfBothFigures holds that what was measured arrives whole.
func TestQuantizeTellsOfBothFigures(t *testing.T) {
	m := newMesh(t, 1, meshOptions{worker: func(_ int, w *fakes.Worker) {
		w.Quantizers = quantizer(true, "q8_0")
		w.OnQuantize = func(req *workerv1.QuantizeRequest, stream grpc.ServerStreamingServer[workerv1.QuantizeResponse]) error {
			res := fakes.Quantized(req)
			res.Perplexity = &workerv1.Perplexity{Value: 10.5, Error: 0.2, Tokens: 512}
			res.SourcePerplexity = &workerv1.Perplexity{Value: 10, Error: 0.1, Tokens: 512}
			return stream.Send(&workerv1.QuantizeResponse{Event: &workerv1.QuantizeResponse_Result{Result: res}})
		}
	}}, fakes.Model("m", 1))
	got, err := m.quantize(t, caller(t), &inferencev1.QuantizeModelRequest{Model: "m", Type: "q8_0", Text: []byte("text")})
	if err != nil {
		t.Fatal(err)
	}
	figures := []float64{got.result.GetPerplexity().GetValue(), got.result.GetSourcePerplexity().GetValue(), got.result.GetPerplexity().GetError()}
	if !slices.Equal(figures, []float64{10.5, 10, 0.2}) || got.started == nil || len(got.progress) != 0 {
		t.Errorf("got %v, %v", figures, got.started)
	}
}
