//go:build real

package edge_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/testkit"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/internal/memcache"
	"github.com/poterne/poterne/services/edge/internal/rediscache"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

func openShared(c edge.SharedCacheConfig) (edge.SharedCache, error) {
	if c.Backend == respcache.BackendMemcache {
		return memcache.Open(c.Addrs, c.Timeout)
	}
	return rediscache.Open(rediscache.Options{
		Addrs: c.Addrs, Cluster: c.Backend == respcache.BackendCluster, Master: c.Master, Timeout: c.Timeout,
	}), nil
}

// sharing is two edges on one store, who share answers.
func sharing(t *testing.T, shared respcache.SharedConfig, dsn string) [2]*gate {
	t.Helper()
	var out [2]*gate
	for i := range out {
		out[i] = caching(t, func(c *edge.Config) {
			c.Security.Store.DSN, c.Security.Keys.Pepper = config.SecretURL(dsn), "what both of the edges know of keys"
			c.Security.Cache.Shared = shared
		}, edge.WithSharedCache(openShared))
	}
	out[1].key = out[0].key
	return out
}

// kept waits until an edge has an answer that another one made.
func (g *gate) kept(body string) answer {
	g.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(20 * time.Millisecond) {
		a := g.do("POST", chatPath, body, "Cache-Control", "only-if-cached")
		if a.status == 200 {
			return a
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("the other edge's answer is not there: %d %s", a.status, a.text)
		}
	}
}

func testShared(t *testing.T, shared respcache.SharedConfig, kill func()) {
	t.Helper()
	shared.Timeout = time.Second // the machine may be busy
	edges := sharing(t, shared, "sqlite:"+filepath.Join(t.TempDir(), "edge.db"))
	for i := range 12 { // on every node of a cluster
		more := fmt.Sprintf(`,"seed":%d`, i)
		edges[0].asks(exactly(more), nil, 1, "miss")
		if a := edges[1].kept(exactly(more)); a.header.Get(cacheHeader) != "hit" || a.at("choices", 0, "message", "content") != "Hello" {
			t.Errorf("%v %s", a.header, a.text)
		}
	}
	edges[0].asks(exactly(`,"stream":true`), nil, 1, "miss")
	edges[1].kept(exactly(`,"stream":true`))
	if n := edges[1].inference.calls(); n != 0 {
		t.Errorf("the other edge asked an engine %d times", n)
	}
	// A purge at one edge holds at the other within a second, with what is shared too.
	if a := edges[0].do("POST", "/v1/admin/cache:purge", `{}`); a.status != 200 {
		t.Fatal(a.text)
	}
	<-time.After(time.Second)
	edges[1].asks(exactly(`,"seed":1`), nil, 1, "miss")
	if kill == nil {
		return
	}
	kill()
	for i := range 20 {
		began := time.Now()
		if a := edges[i%2].do("POST", chatPath, exactly(fmt.Sprintf(`,"seed":%d`, 100+i))); a.status != 200 || a.header.Get(cacheHeader) != "miss" {
			t.Errorf("without it: %d %v", a.status, a.header)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a request took %v", took)
		}
	}
	edges[0].asks(exactly(`,"seed":100`), nil, 0, "hit") // from its memory
}

func TestRealCacheRedis(t *testing.T) {
	server := testkit.Redis(t)
	testShared(t, respcache.SharedConfig{Backend: respcache.BackendRedis, Addrs: []string{server.Addr}}, server.Kill)
}

func TestRealCacheRedisCluster(t *testing.T) {
	cluster := testkit.RedisCluster(t)
	testShared(t, respcache.SharedConfig{Backend: respcache.BackendCluster, Addrs: cluster.Addrs[:1]}, func() {
		for _, n := range cluster.Nodes {
			n.Kill()
		}
	})
}

func TestRealCacheRedisSentinel(t *testing.T) {
	s := testkit.RedisSentinel(t)
	testShared(t, respcache.SharedConfig{Backend: respcache.BackendSentinel, Addrs: []string{s.Addr}, Master: s.Name}, s.Master.Kill)
}

func TestRealCacheMemcached(t *testing.T) {
	a, b := testkit.Memcached(t), testkit.Memcached(t)
	testShared(t, respcache.SharedConfig{Backend: respcache.BackendMemcache, Addrs: []string{a.Addr, b.Addr}}, func() {
		a.Kill()
		b.Kill()
	})
}

// Purges are numbered by PostgreSQL as they are by SQLite.
func TestRealCachePurgesPostgres(t *testing.T) {
	server := testkit.Redis(t)
	testShared(t, respcache.SharedConfig{Backend: respcache.BackendRedis, Addrs: []string{server.Addr}}, nil)
	edges := sharing(t, respcache.SharedConfig{Backend: respcache.BackendRedis, Addrs: []string{server.Addr}, Timeout: time.Second}, testkit.Postgres(t).DSN)
	edges[0].asks(exactly(""), nil, 1, "miss")
	edges[1].kept(exactly(""))
	if a := edges[1].do("POST", "/v1/admin/cache:purge", `{"model":"small"}`); a.status != 200 {
		t.Fatal(a.text)
	}
	<-time.After(time.Second)
	edges[0].asks(exactly(""), nil, 1, "miss")
}

// A hit is answered within half a millisecond, from the request's first byte.
func TestRealCacheHitIsQuick(t *testing.T) {
	g := caching(t, func(c *edge.Config) {
		c.Security.Limits.RequestsPerMinute, c.Security.Limits.Address.RequestsPerMinute = 1_000_000, 0
	})
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		body := `{"choices":[{"index":0,"message":{"role":"assistant","content":"` + strings.Repeat("word ", 200) + `"},"finish_reason":"stop"}]}`
		return &inferencev1.InvokeResponse{ServedBy: version(3, "3"), Usage: usage(), Body: []byte(body)}, nil
	}
	g.asks(exactly(""), nil, 1, "miss", "hit")
	took := make([]time.Duration, 0, 2000)
	for range cap(took) {
		began := time.Now()
		if a := g.do("POST", chatPath, exactly("")); a.header.Get(cacheHeader) != "hit" {
			t.Fatalf("%v %s", a.header, a.text)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("p50 %v, p90 %v, p99 %v, least %v", took[len(took)/2], took[len(took)*9/10], took[len(took)*99/100], took[0])
	// The machine may be busy with other tests: its quiet moments count.
	if took[len(took)/10] > 500*time.Microsecond {
		t.Errorf("a tenth of the hits took less than %v", took[len(took)/10])
	}
}
