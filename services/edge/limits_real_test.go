//go:build real

package edge_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/testkit"
)

// twoEdges are two programs that share PostgreSQL and Redis.
type twoEdges struct {
	t      *testing.T
	addrs  [2]string
	cmds   [2]*exec.Cmd
	redis  *testkit.RedisServer
	key    string
	client *http.Client
}

// startTwoEdges starts them with args; timeout is the longest that they wait for Redis.
func startTwoEdges(t *testing.T, timeout time.Duration, args ...string) *twoEdges {
	t.Helper()
	e := &twoEdges{
		t: t, redis: testkit.Redis(t), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 30 * time.Second},
	}
	dsn := testkit.Postgres(t).DSN
	dirs := [2]string{t.TempDir(), t.TempDir()}
	for i, port := range testkit.FreePorts(t, 2) {
		e.addrs[i] = testkit.Loopback(port)
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(os.Getenv("POTERNE_BIN_DIR"), "poterne-edge"), args...)
		cmd.Env = append(os.Environ(), "POTERNE_DATA_DIR="+dirs[i], "POTERNE_HTTP_ADDR="+e.addrs[i], "POTERNE_GRPC_ADDR=127.0.0.1:0",
			"POTERNE_TELEMETRY_OPS_ADDR=", "POTERNE_STORE_DSN="+dsn, "POTERNE_API_KEYS_PEPPER=a pepper that both edges of the test share",
			"POTERNE_LIMITS_REDIS_ADDR="+e.redis.Addr, "POTERNE_LIMITS_REDIS_TIMEOUT="+timeout.String(), "POTERNE_LIMITS_REQUESTS_PER_MINUTE=1000000", "POTERNE_LIMITS_ADDRESS_REQUESTS_PER_MINUTE=0")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		e.cmds[i] = cmd
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		e.listens(e.addrs[i])
	}
	text, err := os.ReadFile(filepath.Join(dirs[0], "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	e.key = strings.TrimSpace(string(text))
	return e
}

func (e *twoEdges) listens(addr string) {
	e.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = conn.Close()
			return
		}
	}
	e.t.Fatal("the edge does not listen")
}

func (e *twoEdges) do(i int, method, path, body string) (int, http.Header, string) {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+e.addrs[i]+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+e.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(req)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(text)
}

// asked is a path that costs the limit's tests a request, and nothing of a backend.
const asked = "/v1/admin/bans"

func (e *twoEdges) set(name, rule string) {
	e.t.Helper()
	if status, _, text := e.do(0, http.MethodPut, "/v1/admin/limits/"+name, `{"limit":`+rule+`}`); status != http.StatusOK {
		e.t.Fatalf("%d %s", status, text)
	}
	<-time.After(time.Second) // the other edge applies it by then
}

// load has 64 clients ask a thousand times a second in all, and returns how many were
// let in, and how many were asked.
func (e *twoEdges) load(d time.Duration, edges ...int) (admitted, all int64) {
	const clients, rate = 64, 1000
	var in, tried atomic.Int64
	var group sync.WaitGroup
	begin := time.Now()
	for c := range clients {
		group.Go(func() {
			for n := 0; ; n++ {
				at := begin.Add(time.Duration(n*clients+c) * time.Second / rate)
				if at.Sub(begin) >= d {
					return
				}
				<-time.After(time.Until(at))
				tried.Add(1)
				switch status, _, text := e.do(edges[n%len(edges)], http.MethodGet, asked, ""); status {
				case http.StatusOK:
					in.Add(1)
				case http.StatusTooManyRequests:
				default:
					e.t.Errorf("%d %s", status, text)
				}
			}
		})
	}
	group.Wait()
	return in.Load(), tried.Load()
}

func (e *twoEdges) within(what string, got int64, rule, burst int, took time.Duration) {
	e.t.Helper()
	want := float64(burst) + float64(rule)*took.Seconds()
	e.t.Logf("%s: %d let in, %.0f may be (%+.2f %%)", what, got, want, 100*(float64(got)/want-1))
	if float64(got) > want*1.02 || float64(got) < want*0.98 {
		e.t.Errorf("%s: %d were let in, %.0f may be", what, got, want)
	}
}

func TestRealTwoEdgesKeepOneLimit(t *testing.T) {
	// Longer than a busy machine delays Redis: whoever does not hear from it counts its
	// share alone, half of the limit even when the other edge is dead.
	e := startTwoEdges(t, 250*time.Millisecond)
	const amount, burst, length = 300, 900, 6 * time.Second
	rule := func(amount, burst int) string {
		return fmt.Sprintf(`{"kind":"LIMIT_KIND_REQUESTS","by":["tenant"],"match":{"routes":["*BanService*"]},"amount":%d,"period":"1s","burst":%d}`, amount, burst)
	}
	e.set("rate", rule(amount, burst))
	begin := time.Now()
	admitted, all := e.load(length, 0, 1)
	if all < 5000 {
		t.Logf("the machine is busy: %d requests were sent", all)
	}
	e.within("two edges", admitted, amount, burst, time.Since(begin))

	// Changed at run time: on the other edge within a second.
	e.set("rate", rule(100, 100))
	status, header, _ := e.do(1, http.MethodGet, asked, "")
	if policy := header.Get("RateLimit-Policy"); !strings.Contains(policy, `"rate";q=100;w=1`) {
		t.Errorf("%d %s", status, policy)
	}
	<-time.After(3 * time.Second) // full again: what was used of the old limit takes its time
	begin = time.Now()
	admitted, _ = e.load(4*time.Second, 0, 1)
	e.within("changed", admitted, 100, 100, time.Since(begin))

	// One is killed: its lease is all that is lost.
	e.set("rate", rule(amount, burst))
	<-time.After(3500 * time.Millisecond)
	begin = time.Now()
	before, _ := e.load(time.Second, 0, 1)
	_ = e.cmds[1].Process.Signal(syscall.SIGKILL)
	after, _ := e.load(5*time.Second, 0)
	took := time.Since(begin)
	e.within("one killed", before+after, amount, burst, took)
}

func TestRealStoppedRedisDelaysNobody(t *testing.T) {
	e := startTwoEdges(t, 5*time.Millisecond)
	e.set("rate", `{"kind":"LIMIT_KIND_REQUESTS","by":["tenant"],"amount":100000,"period":"60s"}`)
	ask := func() (time.Duration, string) {
		begin := time.Now()
		status, header, text := e.do(0, http.MethodGet, asked, "")
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		return time.Since(begin), header.Get("RateLimit")
	}
	median := func(n int) time.Duration {
		var sum []time.Duration
		for range n {
			took, _ := ask()
			sum = append(sum, took)
		}
		for i := range sum { // few: an insertion sort
			for j := i; j > 0 && sum[j] < sum[j-1]; j-- {
				sum[j], sum[j-1] = sum[j-1], sum[j]
			}
		}
		return sum[len(sum)/2]
	}
	with := median(100)
	e.redis.Signal(syscall.SIGSTOP)
	var worst time.Duration
	local := false
	for begin := time.Now(); time.Since(begin) < 3*time.Second; <-time.After(5 * time.Millisecond) {
		took, header := ask()
		worst = max(worst, took)
		local = local || strings.Contains(header, "/per-replica")
	}
	without := median(100)
	e.redis.Signal(syscall.SIGCONT)
	t.Logf("with Redis %v, without %v, the slowest without %v", with, without, worst)
	if !local {
		t.Error("nobody was told that each counts alone")
	}
	if without > with+5*time.Millisecond {
		t.Errorf("a request takes %v without Redis, %v with it", without, with)
	}
	for end := time.Now().Add(10 * time.Second); ; <-time.After(50 * time.Millisecond) {
		if _, header := ask(); !strings.Contains(header, "/per-replica") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("Redis is back, and is not asked")
		}
	}
}
