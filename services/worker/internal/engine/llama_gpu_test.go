package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLlamaGPUArgs(t *testing.T) {
	l := NewLlama(LlamaConfig{})
	two := []GPU{{Pool: "gpu0", Device: "GPU-a"}, {Pool: "gpu3", Device: "GPU-d"}}
	for name, tt := range map[string]struct {
		r    reading
		gpus []GPU
		want string
	}{
		"none":            {reading{layers: allLayers}, nil, ""},
		"one":             {reading{layers: allLayers}, two[:1], "--n-gpu-layers 999"},
		"two":             {reading{layers: 20}, two, "--n-gpu-layers 20 --tensor-split 1,1 --split-mode layer"},
		"as the spec has": {reading{layers: allLayers, split: true, flags: []string{"--split-mode", "row", "--tensor-split", "3,1"}}, two, "--n-gpu-layers 999"},
	} {
		if got := strings.Join(l.gpuArgs(tt.r, tt.gpus), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := cudaEnv(two); !slices.Equal(got, []string{"CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=GPU-a,GPU-d"}) {
		t.Errorf("environment %q", got)
	}
	if got := cudaEnv(nil); got[1] != "CUDA_VISIBLE_DEVICES=" {
		t.Errorf("an engine without GPUs sees %q", got)
	}
}

func TestUsesGPUs(t *testing.T) {
	for name, tt := range map[string]struct {
		devices string
		want    bool
	}{
		"CUDA":      {"ggml_cuda_init: found 1 CUDA devices:\nAvailable devices:\n  CUDA0: NVIDIA H100 80GB HBM3 (81089 MiB, 80000 MiB free)", true},
		"none":      {"Available devices:", false},
		"CPU":       {"Available devices:\n  CPU: a processor (100 MiB)\n  BLAS: OpenBLAS (0 MiB)", false},
		"no list":   {"error: unknown argument", false},
		"old build": {"", false},
	} {
		script := filepath.Join(t.TempDir(), "llama-server")
		text := "#!/bin/sh\nif [ \"$1\" = --help ]; then echo '  --list-devices  print'; else cat <<'X'\n" + tt.devices + "\nX\nfi\n"
		if tt.devices == "" {
			text = "#!/bin/sh\necho usage\n"
		}
		if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		if got := NewProgram(script).usesGPUs(t.Context()); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
