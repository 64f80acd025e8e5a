package testkit

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// The environment variables that say where a server's program is; without one
// it is looked for where systems install it.
const (
	EnvConsul   = "POTERNE_CONSUL_BIN"
	EnvRedis    = "POTERNE_REDIS_SERVER_BIN"
	EnvPostgres = "POTERNE_POSTGRES_BIN_DIR" // the directory of postgres and initdb
)

// Binary returns the path of a program: what the environment variable says, or
// the first of names in PATH, or the newest that a pattern of globs finds. The
// test fails when there is none.
func Binary(tb testing.TB, env string, names []string, globs ...string) string {
	tb.Helper()
	if path := os.Getenv(env); path != "" {
		if _, err := os.Stat(path); err != nil {
			tb.Fatalf("%s: %v", env, err)
		}
		return path
	}
	for _, g := range globs {
		if found, err := filepath.Glob(g); err == nil && len(found) > 0 {
			slices.Sort(found)
			return found[len(found)-1]
		}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Fatalf("%v is not installed: install it, or say where it is (%s)", names, env)
	return ""
}

// RedisServer is a running Redis without persistence.
type RedisServer struct {
	*Process
	Addr string
	// Restart starts Redis again at the same address after Kill or Stop; what it
	// held is lost.
	Restart func() *RedisServer
}

// Redis starts a Redis server.
func Redis(tb testing.TB) *RedisServer {
	tb.Helper()
	return redisAt(tb, FreePorts(tb, 1)[0])
}

func redisAt(tb testing.TB, port int) *RedisServer {
	tb.Helper()
	addr := Loopback(port)
	p := Start(tb, Command{
		Name: "redis", Path: Binary(tb, EnvRedis, []string{"redis-server"}), Dir: tb.TempDir(),
		Args:  []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no"},
		Ready: ReadyTCP(addr),
	})
	return &RedisServer{Process: p, Addr: addr, Restart: func() *RedisServer { return redisAt(tb, port) }}
}

// ConsulServer is a running Consul in development mode, all in memory.
type ConsulServer struct {
	*Process
	// Addr is the host:port of its HTTP API.
	Addr string
	// Restart starts Consul again at the same address after Kill or Stop; it then
	// knows nobody.
	Restart func() *ConsulServer
}

// Consul starts a Consul server.
func Consul(tb testing.TB) *ConsulServer {
	tb.Helper()
	return consulAt(tb, FreePorts(tb, 5))
}

func consulAt(tb testing.TB, ports []int) *ConsulServer {
	tb.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		tb.Fatalf("consul: %v", err)
	}
	addr := Loopback(ports[0])
	p := Start(tb, Command{
		Name: "consul", Dir: tb.TempDir(),
		Path: Binary(tb, EnvConsul, []string{"consul"},
			filepath.Join(home, ".cache", "poterne", "consul", "*", "bin", "consul")),
		Args: []string{
			"agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=warn", "-disable-host-node-id",
			"-http-port=" + strconv.Itoa(ports[0]), "-server-port=" + strconv.Itoa(ports[1]),
			"-serf-lan-port=" + strconv.Itoa(ports[2]), "-serf-wan-port=" + strconv.Itoa(ports[3]),
			"-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1",
		},
		Ready: consulReady(addr),
	})
	return &ConsulServer{Process: p, Addr: addr, Restart: func() *ConsulServer { return consulAt(tb, ports) }}
}

// consulReady waits for a leader that can list the nodes: the HTTP port opens
// before that.
func consulReady(addr string) func(context.Context) error {
	return ReadyHTTP("http://" + addr + "/v1/health/service/consul?passing=true&consistent")
}

// PostgresServer is a running PostgreSQL with one empty database.
type PostgresServer struct {
	*Process
	// DSN is its connection string.
	DSN string
}

// Postgres starts a PostgreSQL server. As root it runs as the user postgres.
func Postgres(tb testing.TB) *PostgresServer {
	tb.Helper()
	const owner = "postgres"
	bin := filepath.Join(os.Getenv(EnvPostgres), "postgres")
	if os.Getenv(EnvPostgres) == "" {
		bin = Binary(tb, EnvPostgres, []string{"postgres"}, "/usr/lib/postgresql/*/bin/postgres")
	}
	data, err := os.MkdirTemp("", "poterne-postgres-") //nolint:usetesting // the owner cannot enter TempDir's parents
	if err != nil {
		tb.Fatalf("postgres: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(data) })
	if err := giveTo(owner, data); err != nil {
		tb.Fatalf("postgres: %v", err)
	}
	attr, err := processAttributes(owner)
	if err != nil {
		tb.Fatalf("postgres: %v", err)
	}
	initdb := exec.CommandContext(tb.Context(), filepath.Join(filepath.Dir(bin), "initdb"),
		"--pgdata="+data, "--username="+owner, "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, data
	if out, err := initdb.CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
	port := FreePorts(tb, 1)[0]
	dsn := url.URL{
		Scheme: "postgres", User: url.User(owner), Host: Loopback(port), Path: "/postgres", RawQuery: "sslmode=disable",
	}
	p := Start(tb, Command{
		Name: "postgres", Path: bin, User: owner, Dir: data,
		Args: []string{
			"-D", data, "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-k", data,
			"-c", "fsync=off", "-c", "max_connections=200",
		},
		Ready: postgresReady(filepath.Join(filepath.Dir(bin), "pg_isready"), port),
	})
	return &PostgresServer{Process: p, DSN: dsn.String()}
}

func postgresReady(isready string, port int) func(context.Context) error {
	return func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, isready, "-h", "127.0.0.1", "-p", strconv.Itoa(port)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
}
