package quantize

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/services/worker/internal/process"
	"github.com/poterne/poterne/services/worker/internal/quantize/quantizetest"
)

func TestMain(m *testing.M) {
	if code, is := quantizetest.Main(); is {
		os.Exit(code) //nolint:forbidigo // this is main
	}
	if dir := os.Getenv(asWorker); dir != "" {
		os.Exit(workerMain(dir)) //nolint:forbidigo // this is main
	}
	os.Exit(m.Run()) //nolint:forbidigo // this is main
}

// rig is a maker with fake programs, and weights to make others from.
type rig struct {
	*testing.T
	maker  *Maker
	tools  *quantizetest.Tools
	ledger string
	order  Order

	mu     sync.Mutex
	phases []Phase
	asked  []int64
	pids   chan int
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func verify(_ context.Context, path, want string) error {
	data, err := os.ReadFile(path)
	if err == nil && hashOf(data) != want {
		err = errors.New("another hash")
	}
	return err
}

func readHead(path string) (Weights, error) {
	data, err := os.ReadFile(path)
	if err == nil && !strings.HasPrefix(string(data), quantizetest.Magic) {
		err = errors.New("no weights")
	}
	return Weights{
		Parameters: 1000, Largest: 100, TrainedContext: 4096, Quantized: strings.Contains(string(data), "quantised"),
		MeasureBytes: func(window int) int64 { return 1<<30 + int64(window) },
	}, err
}

func partsWith(quantize, perplexity Program, ledger *process.Ledger) Parts {
	return Parts{
		Quantize: quantize, Perplexity: perplexity, Ledger: ledger, Log: slog.New(slog.DiscardHandler),
		DiskFree: func(string) (int64, error) { return math.MaxInt64, nil }, Read: readHead, Verify: verify,
	}
}

func newRig(t *testing.T, change func(*Config, *Parts)) *rig {
	t.Helper()
	r := &rig{T: t, tools: quantizetest.New(t), ledger: t.TempDir(), pids: make(chan int, 64)}
	ledger, err := process.OpenLedger(r.ledger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ledger.Close() })
	cfg := DefaultConfig()
	cfg.Directory = filepath.Join(t.TempDir(), "quantized")
	parts := partsWith(r.tools.QuantizeProgram(), r.tools.PerplexityProgram(), ledger)
	if change != nil {
		change(&cfg, &parts)
	}
	if r.maker, err = New(cfg, parts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.maker.Close() })
	r.order = Order{
		Source: r.weights("source weights"), Type: "q4_k_m", Text: []byte("a text"), Threads: 3,
		Progress: r.progress, Started: func(pid int) { r.pids <- pid },
		Admit: func(n int64) error {
			r.asked = append(r.asked, n)
			return nil
		},
	}
	return r
}

// weights writes a file of weights.
func (r *rig) weights(content string) Source {
	r.Helper()
	data := []byte(quantizetest.Magic + content)
	path := filepath.Join(r.TempDir(), "tiny f16.gguf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		r.Fatal(err)
	}
	return Source{Path: path, Name: "tiny f16.gguf", SHA256: hashOf(data)}
}

func (r *rig) progress(phase Phase, _ int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.phases) == 0 || r.phases[len(r.phases)-1] != phase {
		r.phases = append(r.phases, phase)
	}
}

// make carries out an order.
func (r *rig) make(ctx context.Context, o Order) (Result, error) {
	r.Helper()
	if err := r.maker.Check(ctx, &o); err != nil {
		return Result{}, err
	}
	end, err := r.maker.Begin()
	if err != nil {
		return Result{}, err
	}
	defer end()
	return r.maker.Make(ctx, o)
}

func (r *rig) mustMake(o Order) Result {
	r.Helper()
	result, err := r.make(r.Context(), o)
	if err != nil {
		r.Fatal(err)
	}
	return result
}

// ran returns the programs that ran since the last time.
func (r *rig) ran() []string {
	r.Helper()
	var out []string
	for _, call := range r.tools.Calls() {
		name, _, _ := strings.Cut(call, " ")
		out = append(out, name)
	}
	return out
}

func (r *rig) wantRan(what string, want ...string) {
	r.Helper()
	if got := r.ran(); !slices.Equal(got, want) {
		r.Errorf("%s: ran %q, want %q", what, got, want)
	}
}

// nothingLeft sees that nothing unfinished is there, and no process.
func (r *rig) nothingLeft(what string) {
	r.Helper()
	for _, dir := range []string{r.maker.path(dirTemp), r.ledger} {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		names = slices.DeleteFunc(names, func(n string) bool { return filepath.Base(n) == "lock" })
		if err != nil || len(names) > 0 {
			r.Errorf("%s: left %q, %v", what, names, err)
		}
	}
}

// soon waits until something holds.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for begun := time.Now(); !holds(); <-time.After(time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("not within half a minute: %s", what)
		}
	}
}
