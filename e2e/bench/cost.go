package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/registry"
)

// The size of the fleet whose scheduling is timed: each version is on two
// workers, and one is on all of them.
const (
	costWorkers  = 1000
	costModels   = 5000
	costRounds   = 5
	costRequests = 5000 // in a round
)

// Cost times requests through the inference service at a fleet of workers that
// answer at once and have no engines: what the service says it took of each to
// find the version and the worker and to note the end (its overhead metric), and
// beside it the whole request, with interceptors, validation, two calls in this
// process with their goroutines and copies of the messages, and the answer. The
// states of all workers come every second meanwhile.
func Cost(ctx context.Context) ([]Row, error) {
	dir, err := os.MkdirTemp("", "poterne-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tel := telemetry.Discard() //nolint:contextcheck // it does nothing
	overhead := &overheads{MeterProvider: tel.MeterProvider}
	tel.MeterProvider = overhead
	reg := registry.DefaultConfig()
	reg.Store.DSN = config.SecretURL("sqlite://" + filepath.Join(dir, "registry.db"))
	registryService, err := registry.New(ctx, *reg, registry.WithTelemetry(tel),
		registry.WithDiscovery(discovery.NewMemory()), registry.WithReadiness(health.NewReadiness(clock.Real())))
	if err != nil {
		return nil, err
	}
	registryConn := inproc.New(registryService.Interceptors(), registryService.RegisterGRPC)
	ended := make(chan error, 2)
	quiet := lifecycle.Options{Logger: slog.New(slog.DiscardHandler), DrainTimeout: time.Second}
	go func() { ended <- lifecycle.Run(ctx, quiet, registryService.Components()...) }()
	digests, err := fillRegistry(ctx, registryv1.NewRegistryServiceClient(registryConn))
	if err != nil {
		return nil, err
	}
	workers, conns := costFleet(digests)

	before := heap()
	cfg := inference.DefaultConfig()
	cfg.Identity.Required = false
	cfg.Workers.Max = costWorkers
	service, err := inference.New(ctx, *cfg, inference.WithTelemetry(tel), inference.WithDiscovery(workers),
		inference.WithReadiness(health.NewReadiness(clock.Real())), inference.WithRegistryConn(registryConn),
		inference.WithWorkers(workers, func(in discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
			return conns[in.Addr], nil, nil
		}))
	if err != nil {
		return nil, err
	}
	go func() { ended <- lifecycle.Run(ctx, quiet, service.Components()...) }()
	c := &cluster{client: inferencev1.NewInferenceServiceClient(inproc.New(service.Interceptors(), service.RegisterGRPC))}
	if err := c.awaitModel(ctx, modelName(0), costWorkers); err != nil {
		return nil, err
	}
	wide, narrow := &costTimes{}, &costTimes{}
	for range costRounds {
		if err := c.timeRequests(ctx, wide, overhead, func(*rand.Rand) string { return modelName(0) }); err != nil {
			return nil, err
		}
		if err := c.timeRequests(ctx, narrow, overhead, func(r *rand.Rand) string { return modelName(1 + r.IntN(costModels-1)) }); err != nil {
			return nil, err
		}
	}
	used := float64(heap()-before) / 1e6
	cancel()
	if err := errors.Join(<-ended, <-ended); err != nil {
		return nil, err
	}
	bar := func(what string, t *costTimes) Row {
		return Row{
			What: what, Measured: t.own.String(), Bar: "< 200µs", Holds: t.own.p99() < 200*time.Microsecond,
		}
	}
	return []Row{
		bar("p99 of scheduling a request at 1,000 workers and 5,000 models, a model on two", narrow),
		told("of it the whole request, two calls in this process included", narrow.whole.String()),
		bar("the same, a model on all", wide),
		told("of it the whole request, two calls in this process included", wide.whole.String()),
		{
			What: "memory of that state, the workers' side of the streams included", Measured: fmt.Sprintf("%.0f MB", used),
			Bar: "< 100 MB", Holds: used < 100,
		},
	}, nil
}

func modelName(i int) string { return "sim-" + strconv.Itoa(i) }

// fillRegistry returns the digests of the models' versions.
func fillRegistry(ctx context.Context, reg registryv1.RegistryServiceClient) ([]string, error) {
	digests := make([]string, costModels)
	for i := range digests {
		name := modelName(i)
		if _, err := reg.CreateModel(ctx, &registryv1.CreateModelRequest{Name: name}); err != nil {
			return nil, fmt.Errorf("create %s: %w", name, err)
		}
		made, err := reg.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: name, Spec: &commonv1.ModelSpec{
			Task: commonv1.Task_TASK_CHAT, Engine: "sim", ContextLength: 8192, Parameters: map[string]string{"seed": strconv.Itoa(i)},
		}})
		if err != nil {
			return nil, fmt.Errorf("create %s: %w", name, err)
		}
		digests[i] = made.GetVersion().GetDigest()
		if _, err := reg.SetAlias(ctx, &registryv1.SetAliasRequest{
			Model: name, Alias: "production", Version: made.GetVersion().GetNumber(),
		}); err != nil {
			return nil, fmt.Errorf("alias %s: %w", name, err)
		}
	}
	return digests, nil
}

// costFleet is workers that hold model 0, and of the others each one two.
func costFleet(digests []string) (*discovery.Memory, map[string]grpc.ClientConnInterface) {
	found := discovery.NewMemory()
	conns := make(map[string]grpc.ClientConnInterface, costWorkers)
	set := make([]discovery.Instance, costWorkers)
	for i := range costWorkers {
		id := fmt.Sprintf("w%04d", i)
		w := &instantWorker{id: id, digests: []string{digests[0]}}
		for m := 1; m < costModels; m++ {
			if at := m % costWorkers; at == i || (at+1)%costWorkers == i {
				w.digests = append(w.digests, digests[m])
			}
		}
		conns[id] = inproc.New(grpcserver.Chain{grpcserver.Errors()}, func(r grpc.ServiceRegistrar) {
			workerv1.RegisterWorkerServiceServer(r, w)
		})
		set[i] = discovery.Instance{ID: id, Service: inference.WorkerName, Addr: id}
	}
	found.Set(inference.WorkerName, set)
	return found, conns
}

// costTimes is what requests took: the service's own part, and the whole.
type costTimes struct{ own, whole quantiles }

// quantiles are those of each round. What counts is the median round: something
// else that runs on the machine for a moment is in a few.
type quantiles struct{ p50s, p99s []time.Duration }

func (q *quantiles) add(d []time.Duration) {
	slices.Sort(d)
	q.p50s, q.p99s = append(q.p50s, d[len(d)/2]), append(q.p99s, d[len(d)*99/100])
}

func (q *quantiles) p99() time.Duration { return median(q.p99s) }

func (q *quantiles) String() string {
	return fmt.Sprintf("%v (p50 %v)", q.p99().Round(time.Microsecond), median(q.p50s).Round(time.Microsecond))
}

// timeRequests adds a round of requests to t.
func (c *cluster) timeRequests(ctx context.Context, t *costTimes, own *overheads, name func(r *rand.Rand) string) error {
	r := rand.New(rand.NewPCG(1, uint64(len(t.whole.p99s))))
	bodies := make([][]byte, 64)
	for i := range bodies {
		bodies[i] = fmt.Appendf(nil, `{"prompt":%q,"max_tokens":16}`, text(uint64(i), 500))
	}
	own.take()
	whole := make([]time.Duration, 0, costRequests)
	for range costRequests {
		req := &inferencev1.InvokeRequest{
			Model: name(r), Operation: workerv1.Operation_OPERATION_COMPLETION, Body: bodies[r.IntN(len(bodies))],
		}
		begun := time.Now()
		if _, err := c.client.Invoke(ctx, req); err != nil {
			return fmt.Errorf("%s: %w", req.GetModel(), err)
		}
		whole = append(whole, time.Since(begun))
	}
	t.own.add(own.take())
	t.whole.add(whole)
	return nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// instantWorker has models and no engines: it answers with the request.
type instantWorker struct {
	workerv1.UnimplementedWorkerServiceServer

	id      string
	digests []string
}

// WatchState tells the models, every second.
func (w *instantWorker) WatchState(_ *workerv1.WatchStateRequest, stream grpc.ServerStreamingServer[workerv1.WatchStateResponse]) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := int64(1); ; n++ {
		state := &workerv1.WorkerState{WorkerId: w.id, Sequence: n, Engines: []string{"sim"}}
		for _, d := range w.digests {
			state.Models = append(state.Models, &workerv1.LoadedModel{
				Digest: d, Name: d, Engine: "sim", State: workerv1.ModelState_MODEL_STATE_READY, Slots: 64, ContextLength: 8192,
			})
		}
		if err := stream.Send(&workerv1.WatchStateResponse{State: state}); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// Invoke answers at once.
func (w *instantWorker) Invoke(_ context.Context, req *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error) {
	return &workerv1.InvokeResponse{Body: req.GetBody(), Usage: &commonv1.TokenUsage{PromptTokens: 500, CompletionTokens: 16}}, nil
}
