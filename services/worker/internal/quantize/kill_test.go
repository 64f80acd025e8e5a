package quantize

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/poterne/poterne/services/worker/internal/process"
	"github.com/poterne/poterne/services/worker/internal/quantize/quantizetest"
)

// asWorker makes this test's program a worker that makes weights, says the process
// id of the program that runs, and waits to be killed.
const asWorker = "TEST_AS_WORKER"

// workerMain takes the directories and the programs from the environment.
func workerMain(dir string) int {
	ledger, err := process.OpenLedger(filepath.Join(dir, "engines"))
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	cfg := DefaultConfig()
	cfg.Directory = filepath.Join(dir, "quantized")
	program := quantizetest.Program(os.Getenv("TEST_QUANTIZE"))
	m, err := New(cfg, partsWith(program, program, ledger))
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	_, err = m.Make(context.Background(), Order{
		Source: Source{Path: os.Getenv("TEST_SOURCE"), Name: "tiny.gguf", SHA256: os.Getenv("TEST_SHA256")}, Type: "q8_0", Window: 512,
		Progress: func(phase Phase, percent int) {
			if phase == Quantizing && percent > 0 {
				fmt.Fprintln(os.Stdout, "half way")
			}
		},
		Admit: func(int64) error { return nil }, Started: func(pid int) { fmt.Fprintln(os.Stdout, pid) },
	})
	fmt.Fprintln(os.Stdout, err)
	return 1
}

// A worker that is killed leaves no process, and nothing that is ever taken for
// weights.
func TestKill(t *testing.T) {
	tools, dir := quantizetest.New(t), t.TempDir()
	tools.Quantize(quantizetest.Slow)
	r := &rig{T: t}
	source := r.weights("weights of one who is killed")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asWorker+"="+dir, "TEST_QUANTIZE="+string(tools.QuantizeProgram()), "TEST_SOURCE="+source.Path, "TEST_SHA256="+source.SHA256)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	child := 0
	for lines.Scan() && lines.Text() != "half way" {
		if pid, err := strconv.Atoi(strings.TrimSpace(lines.Text())); err == nil {
			child = pid
		}
	}
	if child <= 1 {
		t.Fatalf("the worker said %q", lines.Text())
	}
	if half, err := filepath.Glob(filepath.Join(dir, "quantized", dirTemp, "made-*", "*.gguf")); err != nil || len(half) != 1 {
		t.Fatalf("half made: %q, %v", half, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	soon(t, "the program is gone", func() bool { return syscall.Kill(child, 0) != nil })
	ledger, err := process.OpenLedger(filepath.Join(dir, "engines"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ledger.Close() }()
	if _, err := ledger.Reap(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Directory = filepath.Join(dir, "quantized")
	m, err := New(cfg, partsWith(tools.QuantizeProgram(), tools.PerplexityProgram(), ledger))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	for _, sub := range []string{dirTemp, dirMade, dirMeasured} {
		if left, err := os.ReadDir(m.path(sub)); err != nil || len(left) > 0 {
			t.Errorf("%s holds %v, %v", sub, left, err)
		}
	}
	if other, err := New(cfg, partsWith(tools.QuantizeProgram(), tools.PerplexityProgram(), ledger)); err == nil {
		_ = other.Close()
		t.Error("two makers use one directory")
	}
}
