//go:build real

package edge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/testkit"
)

// sharers are edges that share PostgreSQL, Redis and Consul.
type sharers struct {
	t      *testing.T
	env    []string
	redis  *testkit.RedisServer
	key    string
	client *http.Client
}

func (s *sharers) start() program { return startProgram(s.t, s.env...) }

// ask asks an edge: whether it let the request in, and what of the limit it said is its.
func (s *sharers) ask(p program) (in bool, quota int, perReplica bool) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(s.t.Context()), http.MethodGet, "http://"+p.http+asked, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusTooManyRequests {
		s.t.Fatalf("status %d", resp.StatusCode)
	}
	m := regexp.MustCompile(`"hour(/per-replica)?";q=(\d+)`).FindStringSubmatch(resp.Header.Get("RateLimit-Policy"))
	if m == nil {
		s.t.Fatalf("RateLimit-Policy: %s", resp.Header.Get("RateLimit-Policy"))
	}
	quota, _ = strconv.Atoi(m[2])
	return resp.StatusCode == http.StatusOK, quota, m[1] != ""
}

// metric reads a gauge of an edge; -1: it has none.
func (s *sharers) metric(p program, name string) float64 {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+p.ops+"/metrics", http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok && (rest[0] == ' ' || rest[0] == '{') {
			n, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return n
		}
	}
	return -1
}

// until asks edges until each says that quota is its share, and returns how many were let
// in meanwhile.
func (s *sharers) until(quota int, edges ...program) (in int) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); ; <-time.After(100 * time.Millisecond) {
		right := true
		var said []int
		for _, p := range edges {
			ok, q, alone := s.ask(p)
			if ok {
				in++
			}
			said = append(said, q)
			right = right && alone && q == quota
		}
		if right {
			return in
		}
		if time.Now().After(end) {
			s.t.Fatalf("the shares are %v, want %d each", said, quota)
		}
	}
}

// empty asks an edge for all it lets in.
func (s *sharers) empty(p program) (in int) {
	s.t.Helper()
	for {
		ok, _, _ := s.ask(p)
		if !ok {
			return in
		}
		in++
	}
}

// Without Redis edges have shares of a limit, by how many of them Consul knows: what
// they let in together is within the limit, also when one is killed; one that joins has
// its share besides.
func TestRealSharesByConsul(t *testing.T) {
	const amount = 600 // of an hour: it hardly refills
	consul := testkit.Consul(t)
	s := &sharers{t: t, redis: testkit.Redis(t), client: &http.Client{Timeout: 30 * time.Second}}
	s.env = []string{
		"POTERNE_STORE_DSN=" + testkit.Postgres(t).DSN, "POTERNE_API_KEYS_PEPPER=a pepper that all edges of the test share",
		"POTERNE_LIMITS_REDIS_ADDR=" + s.redis.Addr, "POTERNE_LIMITS_REDIS_TIMEOUT=250ms", "POTERNE_LIMITS_REQUESTS_PER_MINUTE=1000000", "POTERNE_LIMITS_ADDRESS_REQUESTS_PER_MINUTE=0",
		"POTERNE_DISCOVERY_KIND=consul", "POTERNE_DISCOVERY_CONSUL_ADDR=" + consul.Addr, "POTERNE_DISCOVERY_CONSUL_TTL=2s", "POTERNE_DISCOVERY_CONSUL_GRACE=1s",
	}
	one := s.start()
	s.key = one.key(t)
	two, three := s.start(), s.start()
	set := &twoEdges{t: t, addrs: [2]string{one.http, two.http}, key: s.key, client: s.client}
	set.set("hour", fmt.Sprintf(`{"kind":"LIMIT_KIND_REQUESTS","by":["tenant"],"match":{"routes":["*BanService*"]},"amount":%d,"period":"3600s"}`, amount))
	if _, q, alone := s.ask(three); alone || q != amount {
		t.Fatalf("with Redis the limit is %d, per replica: %v", q, alone)
	}
	begin := time.Now()
	s.redis.Signal(syscall.SIGSTOP)
	refilled := func() int { return int(time.Since(begin).Seconds()*amount/3600) + 3 }
	in := 1 + s.until(amount/3, one, two, three)
	for _, p := range []program{one, two, three} {
		in += s.empty(p)
		if away, n := s.metric(p, "poterne_edge_limit_store_away"), s.metric(p, "poterne_edge_limit_replicas"); away != 1 || n != 3 {
			t.Errorf("store_away %v, replicas %v", away, n)
		}
	}
	t.Logf("three edges: %d of %d", in, amount)
	if in > amount+refilled() || in < amount*95/100 {
		t.Errorf("three edges let in %d of %d", in, amount)
	}
	three.Kill()
	killed := time.Now()
	in += s.until(amount/2, one, two)
	t.Logf("the shares grew %v after the kill", time.Since(killed))
	in += s.empty(one) + s.empty(two)
	if in > amount+refilled() {
		t.Errorf("two edges let in what the third had had: %d of %d", in, amount)
	}
	// The metric follows the shares, within a second.
	for end := time.Now().Add(5 * time.Second); ; <-time.After(50 * time.Millisecond) {
		n := s.metric(one, "poterne_edge_limit_replicas")
		if n == 2 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("replicas %v", n)
			break
		}
	}
	joined := time.Now()
	four := s.start()
	more := s.empty(four)
	in += more + s.until(amount/3, one, two, four)
	in += s.empty(one) + s.empty(two) + s.empty(four)
	t.Logf("the one that joined let in %d; the shares shrank within %v; in all %d of %d and its share", more, time.Since(joined), in, amount)
	if in > amount+amount/3+refilled() {
		t.Errorf("with the one that joined %d were let in, and %d and its share of %d may be", in, amount, amount/3)
	}
	s.redis.Signal(syscall.SIGCONT)
	for end := time.Now().Add(20 * time.Second); ; <-time.After(100 * time.Millisecond) {
		if _, q, alone := s.ask(one); !alone && q == amount {
			break
		}
		if time.Now().After(end) {
			t.Fatal("Redis is back, and is not asked")
		}
	}
	for _, p := range []program{one, two, four} {
		if ok, _, _ := s.ask(p); ok && time.Since(begin) < time.Minute {
			t.Error("Redis does not know what was let in without it")
		}
	}
}
