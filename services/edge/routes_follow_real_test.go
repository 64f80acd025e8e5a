//go:build real

package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/testkit"
)

// wire is a network between an edge and its database, which can be cut.
type wire struct {
	addr string
	to   string

	mu    sync.Mutex
	away  bool
	conns []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	w := &wire{addr: l.Addr().String(), to: to}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(in)
		}
	}()
	return w
}

func (w *wire) carry(in net.Conn) {
	out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", w.to)
	w.mu.Lock()
	if err != nil || w.away {
		w.mu.Unlock()
		_ = in.Close()
		if out != nil {
			_ = out.Close()
		}
		return
	}
	w.conns = append(w.conns, in, out)
	w.mu.Unlock()
	go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
	_, _ = io.Copy(in, out)
	_ = in.Close()
}

// cut ends every connection, and refuses further ones until mend.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = true
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = false
}

// followers are two edges on one PostgreSQL, each by a network of its own.
type followers struct {
	*twoEdges
	wires [2]*wire
}

func startFollowers(t *testing.T) *followers {
	t.Helper()
	dsn, err := url.Parse(testkit.Postgres(t).DSN)
	if err != nil {
		t.Fatal(err)
	}
	f := &followers{twoEdges: &twoEdges{t: t, client: &http.Client{Timeout: 30 * time.Second}}}
	for i, port := range testkit.FreePorts(t, 2) {
		f.wires[i], f.addrs[i] = newWire(t, dsn.Host), testkit.Loopback(port)
		own, dir := *dsn, t.TempDir()
		own.Host = f.wires[i].addr
		testkit.Start(t, testkit.Command{
			Name: fmt.Sprintf("edge %d", i), Path: filepath.Join(os.Getenv("POTERNE_BIN_DIR"), "poterne-edge"),
			Env: []string{
				"POTERNE_DATA_DIR=" + dir, "POTERNE_HTTP_ADDR=" + f.addrs[i], "POTERNE_GRPC_ADDR=127.0.0.1:0", "POTERNE_TELEMETRY_OPS_ADDR=",
				"POTERNE_STORE_DSN=" + own.String(), "POTERNE_API_KEYS_PEPPER=a pepper that both edges of the test share",
				"POTERNE_LIMITS_REQUESTS_PER_MINUTE=1000000", "POTERNE_LIMITS_ADDRESS_REQUESTS_PER_MINUTE=0",
			},
			Ready: testkit.ReadyTCP(f.addrs[i]),
		})
		if i == 0 {
			text, err := os.ReadFile(filepath.Join(dir, "admin.key"))
			if err != nil {
				t.Fatal(err)
			}
			f.key = strings.TrimSpace(string(text))
		}
	}
	return f
}

// applies is the model that an edge would have asked for a request for name; empty when
// no route is about it. It asks what is in force there, and not the store.
func (f *followers) applies(i int, name string) string {
	status, _, text := f.do(i, http.MethodPost, "/v1/admin/routes:test", `{"model":"`+name+`"}`)
	if status != http.StatusOK {
		return fmt.Sprintf("%d %s", status, text)
	}
	var out struct {
		Models []string `json:"models"`
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return err.Error()
	}
	return strings.Join(out.Models, " ")
}

// until waits until an edge has what is expected, and returns how long that took.
func (f *followers) until(i int, name, want string, most time.Duration) time.Duration {
	f.t.Helper()
	begin := time.Now()
	for {
		got := f.applies(i, name)
		took := time.Since(begin)
		if got == want {
			return took
		}
		if took > most+10*time.Second {
			f.t.Fatalf("after %v a request for %s is for %q, %q is expected", took, name, got, want)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (f *followers) change(i int, name, model string) {
	f.t.Helper()
	method, body := http.MethodPut, fmt.Sprintf(`{"route":{"match":{"models":[%q]},"model":%q}}`, name, model)
	if model == "" {
		method, body = http.MethodDelete, ""
	}
	if status, _, text := f.do(i, method, "/v1/admin/routes/"+name, body); status != http.StatusOK {
		f.t.Fatalf("%s at edge %d: %d %s", method, i, status, text)
	}
}

// What is changed at one edge holds at the other within a second, whatever is changed;
// while the database is away what was known holds, and what was changed meanwhile does
// within a second of its return.
func TestRealEdgesFollowRoutes(t *testing.T) {
	f := startFollowers(t)
	const within, changes, names = time.Second, 60, 4
	random := rand.New(rand.NewPCG(1, 2))
	now := make(map[string]string)
	var slowest time.Duration
	for n := range changes {
		at, name := n%2, fmt.Sprintf("r%d", random.IntN(names))
		model := fmt.Sprintf("model-%d", n)
		if now[name] != "" && random.IntN(3) == 0 {
			model = ""
		}
		f.change(at, name, model)
		now[name] = model
		if took := f.until(at, name, model, 0); took > within/4 {
			t.Errorf("change %d holds where it was made after %v", n, took)
		}
		took := f.until(1-at, name, model, within)
		slowest = max(slowest, took)
		if took > within {
			t.Errorf("change %d was followed after %v", n, took)
		}
	}
	for name, model := range now {
		for i := range f.addrs {
			if got := f.applies(i, name); got != model {
				t.Errorf("edge %d has %q for %s, %q is kept", i, got, name, model)
			}
		}
	}
	t.Logf("%d changes, the slowest was followed after %v", changes, slowest)

	for round := range 3 {
		f.change(0, "kept", "before")
		f.until(1, "kept", "before", within)
		f.change(0, "gone", "before")
		f.until(1, "gone", "before", within)
		f.wires[1].cut()
		f.change(0, "kept", "after")
		f.change(0, "gone", "")
		for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
			// Who asks is known by a key that the edge has in memory.
			if got := f.applies(1, "kept"); got != "before" {
				t.Fatalf("round %d: without its database the edge has %q", round, got)
			}
		}
		f.wires[1].mend()
		kept := f.until(1, "kept", "after", within)
		if gone := f.until(1, "gone", "", within); kept+gone > within {
			t.Errorf("round %d: %v after the database was back the edge has what is kept", round, kept+gone)
		}
		t.Logf("round %d: followed %v after the database was back", round, kept)
		f.change(0, "kept", "")
		f.until(1, "kept", "", within)
	}
}
