package engine

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// LlamaConfig is how llama-server is started.
type LlamaConfig struct {
	Program *Program
	// Slots and Context are what a spec that does not say gets; Context is of
	// one slot, in tokens, and bounded by what the model was trained for.
	Slots, Context int
	// Queue is how many requests may wait in the engine.
	Queue int
	// ExtraParameters are allowed besides the known ones: flags that take a plain
	// word, or none when `:switch` follows the name.
	ExtraParameters []string
	// GPULayers is how many layers are put on GPUs, where there are some, when the
	// spec does not say; -1 is all.
	GPULayers int
}

// Llama is llama.cpp's llama-server.
type Llama struct{ cfg LlamaConfig }

// NewLlama returns the adapter.
func NewLlama(cfg LlamaConfig) *Llama { return &Llama{cfg} }

// Kind is llama-server.
func (*Llama) Kind() string { return KindLlamaServer }

// Available looks for the program.
func (l *Llama) Available() error {
	_, err := l.cfg.Program.Path()
	return err
}

const (
	llamaSpareThreads = 8
	maxSlots          = 1024
	// llama.cpp's server closes kept connections after five seconds.
	llamaIdle = 3 * time.Second
)

// Plan starts llama-server with the context of all slots together.
func (l *Llama) Plan(ctx context.Context, m Model) (*Plan, error) {
	path, err := l.cfg.Program.Path()
	if err != nil {
		return nil, unavailable(l.Kind(), err)
	}
	r, err := l.read(m)
	if err != nil {
		return nil, err
	}
	extras, err := l.extras(ctx, m)
	if err != nil {
		return nil, err
	}
	args := l.args(ctx, m, r.weights, r.slots, r.tokens)
	args = slices.Concat(l.cfg.Program.first(), args, extras, l.gpuArgs(r, m.GPUs), r.flags, l.cfg.Program.stdinFlag(ctx))
	memory := r.info.memory(r.slots, r.tokens)
	switch {
	case len(m.GPUs) > 0:
		memory = r.info.size(r.slots, r.tokens, r.layers).On(m.GPUs)
	case r.explicit && r.layers != 0:
		return nil, apierr.New(apierr.FailedPrecondition, "the version asks for %s layers on a GPU, and this worker has no GPU that its llama-server can use",
			m.Spec.GetParameters()[parameterGPULayers])
	}
	return &Plan{
		Command: &Command{
			Path: path, Env: cudaEnv(m.GPUs),
			Args: func(port int) []string { return append(slices.Clone(args), "--port", strconv.Itoa(port)) },
		},
		Connect:     func(port int) Engine { return newLlamaEngine(l.dialect(m, port, r.prefixes), r.slots) },
		Slots:       r.slots,
		MaxInFlight: r.slots + l.cfg.Queue, ContextLength: r.tokens,
		MemoryBytes: memory,
	}, nil
}

func (l *Llama) args(ctx context.Context, m Model, weights File, slots, tokens int) []string {
	args := []string{
		"--model", weights.Path, "--alias", m.Name, "--host", "127.0.0.1",
		"--ctx-size", strconv.Itoa(tokens * slots), "--parallel", strconv.Itoa(slots), "--metrics",
		// Every open request holds one HTTP thread, and each answer of a request for
		// several; health checks need one too.
		"--threads-http", strconv.Itoa(2*slots + l.cfg.Queue + llamaSpareThreads),
	}
	chats := false
	switch m.Spec.GetTask() {
	case commonv1.Task_TASK_EMBEDDING:
		args = append(args, "--embedding")
	case commonv1.Task_TASK_RERANK:
		// What llama-server calls --reranking, in the words of all its builds.
		args = append(args, "--embedding", "--pooling", "rank")
	case commonv1.Task_TASK_CHAT, commonv1.Task_TASK_TENSOR, commonv1.Task_TASK_UNSPECIFIED:
		chats = true
	}
	if _, set := m.Spec.GetParameters()["cache-ram"]; !set && l.cfg.Program.knows(ctx, "cache-ram") {
		args = append(args, "--cache-ram", "256") // MiB; llama.cpp's own 8 GiB is more than is planned for
	}
	if _, set := m.Spec.GetParameters()["jinja"]; !set && chats && l.cfg.Program.knows(ctx, "jinja") {
		args = append(args, "--jinja") // tools need it; builds differ in the default
	}
	for _, f := range m.Files {
		if f.Role == RoleProjector {
			args = append(args, "--mmproj", f.Path)
		}
	}
	return args
}

func (l *Llama) dialect(m Model, port int, prefixes map[string]string) dialect {
	base := localURL(port)
	return dialect{
		base: base + "/v1", health: base + "/health", model: m.Name, idle: llamaIdle,
		running: tellsTimings, prefill: prefillTrailing, impossible: m.Impossible,
		embed:    embedDialect{batch: 32, tokens: true, dimensions: int(m.Spec.GetEmbeddingDimensions()), prefixes: prefixes},
		rerank:   rerankDialect{batch: 32},
		facts:    func(ctx context.Context, c *client) (Facts, error) { return llamaFacts(ctx, c, base) },
		signals:  func(ctx context.Context, c *client) (Signals, error) { return llamaSignals(ctx, c, base) },
		tokenize: func(ctx context.Context, c *client, q question) (int, error) { return llamaCount(ctx, c, base, q) },
	}
}

func llamaFacts(ctx context.Context, c *client, base string) (Facts, error) {
	body, err := c.get(ctx, base+"/props")
	if err != nil {
		return Facts{}, err
	}
	var props struct {
		TotalSlots int `json:"total_slots"`
		Defaults   struct {
			Context int `json:"n_ctx"`
		} `json:"default_generation_settings"`
		// Older builds tell nothing of it, and have a form of their own for models
		// whose template knows no tools.
		Template *struct {
			Tools bool `json:"supports_tools"`
			Calls bool `json:"supports_tool_calls"`
		} `json:"chat_template_caps"`
	}
	if err := json.Unmarshal(body, &props); err != nil {
		return Facts{}, apierr.Wrap(apierr.EngineFailed, err, "the engine's properties cannot be read")
	}
	return Facts{
		Slots: props.TotalSlots, ContextLength: props.Defaults.Context,
		NoTools: props.Template != nil && !props.Template.Tools && !props.Template.Calls,
	}, nil
}

// weightsOf returns the one file of weights, or the first of several parts.
func weightsOf(m Model) (File, error) {
	for _, f := range m.Files {
		if f.Role == RoleWeights {
			return f, nil
		}
	}
	return File{}, apierr.Invalid("spec.artifacts", "engine %s needs an artifact with the weights", m.Spec.GetEngine())
}

func unavailable(kind string, err error) error {
	return apierr.Wrap(apierr.FailedPrecondition, err, "engine %s is not installed on this worker", kind)
}

// The parameters that say what a model wants before a query and a passage. They
// are the worker's own: engines are not told.
const (
	parameterQueryPrefix   = "query-prefix"
	parameterPassagePrefix = "passage-prefix"
)

func prefixesOf(p *parameters) map[string]string {
	return map[string]string{
		"query": p.text(parameterQueryPrefix, ""), "passage": p.text(parameterPassagePrefix, ""),
	}
}
