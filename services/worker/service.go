// Package worker is the agent on a machine that models run on. It admits
// models against the machine's memory, supervises an engine process for each,
// passes requests to them and streams its state to the inference replicas.
// Start reading at New, which puts the parts together.
package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/discovery/resolver"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/pkg/telemetry"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/agent"
	"github.com/poterne/poterne/services/worker/internal/artifact"
	"github.com/poterne/poterne/services/worker/internal/batch"
	"github.com/poterne/poterne/services/worker/internal/blob"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/fetch"
	"github.com/poterne/poterne/services/worker/internal/gpu"
	"github.com/poterne/poterne/services/worker/internal/memory"
	"github.com/poterne/poterne/services/worker/internal/process"
)

// Service is the worker, put together and not yet running.
type Service struct {
	cfg       Config
	opts      options
	id        string
	readiness *health.Readiness
	check     *health.Check
	chain     grpcserver.Chain
	agent     *agent.Agent
	identity  *assertion.Assertions

	closers []func() error // in the order of opening
}

// New takes the state directory and puts the service together. It opens no port
// and starts no engine. cfg must be complete.
func New(ctx context.Context, cfg Config, opts ...Option) (*Service, error) {
	s := &Service{cfg: cfg, opts: newOptions(opts)}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("worker: %w", err), s.close())
	}
	return s, nil
}

func (s *Service) build(ctx context.Context) error {
	o := &s.opts
	if o.telemetry == nil {
		tel, err := telemetry.New(ctx, ServiceName, o.version, s.cfg.Telemetry)
		if err != nil {
			return err
		}
		o.telemetry = tel
		s.closers = append(s.closers, func() error { return tel.Shutdown(context.WithoutCancel(ctx)) })
	}
	if s.readiness = o.readiness; s.readiness == nil {
		s.readiness = health.NewReadiness(o.clock)
	}
	s.check = s.readiness.Register(CheckAgent)
	var err error
	if s.identity, err = assertion.Open(assertion.Options{
		Service: ServiceName, Config: s.cfg.Identity, Access: access(), Clock: o.clock, Telemetry: o.telemetry,
	}); err != nil {
		return err
	}
	dir, err := filepath.Abs(s.cfg.StateDir)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	ledger, err := process.OpenLedger(filepath.Join(dir, "engines"))
	if err != nil {
		return err
	}
	s.closers = append(s.closers, ledger.Close)
	if s.id = s.cfg.ID; s.id == "" {
		if s.id, err = keptID(filepath.Join(dir, "worker-id"), o.ids); err != nil {
			return err
		}
	}
	if s.cfg.quantizes() { // it may be a root, and those must be there
		if err := os.MkdirAll(s.cfg.quantizeDirectory(dir), 0o700); err != nil {
			return fmt.Errorf("quantize: %w", err)
		}
	}
	files, err := artifact.NewStore(s.cfg.roots(dir), filepath.Join(dir, "artifacts.json"), s.opts.telemetry.Logger)
	if err != nil {
		return err
	}
	if err := s.addRemote(files, dir); err != nil { //nolint:contextcheck // a breaker reports on no call's behalf
		return err
	}
	maker, err := s.newMaker(files, ledger, dir)
	if err != nil {
		return err
	}
	pools, err := s.cfg.Memory.pools()
	if err != nil {
		return err
	}
	source, err := s.gpuSource()
	if err != nil {
		return err
	}
	trust, err := signing.NewPolicy(s.cfg.Signatures)
	if err != nil {
		return fmt.Errorf("signatures: %w", err)
	}
	s.agent, err = agent.New(agent.Config{
		ID: s.id, Version: o.version, MaxModels: s.cfg.MaxModels, WorkDir: dir,
		DrainTimeout: s.cfg.DrainTimeout * 9 / 10, // the rest is for what must still be said
		Supervision:  s.cfg.Supervision,
		Batch:        s.cfg.Engines.Batch,
		MinIdle:      s.cfg.Memory.MinIdle, WarmUpTimeout: s.cfg.WarmUpTimeout, SampleEvery: s.cfg.Memory.SampleEvery,
		FixedGPUs: len(s.cfg.Memory.GPUs) > 0,
		Embedding: agent.EmbeddingConfig{
			Concurrency: s.cfg.Embedding.Concurrency, ContextMultiple: s.cfg.Embedding.ContextMultiple,
			MaxBytes: int(s.cfg.Embedding.MaxBytes), Batching: s.cfg.Embedding.Batching,
			Batch: batch.Config{
				Linger: s.cfg.Embedding.Linger, MaxHeldBytes: int(s.cfg.Embedding.QueueBytes),
				CountTokens: s.cfg.Embedding.CountTokens,
			},
		},
		Signals: agent.SignalsConfig{Interval: s.cfg.Signals.Interval, Timeout: s.cfg.Signals.Timeout},
	}, agent.Parts{
		Telemetry: o.telemetry, Clock: o.clock, Jitter: o.jitter, Adapters: s.cfg.Engines.adapters(o.clock),
		Pools: pools, Artifacts: files, Ledger: ledger, Machine: machine{},
		GPUs:    gpu.NewInventory(source, o.clock, o.telemetry.Logger, s.cfg.GPU.MaxECCErrors),
		Learned: memory.NewLearned(filepath.Join(dir, "memory.json")), Maker: maker, Trust: trust,
	})
	if err != nil {
		return err
	}
	s.chain, err = s.newChain() //nolint:contextcheck // each call brings its own
	return err
}

// addRemote has the store fetch what the configuration allows, if anything.
func (s *Service) addRemote(files *artifact.Store, dir string) error {
	cfg := s.cfg.Artifacts
	if len(cfg.Remote.Allow) == 0 {
		return nil
	}
	if cfg.Cache.Dir == "" {
		cfg.Cache.Dir = filepath.Join(dir, "cache")
	}
	cache, err := blob.Open(cfg.Cache, blob.Parts{
		Clock: s.opts.clock, Jitter: s.opts.jitter, Log: s.opts.telemetry.Logger, DiskFree: blob.DiskFree,
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, cache.Close)
	conn, err := s.registryConn()
	if err != nil {
		return err
	}
	var opts []fetch.Option
	if conn != nil {
		opts = append(opts, fetch.WithRegistry(registryv1.NewArtifactServiceClient(conn), cfg.Remote.IdleTimeout, s.opts.clock))
	}
	files.WithRemote(artifact.Remote{Fetchers: fetch.New(cfg.Remote, s.opts.clock, opts...), Cache: cache})
	return nil
}

// registryConn is the connection to the registry; nil where no artifacts of it
// may be fetched.
func (s *Service) registryConn() (grpc.ClientConnInterface, error) {
	o := &s.opts
	if o.registry != nil || !slices.ContainsFunc(s.cfg.Artifacts.Remote.Allow, func(prefix string) bool {
		return strings.HasPrefix(prefix, fetch.SchemeRegistry+":")
	}) {
		return o.registry, nil
	}
	if o.discovery == nil {
		b, err := backend.Open(s.cfg.Discovery, o.clock, o.telemetry.Logger)
		if err != nil {
			return nil, fmt.Errorf("open discovery: %w", err)
		}
		o.discovery = b // Run registers there
	}
	cfg := grpcclient.DefaultConfig()
	cfg.TLS = s.cfg.Registry.TLS
	conn, err := grpcclient.Dial(resolver.Target(RegistryName), cfg, o.telemetry, s.identity.Own(RegistryName),
		grpcclient.WithResolvers(resolver.New(o.discovery, o.telemetry.Logger)))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", RegistryName, err)
	}
	s.closers = append(s.closers, conn.Close)
	return conn, nil
}

// newChain is the standard chain, with who calls before validation. Callers are
// services, not people: nothing here depends on on whose behalf a request is made.
func (s *Service) newChain() (grpcserver.Chain, error) {
	// Rules are compiled now rather than during the first requests.
	validator, err := protovalidate.New(protovalidate.WithMessages(
		&workerv1.WatchStateRequest{}, &workerv1.LoadModelRequest{}, &workerv1.UnloadModelRequest{},
		&workerv1.InvokeRequest{}, &workerv1.EmbedRequest{}, &workerv1.RerankRequest{}, &workerv1.TokenizeRequest{},
		&workerv1.InferTensorsRequest{}, &workerv1.GetTensorModelRequest{},
		&workerv1.QuantizeRequest{},
	))
	if err != nil {
		return nil, fmt.Errorf("compile the validation rules: %w", err)
	}
	chain, err := grpcserver.Standard(grpcserver.StandardOptions{
		Telemetry: s.opts.telemetry, Clock: s.opts.clock, IDs: s.opts.ids, Validator: grpcserver.Shortcut(validator, agent.Sure),
	})
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(chain, func(i grpcserver.Interceptor) bool { return i.Name == grpcserver.NameValidate })
	return slices.Insert(chain, max(0, at), s.identity.Server()), nil
}

// pools are the memories, the main one sized by the machine unless limited.
func (m Memory) pools() (*memory.Pools, error) {
	limit := int64(m.Limit)
	if limit == 0 {
		machine, err := memory.Machine()
		if err != nil {
			return nil, err
		}
		limit = machine / 10 * 9
	}
	totals := map[string]int64{engine.PoolCPU: limit}
	for id, n := range m.GPUs {
		totals[id] = int64(n)
	}
	return memory.NewPools(totals), nil
}

// gpuSource is who is asked for the GPUs.
func (s *Service) gpuSource() (gpu.Source, error) {
	if s.opts.gpus != nil {
		return s.opts.gpus, nil
	}
	visible, limited := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	if s.cfg.GPU.Source == gpuNone || limited && visible == "" {
		return gpu.None{}, nil
	}
	path, err := exec.LookPath(s.cfg.GPU.NvidiaSMI)
	switch {
	case err == nil:
		return &gpu.NvidiaSMI{Path: path, Visible: visible}, nil
	case s.cfg.GPU.Source == gpuAuto:
		return gpu.None{}, nil
	default:
		return nil, fmt.Errorf("gpu.nvidia_smi: %w", err)
	}
}

// machine is the machine that this process runs on.
type machine struct{}

func (machine) Available() (int64, error) { return memory.Available() }

func (machine) Usages(groups []int) map[int]process.Usage { return process.Usages(groups) }

// ID returns the worker's id.
func (s *Service) ID() string { return s.id }

// RegisterGRPC registers the service's gRPC servers. Calls must pass
// Interceptors on their way to them.
func (s *Service) RegisterGRPC(r grpc.ServiceRegistrar) {
	workerv1.RegisterWorkerServiceServer(r, s.agent)
}

// Interceptors is the chain around the service's gRPC servers.
func (s *Service) Interceptors() grpcserver.Chain { return s.chain }

// Readiness says whether the worker takes models and requests.
func (s *Service) Readiness() *health.Readiness { return s.readiness }

// close releases what New opened, in the reverse order.
func (s *Service) close() error {
	var errs []error
	for _, closer := range slices.Backward(s.closers) {
		errs = append(errs, closer())
	}
	s.closers = nil
	return errors.Join(errs...)
}
