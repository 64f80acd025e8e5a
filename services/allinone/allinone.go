// Package allinone runs every service in one process, for a laptop or a small
// team: SQLite instead of PostgreSQL, limits and discovery in process, and
// engines as child processes. The services are those of the deployment, put
// together through in-process gRPC connections on which the same interceptors
// run. Start reading at Run.
package allinone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/hugepages"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/allinone/internal/parts"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/mcpserver"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/registry"
	"github.com/poterne/poterne/services/search"
	"github.com/poterne/poterne/services/worker"
)

// Run runs everything until ctx ends, and tells people on out how to use it.
// version names the build.
func Run(ctx context.Context, cfg Config, version string, out io.Writer) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		return err
	}
	p := &platform{cfg: cfg, version: version, out: out, dir: dir, clock: clock.Real()}
	p.began = p.clock.Now()
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	}
	unhook := context.AfterFunc(ctx, func() {
		fmt.Fprintf(out, "\nending: requests in hand have up to %v; a second Ctrl-C ends at once\n", cfg.DrainTimeout)
	})
	defer unhook()
	return errors.Join(p.run(ctx), dir.close())
}

// gcPercent lets the heap grow further between two collections than Go does by
// itself: what is kept is small, what a request leaves is much, and nothing else
// shares this process's memory. GOGC says otherwise.
const gcPercent = 300

// stopMargin is the time for everything but the engines to stop.
const stopMargin = 3 * time.Second

// platform is the services and what they share.
type platform struct {
	cfg     Config
	version string
	out     io.Writer
	dir     *dataDir
	clock   clock.Clock
	began   time.Time

	telemetry *telemetry.Telemetry
	readiness *health.Readiness
	discovery *discovery.Memory
	brought   []model

	registry  *registry.Service
	worker    *worker.Service
	inference *inference.Service
	search    *search.Service
	edge      *edge.Service

	registryConn, inferenceConn grpc.ClientConnInterface
}

func (p *platform) run(ctx context.Context) (err error) {
	p.telemetry, err = telemetry.New(ctx, ServiceName, p.version, p.cfg.Telemetry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.telemetry.Shutdown(context.WithoutCancel(ctx))) }()
	p.readiness = health.NewReadiness(p.clock)
	p.discovery = discovery.NewMemory()
	if err := p.compose(ctx); err != nil {
		return err
	}
	comps, err := p.components() //nolint:contextcheck // certificates are looked at for no one request
	if err != nil {
		return err
	}
	err = lifecycle.Run(ctx, lifecycle.Options{
		Logger: p.telemetry.Logger, DrainTimeout: p.cfg.DrainTimeout,
		// Engines get time to end by themselves before they are killed.
		StopTimeout: worker.DefaultConfig().Supervision.StopGrace + stopMargin,
	}, comps...)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w; --http-addr, --grpc-addr and --ops-addr name other ports", err)
	}
	return err
}

// compose makes the services, each given connections to those before it.
func (p *platform) compose(ctx context.Context) (err error) {
	found, err := p.locate()
	if err != nil {
		return err
	}
	if p.brought, err = p.models(ctx, found); err != nil {
		return err
	}
	if p.registry, err = registry.New(ctx, *p.registryConfig(), registry.WithVersion(p.version),
		registry.WithTelemetry(p.telemetry), registry.WithReadiness(p.readiness), registry.WithDiscovery(p.discovery)); err != nil {
		return err
	}
	p.registryConn = inproc.New(p.registry.Interceptors(), p.registry.RegisterGRPC)

	workerConfig, err := p.workerConfig(found)
	if err != nil {
		return err
	}
	if p.worker, err = worker.New(ctx, *workerConfig, worker.WithVersion(p.version),
		worker.WithTelemetry(p.telemetry), worker.WithReadiness(p.readiness), worker.WithDiscovery(p.discovery),
		worker.WithRegistryConn(p.registryConn)); err != nil {
		return err
	}
	// What a worker leaves behind of a request, an error whose text is late, ends with it.
	workerConn := inproc.New(p.worker.Interceptors(), p.worker.RegisterGRPC, inproc.SameRequest(),
		inproc.SameEnd(workerv1.WorkerService_Invoke_FullMethodName), //nolint:contextcheck // it asks a context of its own
		inproc.Sharing(workerv1.WorkerService_Invoke_FullMethodName, workerv1.WorkerService_InvokeStream_FullMethodName))
	p.discovery.Set(inference.WorkerName, []discovery.Instance{{ID: "local", Service: inference.WorkerName, Addr: "in-process"}})

	if p.inference, err = inference.New(ctx, *p.inferenceConfig(), inference.WithVersion(p.version),
		inference.WithTelemetry(p.telemetry), inference.WithReadiness(p.readiness), inference.WithDiscovery(p.discovery),
		inference.WithRegistryConn(p.registryConn),
		inference.WithWorkers(p.discovery, func(discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
			return workerConn, nil, nil
		})); err != nil {
		return err
	}
	p.inferenceConn = inproc.New(p.inference.Interceptors(), p.inference.RegisterGRPC, inproc.SameRequest(),
		inproc.Sharing(inferencev1.InferenceService_Invoke_FullMethodName, inferencev1.InferenceService_InvokeStream_FullMethodName))

	// Chat is served without search: an index that cannot be opened is told, and
	// no more.
	searching := health.NewReadiness(p.clock)
	p.readiness.Advise(searching)
	if p.search, err = search.New(ctx, *p.searchConfig(), search.WithVersion(p.version),
		search.WithTelemetry(p.telemetry), search.WithReadiness(searching), search.WithDiscovery(p.discovery),
		search.WithInferenceConn(p.inferenceConn)); err != nil {
		return err
	}
	searchConn := inproc.New(p.search.Interceptors(), p.search.RegisterGRPC)

	edgeConfig, err := p.edgeConfig()
	if err != nil {
		return err
	}
	p.edge, err = edge.New(ctx, *edgeConfig, edge.WithVersion(p.version),
		edge.WithTelemetry(p.telemetry), edge.WithReadiness(p.readiness), edge.WithDiscovery(p.discovery),
		edge.WithInferenceConn(p.inferenceConn), edge.WithSearchConn(searchConn), edge.WithRegistryConn(p.registryConn),
		edge.WithMCP(mcpserver.Open))
	return err
}

// components is everything in the order of starting; it closes in the reverse
// order, so the ports go first and the stores last.
func (p *platform) components() ([]lifecycle.Component, error) {
	ports, err := p.edge.NewPorts()
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	comps := []lifecycle.Component{
		telemetry.NewOpsServer(p.cfg.OpsAddr, p.telemetry, p.readiness).Component(),
		hugepages.KeepHeap(p.clock),
		hugepages.Program(p.telemetry.Logger),
	}
	comps = append(comps, p.registry.Components()...)
	comps = append(comps, p.worker.Components()...)
	comps = append(comps, p.inference.Components()...)
	comps = append(comps, p.search.Components()...)
	comps = append(comps, p.edge.Components()...)
	comps = append(comps, ports.Components()...)
	return append(comps,
		lifecycle.Component{Name: "models", Run: func(ctx context.Context) error {
			return register(ctx, registryv1.NewRegistryServiceClient(p.registryConn), p.brought)
		}},
		lifecycle.Component{Name: "announcement", Run: p.announce, Drain: func(context.Context) error {
			p.readiness.Drain("the process is ending")
			return nil
		}},
	), nil
}

// locate finds the parts; the simulated engine needs none.
func (p *platform) locate() (parts.Parts, error) {
	if p.cfg.Engine == EngineSim {
		return parts.Parts{}, nil
	}
	return parts.Locate(parts.OS())
}
