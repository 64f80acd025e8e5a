package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/telemetry"
	oip "github.com/poterne/poterne/proto/gen/inference"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/artifact"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/memory"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

// fakeTensors is fakeEngine for tensors.
type fakeTensors struct{ *fakeEngine }

func (f fakeTensors) Plan(ctx context.Context, m engine.Model) (*engine.Plan, error) {
	plan, err := f.fakeEngine.Plan(ctx, m)
	plan.Connect = func(int) engine.Engine { return f }
	return plan, err
}

func (fakeTensors) Metadata(context.Context) (*oip.ModelMetadataResponse, error) {
	return &oip.ModelMetadataResponse{Name: "m"}, nil
}

func (f fakeTensors) Infer(ctx context.Context, req *oip.ModelInferRequest) (*oip.ModelInferResponse, error) {
	return &oip.ModelInferResponse{Id: req.GetId()}, f.work(ctx, "tensors")
}

func (f fakeTensors) InferStream(ctx context.Context, req *oip.ModelInferRequest, send func(*oip.ModelInferResponse) error) error {
	return errors.Join(send(&oip.ModelInferResponse{Id: req.GetId()}), send(&oip.ModelInferResponse{}), f.work(ctx, "tensors"))
}

// tensorRig is a rig whose engine is for tensors.
func tensorRig(r *rig) *rig {
	files, err := artifact.NewStore(nil, "", slog.New(slog.DiscardHandler))
	if err != nil {
		r.Fatal(err)
	}
	a, err := New(Config{
		ID: "w2", MaxModels: 3, Supervision: supervise.DefaultConfig(),
		Signals: SignalsConfig{Interval: time.Second, Timeout: time.Second},
	}, Parts{
		Telemetry: telemetry.Discard(), Clock: clock.Real(), Adapters: []engine.Adapter{fakeTensors{r.engine}}, Artifacts: files,
		Pools: memory.NewPools(map[string]int64{engine.PoolCPU: 100 * mib}),
	})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = a.Stop(context.WithoutCancel(r.Context())) })
	conn := inproc.New(grpcserver.Chain{grpcserver.Errors()}, func(s grpc.ServiceRegistrar) { workerv1.RegisterWorkerServiceServer(s, a) })
	return &rig{T: r.T, agent: a, engine: r.engine, client: workerv1.NewWorkerServiceClient(conn)}
}

func infer(c string) *workerv1.InferTensorsRequest {
	return &workerv1.InferTensorsRequest{Digest: digest(c), Request: &oip.ModelInferRequest{Id: "7"}}
}

func TestInferTensors(t *testing.T) {
	inBubble(t, func(text *rig) {
		r := tensorRig(text)
		if _, err := r.client.InferTensors(r.Context(), infer("a")); apierr.ReasonOf(err) != apierr.Unavailable {
			r.Errorf("a version that is not there: %v", err)
		}
		r.ready("a")
		resp, err := r.client.InferTensors(r.Context(), infer("a"))
		if err != nil || resp.GetResponse().GetId() != "7" {
			r.Errorf("got %v, %v", resp, err)
		}
		stream, err := r.client.InferTensorsStream(r.Context(), infer("a"))
		if err != nil {
			r.Fatal(err)
		}
		n := 0
		for ; err == nil; n++ {
			_, err = stream.Recv()
		}
		if n != 3 || !errors.Is(err, io.EOF) { // two answers, and the end
			r.Errorf("a stream of %d messages ended with %v", n, err)
		}
		if md, err := r.client.GetTensorModel(r.Context(), &workerv1.GetTensorModelRequest{Digest: digest("a")}); err != nil || md.GetMetadata().GetName() != "m" {
			r.Errorf("metadata: %v, %v", md, err)
		}
		if m := r.state("a"); m.GetActive()+m.GetQueued() != 0 {
			r.Errorf("load afterwards: %v", m)
		}
	})
}

// TestTensorsForATextEngine are refused, and leave no place taken.
func TestTensorsForATextEngine(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		if _, err := r.client.InferTensors(r.Context(), infer("a")); apierr.From(err).Field != "model" {
			r.Errorf("infer: %v", err)
		}
		if _, err := r.client.GetTensorModel(r.Context(), &workerv1.GetTensorModelRequest{Digest: digest("a")}); apierr.From(err).Field != "model" {
			r.Errorf("metadata: %v", err)
		}
		if m := r.state("a"); m.GetActive()+m.GetQueued() != 0 {
			r.Errorf("load afterwards: %v", m)
		}
	})
}

func TestSetUp(t *testing.T) {
	a := &Agent{cfg: Config{WorkDir: t.TempDir()}}
	m := &model{digest: digest("a")}
	cmd := &engine.Command{Setup: func(dir string, port int) error {
		if port != 7 {
			t.Errorf("set up for port %d", port)
		}
		return os.WriteFile(filepath.Join(dir, "settings"), nil, 0o600)
	}}
	dir, err := a.setUp(cmd, m, 7)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "left by a crash"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := a.setUp(cmd, m, 7)
	entries, _ := os.ReadDir(again)
	if err != nil || again != dir || len(entries) != 1 {
		t.Errorf("the second time: %v, %v, %v", again, entries, err)
	}
	(&instance{model: m, engine: newFakeEngine(), dir: dir}).Stop()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory stays: %v", err)
	}
	cmd.Setup = func(string, int) error { return errEngine }
	if _, err := a.setUp(cmd, m, 7); !errors.Is(err, errEngine) {
		t.Errorf("a setup that fails: %v", err)
	}
	if dir, err := a.setUp(&engine.Command{}, m, 7); dir != "" || err != nil {
		t.Errorf("no setup: %q, %v", dir, err)
	}
}
