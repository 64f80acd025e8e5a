package worker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/telemetry"
)

// program puts a program of that name in a directory; nobody runs it.
func program(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhereQuantisersAreFound(t *testing.T) {
	engines, path, mine := t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("PATH", path)
	l := LlamaServer{Engine: Engine{Path: program(t, engines, "llama-server")}}
	find := func(configured string) string {
		found, _ := l.tool(configured, programQuantize).Path()
		return found
	}
	if got := find(""); got != "" {
		t.Errorf("nowhere: %s", got)
	}
	onPath := program(t, path, programQuantize)
	if got := find(""); got != onPath {
		t.Errorf("on the PATH: %s", got)
	}
	beside := program(t, engines, programQuantize)
	if got := find(""); got != beside {
		t.Errorf("beside llama-server: %s", got)
	}
	own := program(t, mine, "my-quantize")
	if got := find(own); got != own {
		t.Errorf("configured: %s", got)
	}
	for _, configured := range []string{programNone, filepath.Join(mine, "gone")} {
		if got := find(configured); got != "" {
			t.Errorf("%s: %s", configured, got)
		}
	}
	l.Path = filepath.Join(mine, "gone")
	if got := find(""); got != "" {
		t.Errorf("without llama-server: %s", got)
	}
}

func quantizeConfig(t *testing.T) *Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.StateDir = filepath.Join(t.TempDir(), "state")
	return cfg
}

// What a worker made may be loaded by it, whatever its roots are.
func TestMadeWeightsAreInTheRoots(t *testing.T) {
	cfg := quantizeConfig(t)
	if roots := cfg.roots("/state"); len(roots) > 0 {
		t.Errorf("no roots: %q", roots)
	}
	cfg.Artifacts.Roots = []string{t.TempDir()}
	if roots := cfg.roots("/state"); !slices.Equal(roots, []string{"/state/quantized", cfg.Artifacts.Roots[0]}) {
		t.Errorf("roots %q", roots)
	}
	cfg.Quantize.Directory = filepath.Join(t.TempDir(), "made")
	s, err := New(t.Context(), *cfg, WithTelemetry(telemetry.Discard()))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Quantize.Directory, "made")); err != nil {
		t.Error(err)
	}
	cfg.Engines.LlamaServer.Path = "" // as where only the simulator is used
	if roots := cfg.roots("/state"); cfg.quantizes() || len(roots) != 1 {
		t.Errorf("without llama-server: roots %q", roots)
	}
}

func TestQuantizeConfig(t *testing.T) {
	cfg := quantizeConfig(t)
	if err := cfg.Complete(); err != nil {
		t.Fatal(err)
	}
	cfg.Quantize.Directory, cfg.Quantize.MaxBytes, cfg.Quantize.MinFree = "relative", -1, -1
	cfg.Quantize.Timeout, cfg.Quantize.Threads = 0, 2000
	err := cfg.Complete()
	for _, key := range []string{"directory", "max_bytes", "min_free", "timeout", "threads"} {
		if err == nil || !strings.Contains(err.Error(), "quantize."+key) {
			t.Errorf("quantize.%s is not refused: %v", key, err)
		}
	}
}
