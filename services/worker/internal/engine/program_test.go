package engine

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// tool is a program that does what the lines say.
func tool(t *testing.T, lines string) *Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return NewProgram(path)
}

// A program whose child holds its output open keeps nobody longer than they wait,
// and is asked again by the next.
func TestProgramsThatDoNotAnswer(t *testing.T) {
	const answer = "echo '--list-devices'; "
	for name, p := range map[string]*Program{
		"no help":    tool(t, "sleep 60; echo"),
		"no devices": tool(t, `case $1 in --help) `+answer+`exit 1;; esac; sleep 60; echo`),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		begun := time.Now()
		if p.usesGPUs(ctx) || time.Since(begun) > 10*time.Second {
			t.Errorf("%s: after %v", name, time.Since(begun))
		}
		cancel()
		if p.devices != "" {
			t.Errorf("%s: remembers %q", name, p.devices)
		}
	}
}

// What a program complains of is no device.
func TestDevicesOfAProgram(t *testing.T) {
	for name, tt := range map[string]struct {
		says string
		want bool
	}{
		"a GPU":       {"echo 'Available devices:'; echo '  CUDA0: NVIDIA H100 80GB HBM3 (81000 MiB, 80000 MiB free)'", true},
		"none":        {"echo 'Available devices:'", false},
		"a complaint": {"echo 'Available devices:'; echo 'ggml_cuda_init: failed to initialize CUDA' >&2", false},
		"a failure":   {"echo 'Available devices:'; echo '  CUDA0: NVIDIA'; exit 1", false},
	} {
		p := tool(t, "case $1 in --help) echo 'usage: --list-devices'; exit 1;; esac\n"+tt.says)
		if got := p.usesGPUs(t.Context()); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
