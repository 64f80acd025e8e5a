package inference_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// The most that a chat may allocate on its way through the service: the client's steps,
// the service's own and a pretended worker's included. Some 63; whoever needs more says why.
const chatAllocs = 72

const askedBody = `{"model":"m","messages":[{"role":"user","content":"Say hello."}],"max_tokens":16}`

const answeredBody = `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,` +
	`"message":{"role":"assistant","content":"Hello, how are you today?","refusal":null},"finish_reason":"stop"}],` +
	`"usage":{"prompt_tokens":9,"completion_tokens":16,"total_tokens":25}}`

// near is a service in this process, called as the all-in-one's edge does.
func near(tb testing.TB) (context.Context, inferencev1.InferenceServiceClient) {
	tb.Helper()
	registry := fakes.NewRegistry()
	registry.Put(fakes.Model("m", 1, fakes.Alias("production", 1)))
	w := fakes.NewWorker("a")
	w.OnInvoke = func(context.Context, *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error) {
		return &workerv1.InvokeResponse{Body: []byte(answeredBody), Usage: &commonv1.TokenUsage{PromptTokens: 9, CompletionTokens: 16}}, nil
	}
	workers := inproc.New(nil, func(r grpc.ServiceRegistrar) { workerv1.RegisterWorkerServiceServer(r, w) },
		inproc.Sharing(workerv1.WorkerService_Invoke_FullMethodName))
	found := discovery.NewMemory()
	found.Set(inference.WorkerName, []discovery.Instance{{ID: "a", Service: inference.WorkerName, Addr: "here"}})
	cfg := inference.DefaultConfig()
	cfg.GRPC.Addr, cfg.Telemetry.OpsAddr = "127.0.0.1:0", ""
	if err := cfg.Complete(); err != nil {
		tb.Fatal(err)
	}
	tel := telemetry.Discard()
	service, err := inference.New(tb.Context(), *cfg, inference.WithTelemetry(tel), inference.WithDiscovery(found),
		inference.WithRegistryConn(inproc.New(nil, func(r grpc.ServiceRegistrar) { registryv1.RegisterRegistryServiceServer(r, registry) })),
		inference.WithWorkers(found, func(discovery.Instance) (grpc.ClientConnInterface, func() error, error) { return workers, nil, nil }))
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	edge, err := assertion.Open(assertion.Options{Service: "poterne-edge", Clock: clock.Real(), Telemetry: tel})
	if err != nil {
		tb.Fatal(err)
	}
	conn := grpcclient.Intercept("inference", inproc.New(service.Interceptors(), service.RegisterGRPC,
		inproc.Sharing(inferencev1.InferenceService_Invoke_FullMethodName)), grpcclient.DefaultConfig(), tel,
		edge.Issue(inference.ServiceName))
	return requestid.NewContext(caller(tb), "some-request"), inferencev1.NewInferenceServiceClient(conn)
}

func TestAChatAllocatesLittle(t *testing.T) {
	ctx, client := near(t)
	ask := func() error {
		resp, err := client.Invoke(ctx, chat("m", askedBody))
		if err == nil && string(resp.GetBody()) != answeredBody {
			t.Errorf("answer %s", resp.GetBody())
		}
		return err
	}
	for ask() != nil { // until the worker has the model
		if ctx.Err() != nil {
			t.Fatal(ask())
		}
	}
	n := testing.AllocsPerRun(500, func() {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	})
	if t.Logf("a chat allocates %.0f times", n); n > chatAllocs {
		t.Errorf("a chat allocates %.0f times, want at most %d", n, chatAllocs)
	}
}

func BenchmarkChat(b *testing.B) {
	ctx, client := near(b)
	for {
		if _, err := client.Invoke(ctx, chat("m", askedBody)); err == nil {
			break
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Invoke(ctx, chat("m", askedBody)); err != nil {
			b.Fatal(err)
		}
	}
}
