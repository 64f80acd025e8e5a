package inference_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for an event: reached only when a test fails.
const patience = 20 * time.Second

// mesh is a whole inference service, run as its binary runs it, over workers on
// ports of their own and a registry in this process.
type mesh struct {
	registry  *fakes.Registry
	workers   []*fakes.Served
	discovery *discovery.Memory
	telemetry *telemetry.Telemetry
	addr      string
	conn      *grpc.ClientConn
	client    inferencev1.InferenceServiceClient
	stop      func()
}

// meshOptions change a mesh before it starts.
type meshOptions struct {
	config func(*inference.Config)
	worker func(i int, w *fakes.Worker)
}

func newMesh(tb testing.TB, workers int, o meshOptions, models ...*registryv1.ModelState) *mesh {
	tb.Helper()
	m := &mesh{registry: fakes.NewRegistry(), discovery: discovery.NewMemory(), telemetry: telemetry.Discard()}
	for _, model := range models {
		m.registry.Put(model)
	}
	set := make([]discovery.Instance, workers)
	for i := range workers {
		w := fakes.NewWorker(string(rune('a' + i)))
		if o.worker != nil {
			o.worker(i, w)
		}
		m.workers = append(m.workers, w.Serve(tb))
		set[i] = discovery.Instance{ID: w.ID, Service: inference.WorkerName, Addr: m.workers[i].Addr()}
	}
	m.discovery.Set(inference.WorkerName, set)
	cfg := inference.DefaultConfig()
	cfg.GRPC.Addr, cfg.Telemetry.OpsAddr = "127.0.0.1:0", ""
	if o.config != nil {
		o.config(cfg)
	}
	if err := cfg.Complete(); err != nil {
		tb.Fatal(err)
	}
	m.run(tb, cfg)
	return m
}

func (m *mesh) run(tb testing.TB, cfg *inference.Config) {
	tb.Helper()
	registryConn := inproc.New(nil, func(r grpc.ServiceRegistrar) { registryv1.RegisterRegistryServiceServer(r, m.registry) })
	service, err := inference.New(tb.Context(), *cfg, inference.WithTelemetry(m.telemetry),
		inference.WithDiscovery(m.discovery), inference.WithRegistryConn(registryConn))
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	m.stop = func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tb.Errorf("the service ended with %v", err)
			}
			done <- nil
		case <-time.After(patience):
			tb.Error("the service did not end")
		}
	}
	tb.Cleanup(func() { m.stop() })
	m.dial(tb)
}

// dial waits for the service to register itself, which it does once it is ready.
func (m *mesh) dial(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	for set := range m.discovery.Watch(ctx, inference.ServiceName) {
		if len(set) > 0 {
			m.addr = set[0].Addr
			break
		}
	}
	if m.addr == "" {
		tb.Fatal("the service did not register itself")
	}
	conn, err := grpc.NewClient(m.addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(identity.UnaryClient(identity.Plain())),
		grpc.WithStreamInterceptor(identity.StreamClient(identity.Plain())))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	m.conn, m.client = conn, inferencev1.NewInferenceServiceClient(conn)
}

// caller returns a context on behalf of somebody, which ends with the test.
func caller(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return identity.NewContext(ctx, identity.Caller{Tenant: "acme", Subject: "alice"})
}

// operator is caller, of the platform's tenant.
func operator(tb testing.TB) context.Context {
	tb.Helper()
	return identity.NewContext(caller(tb), identity.Caller{Tenant: "default", Subject: "olga"})
}

// awaitReady waits until n workers have the model ready.
func (m *mesh) awaitReady(t *testing.T, model string, n int32) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	ctx := caller(t)
	for {
		resp, err := m.client.GetServedModel(ctx, &inferencev1.GetServedModelRequest{Model: model})
		if err != nil {
			t.Fatal(err)
		}
		if resp.GetModel().GetReadyWorkers() == n {
			return
		}
		<-tick.C
	}
}

func chat(model, body string) *inferencev1.InvokeRequest {
	return &inferencev1.InvokeRequest{Model: model, Operation: workerv1.Operation_OPERATION_CHAT, Body: []byte(body)}
}
