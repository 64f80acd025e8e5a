package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/e2e/process"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/telemetry"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// registryNode is the registry's own binary, run as a process, on a database that
// stays when it is stopped.
type registryNode struct {
	registryv1.RegistryServiceClient
	addr, dsn, dir string
	process        *process.Process
	database       *process.Process // nil for SQLite
	conns          []*grpc.ClientConn
}

// openRegistry starts a registry on SQLite, or on a PostgreSQL server of its own
// from the given directory of programs.
func openRegistry(ctx context.Context, postgres string) (_ *registryNode, err error) {
	path, err := binary("poterne-registry")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "poterne-bench-")
	if err != nil {
		return nil, err
	}
	n := &registryNode{dir: dir, dsn: "sqlite://" + dir + "/registry.db"}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	for _, d := range []string{"log", "run"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	ports, err := process.FreePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return "127.0.0.1:" + strconv.Itoa(ports[i]) }
	if postgres != "" {
		if err := n.openPostgres(ctx, postgres, ports[2]); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(dir, "registry.yaml")
	text := fmt.Sprintf("grpc: {addr: %q}\ntelemetry: {ops_addr: %q, log_level: warn}\nstore: {dsn: %q}\ndiscovery: {kind: static}\n", at(0), at(1), n.dsn)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	n.addr = at(0)
	n.process = process.New(process.Spec{
		Name: "poterne-registry", Path: path, Args: []string{"--config", config},
		Ready: process.HTTPReady("http://"+at(1)+"/readyz", nil),
	}, dir)
	if err := n.process.Start(ctx); err != nil {
		return nil, err
	}
	n.RegistryServiceClient, err = n.dial() //nolint:contextcheck // the connection outlives the call
	return n, err
}

// openPostgres starts a server that waits for the disk, as one in use does.
func (n *registryNode) openPostgres(ctx context.Context, bin string, port int) error {
	owner, err := process.Unprivileged("postgres")
	if err != nil {
		return err
	}
	data := filepath.Join(n.dir, "postgres")
	err = errors.Join(os.Mkdir(data, 0o700), os.Chmod(n.dir, 0o711)) // its owner must get in
	if owner != nil && err == nil {
		err = os.Chown(data, int(owner.Uid), int(owner.Gid))
	}
	if err != nil {
		return err
	}
	initdb := process.New(process.Spec{
		Name: "initdb", Path: filepath.Join(bin, "initdb"), User: owner, Dir: data,
		Args:  []string{"-D", filepath.Join(data, "data"), "-U", "poterne", "-A", "trust", "--no-instructions", "-E", "UTF8", "--locale=C"},
		Ready: func(context.Context) error { return nil },
	}, n.dir)
	if err := initdb.Start(ctx); err != nil {
		return err
	}
	select {
	case <-initdb.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	n.dsn = fmt.Sprintf("postgres://poterne@127.0.0.1:%d/postgres?sslmode=disable", port)
	n.database = process.New(process.Spec{
		Name: "postgres", Path: filepath.Join(bin, "postgres"), User: owner, Dir: data, StopSignal: syscall.SIGINT,
		Args:  []string{"-D", filepath.Join(data, "data"), "-p", strconv.Itoa(port), "-k", data, "-c", "listen_addresses=127.0.0.1"},
		Ready: process.TCPReady(fmt.Sprintf("127.0.0.1:%d", port)),
	}, n.dir)
	return n.database.Start(ctx)
}

// dial opens a connection of its own.
func (n *registryNode) dial() (registryv1.RegistryServiceClient, error) {
	cfg := grpcclient.DefaultConfig()
	cfg.Timeout, cfg.Breaker.Enabled = time.Minute, false
	conn, err := grpcclient.Dial(n.addr, cfg, telemetry.Discard())
	if err != nil {
		return nil, err
	}
	n.conns = append(n.conns, conn)
	return registryv1.NewRegistryServiceClient(conn), nil
}

func (n *registryNode) close() error {
	var errs []error
	for _, c := range n.conns {
		errs = append(errs, c.Close())
	}
	for _, p := range []*process.Process{n.process, n.database} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(n.dir))...)
}

// timesOf are the median and the 99th percentile of durations.
func timesOf(took []time.Duration) (p50, p99 time.Duration) {
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
}

func inMillis(d time.Duration) string {
	return strings.TrimSuffix(fmt.Sprintf("%.2f", float64(d.Microseconds())/1000), ".00") + " ms"
}
