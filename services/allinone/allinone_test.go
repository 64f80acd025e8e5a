package allinone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/services/search"
	"github.com/poterne/poterne/services/worker/sim"
)

// TestMain lets the test's binary be the simulated engine, as the poterne binary
// is: the worker starts its own program with `sim`.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sim" {
		os.Exit(sim.Main(noted(os.Args[2:]))) //nolint:forbidigo // here it is the engine's main
	}
	m.Run()
}

// output is what people would read, from another goroutine.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// running is an all-in-one on the simulated engine.
type running struct {
	t    *testing.T
	cfg  Config
	out  *output
	key  string
	stop func() error
}

func start(t *testing.T, dir string) *running {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.Engine, cfg.LogLevel = dir, EngineSim, "error"
	cfg.HTTPAddr, cfg.GRPCAddr, cfg.OpsAddr = freeAddr(t), freeAddr(t), freeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, cfg: cfg, out: new(output)}
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg, "test", r.out) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = r.stop() })

	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			resp, err := http.Get("http://" + cfg.OpsAddr + "/readyz")
			if err != nil {
				continue
			}
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				r.key = readKey(t, dir)
				return r
			}
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, r.out)
		case <-deadline:
			t.Fatalf("not ready within a minute\n%s", r.out)
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func readKey(t *testing.T, dir string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func (r *running) call(method, path, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.cfg.HTTPAddr+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func (r *running) want(method, path, body string, parts ...string) {
	r.t.Helper()
	status, answer := r.call(method, path, body)
	if status != http.StatusOK {
		r.t.Fatalf("%s %s: HTTP %d: %s", method, path, status, answer)
	}
	for _, p := range parts {
		if !strings.Contains(answer, p) {
			r.t.Errorf("%s %s does not answer %q: %s", method, path, p, answer)
		}
	}
}

func TestEverythingInOneProcess(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	chat := `{"model":"sim-chat","max_tokens":8,"messages":[{"role":"user","content":"hello"}]`
	r.want("POST", "/v1/chat/completions", chat+`}`, `"role":"assistant"`, `"completion_tokens":8`)
	r.want("POST", "/v1/chat/completions", chat+`,"stream":true}`, "data: [DONE]")
	r.want("POST", "/v1/embeddings", `{"model":"sim-embedding","input":"hello"}`, `"embedding":[`)
	r.want("POST", "/v1/rerank", `{"model":"sim-rerank","query":"gate","documents":["bread","the gate"],"top_n":1}`, `"index":1`)
	r.want("POST", "/v1/tokens:count", `{"model":"sim-chat","messages":[{"role":"user","content":"one two three"}]}`, `"prompt_tokens":`, `"context_length":`)
	r.want("POST", "/v1/collections", `{"id":"notes"}`)
	r.want("POST", "/v1/collections/notes/documents:batchUpsert", `{"documents":[{"id":"d1","text":"The gate is guarded at night."}]}`, `"created"`)
	r.want("POST", "/v1/collections/notes:search", `{"query":"guarded gate"}`, `"document_id":"d1"`)
	r.want("POST", "/v1/collections/notes:search", `{"query":"guarded gate","rerank":{"model":"sim-rerank"}}`, `"reranked_by":"sim-rerank@v1"`)
	r.want("POST", "/v1/chat/completions", chat+`,"retrieval":{"collection":"notes"}}`, "document_citation")
	r.want("GET", "/v1/registry/models/sim-chat/aliases/production", "", `"version":1`)
	r.want("GET", "/v1/admin/workers", "", `"connected":true`)
	status, body := r.call("POST", "/v1/admin/workers/nobody:liftQuarantine", `{"model":"sim-chat"}`)
	if status != http.StatusNotFound || !strings.Contains(body, `there is no worker \"nobody\"`) {
		t.Errorf("a quarantine of nobody's: HTTP %d, %s", status, body)
	}
	r.want("GET", "/v1/admin/audit", "", "CreateChatCompletion")
	if status, _ := r.call("GET", "/v1/nothing", ""); status != http.StatusNotFound {
		t.Errorf("an unknown path: HTTP %d", status)
	}
	// Search is told of, and chat does not wait for it.
	ready, err := http.Get("http://" + r.cfg.OpsAddr + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	var report health.Report
	err = json.NewDecoder(ready.Body).Decode(&report)
	_ = ready.Body.Close()
	at := slices.IndexFunc(report.Checks, func(s health.State) bool { return s.Name == search.CheckIndexes })
	if err != nil || at < 0 || !report.Checks[at].Advisory || !report.Ready {
		t.Errorf("/readyz: %+v, %v", report, err)
	}
	// A second process on the same data would damage it.
	other := r.cfg
	other.HTTPAddr, other.GRPCAddr, other.OpsAddr = freeAddr(t), freeAddr(t), freeAddr(t)
	if err := Run(t.Context(), other, "test", io.Discard); !errors.Is(err, ErrInUse) {
		t.Errorf("a second process on the data directory: %v", err)
	}
	if err := r.stop(); err != nil {
		t.Fatalf("the end: %v", err)
	}
	if said := r.out.String(); !strings.Contains(said, "ready after") || strings.Contains(said, r.key) {
		t.Errorf("what people read: %s", said)
	}

	again := start(t, dir)
	if again.key != r.key {
		t.Error("a second start made another first key")
	}
	again.want("POST", "/v1/collections/notes:search", `{"query":"guarded gate"}`, `"document_id":"d1"`)
	var models struct{ Models []struct{ VersionCount int } }
	_, answer := again.call("GET", "/v1/registry/models", "")
	if err := json.Unmarshal([]byte(answer), &models); err != nil || len(models.Models) != 3 {
		t.Errorf("a second start changed the registry: %s", answer)
	}
}

// TestTakenPorts holds that a port which is taken ends everything at once, with
// the address and how to take another.
func TestTakenPorts(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, name := range []string{"http", "grpc", "ops"} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.DataDir, cfg.Engine, cfg.LogLevel = t.TempDir(), EngineSim, "error"
			cfg.HTTPAddr, cfg.GRPCAddr, cfg.OpsAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
			cfg.DrainTimeout = 4 * time.Minute // what starts with a busy machine has time
			addr := map[string]*string{"http": &cfg.HTTPAddr, "grpc": &cfg.GRPCAddr, "ops": &cfg.OpsAddr}[name]
			*addr = taken.Addr().String()
			began := time.Now()
			err := Run(t.Context(), cfg, "test", io.Discard)
			if err == nil || !strings.Contains(err.Error(), name+" port: listen tcp "+*addr) || !strings.Contains(err.Error(), "--"+name+"-addr") {
				t.Errorf("it ended with %v", err)
			}
			if took := time.Since(began); took > cfg.DrainTimeout/2 {
				t.Errorf("it ended after %v", took)
			}
		})
	}
}

func TestConfigListsEveryProblem(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DataDir, cfg.HTTPAddr, cfg.Engine, cfg.LogLevel, cfg.LogFormat = "", "8080", "gpu", "loud", "xml"
	cfg.GRPCAddr = cfg.OpsAddr
	cfg.FetchFrom = []string{"models"}
	cfg.Env = []string{"POTERNE_URL=http://127.0.0.1:8080", "POTERNE_LOG_LEVEL=debug"}
	err := Run(t.Context(), cfg, "test", io.Discard)
	var problems config.Errors
	if !errors.As(err, &problems) || len(problems) != 8 {
		t.Errorf("problems: %v", err)
	}
}
