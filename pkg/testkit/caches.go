package testkit

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The environment variables of what the tests of caches need besides Redis.
const (
	EnvMemcached = "POTERNE_MEMCACHED_BIN"
	EnvRedisCLI  = "POTERNE_REDIS_CLI_BIN"
)

// MemcachedServer is a running memcached.
type MemcachedServer struct {
	*Process
	Addr string
}

// Memcached starts a memcached server. As root it runs as the user nobody.
func Memcached(tb testing.TB) *MemcachedServer {
	tb.Helper()
	port := FreePorts(tb, 1)[0]
	args := []string{"-l", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "0", "-m", "64", "-I", "4m"}
	if os.Geteuid() == 0 {
		args = append(args, "-u", "nobody")
	}
	p := Start(tb, Command{
		Name: "memcached", Path: Binary(tb, EnvMemcached, []string{"memcached"}), Dir: tb.TempDir(), Args: args, Ready: ReadyTCP(Loopback(port)),
	})
	return &MemcachedServer{Process: p, Addr: Loopback(port)}
}

// RedisClusterServers are the nodes of a Redis Cluster without replicas.
type RedisClusterServers struct {
	Nodes []*Process
	Addrs []string
}

// RedisCluster starts a Redis Cluster of three nodes.
func RedisCluster(tb testing.TB) *RedisClusterServers {
	tb.Helper()
	const nodes = 3
	ports := FreePorts(tb, 2*nodes)
	out := new(RedisClusterServers)
	for i := range nodes {
		addr := Loopback(ports[i])
		out.Nodes = append(out.Nodes, Start(tb, Command{
			Name: "redis-node-" + strconv.Itoa(i), Path: Binary(tb, EnvRedis, []string{"redis-server"}), Dir: tb.TempDir(),
			Args: []string{
				"--bind", "127.0.0.1", "--port", strconv.Itoa(ports[i]), "--cluster-port", strconv.Itoa(ports[nodes+i]),
				"--cluster-enabled", "yes", "--cluster-require-full-coverage", "no", "--save", "", "--appendonly", "no",
			},
			Ready: ReadyTCP(addr),
		}))
		out.Addrs = append(out.Addrs, addr)
	}
	redisCLI(tb, append(append([]string{"--cluster", "create"}, out.Addrs...), "--cluster-yes")...)
	for _, addr := range out.Addrs {
		_, port, _ := strings.Cut(addr, ":")
		for !strings.Contains(redisCLI(tb, "-p", port, "cluster", "info"), "cluster_state:ok") {
			if tb.Context().Err() != nil {
				tb.Fatal("the cluster is not ready")
			}
		}
	}
	return out
}

// RedisSentinelServers are a master and the sentinel that watches it.
type RedisSentinelServers struct {
	Master *RedisServer
	// Addr is the sentinel's, which knows the master as Name.
	Addr, Name string
}

// RedisSentinel starts a Redis and a sentinel.
func RedisSentinel(tb testing.TB) *RedisSentinelServers {
	tb.Helper()
	master := Redis(tb)
	host, port, _ := strings.Cut(master.Addr, ":")
	own := FreePorts(tb, 1)[0]
	const name = "main"
	dir := tb.TempDir()
	file := filepath.Join(dir, "sentinel.conf") // which the sentinel writes to
	text := fmt.Sprintf("bind 127.0.0.1\nport %d\nsentinel monitor %s %s %s 1\n", own, name, host, port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatalf("sentinel: %v", err)
	}
	Start(tb, Command{
		Name: "sentinel", Path: Binary(tb, EnvRedis, []string{"redis-server"}), Dir: dir, Args: []string{file, "--sentinel"}, Ready: ReadyTCP(Loopback(own)),
	})
	return &RedisSentinelServers{Master: master, Addr: Loopback(own), Name: name}
}

func redisCLI(tb testing.TB, args ...string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), readyTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, Binary(tb, EnvRedisCLI, []string{"redis-cli"}), args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("redis-cli %v: %v\n%s", args, err, out)
	}
	return string(out)
}
