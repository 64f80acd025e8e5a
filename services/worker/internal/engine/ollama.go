package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// OllamaConfig is how Ollama is started or found.
type OllamaConfig struct {
	// Program is started for each model, unless URL says where an Ollama runs
	// already that all models share.
	Program *Program
	URL     string
	// ModelsDir is where a started Ollama keeps models; empty is its own choice.
	ModelsDir string
	// Pull allows specs to name a model of Ollama's library (parameter model) that
	// is not there yet. The version's digest does not cover it.
	Pull bool
	// Slots is how many requests a model runs at once (OLLAMA_NUM_PARALLEL), and
	// Queue how many more may wait.
	Slots, Queue int
	// CPU says that it computes on the CPU; otherwise it is given GPUs.
	CPU   bool
	Clock clock.Clock
}

// Ollama is Ollama's server. Its models are its own: the spec's files are given
// to it, or it has or pulls them.
type Ollama struct{ cfg OllamaConfig }

// NewOllama returns the adapter.
func NewOllama(cfg OllamaConfig) *Ollama {
	cfg.URL = strings.TrimRight(cfg.URL, "/")
	return &Ollama{cfg}
}

// Kind is ollama.
func (*Ollama) Kind() string { return KindOllama }

// Available looks for the program; one that runs elsewhere is taken to be there.
func (o *Ollama) Available() error {
	if o.cfg.URL != "" {
		return nil
	}
	_, err := o.cfg.Program.Path()
	return err
}

// libraryModel is a name in Ollama's library, such as llama3.2:1b or
// hf.co/owner/name:Q4_K_M.
var libraryModel = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,3}(:[A-Za-z0-9][A-Za-z0-9._-]*)?$`)

// ollamaModel is what Ollama is to have before it serves.
type ollamaModel struct {
	// serve is the model that requests name.
	serve string
	// from is a model that Ollama has or pulls; empty when files make it.
	from  string
	files []File
	// tokens is the context of a request; 0 leaves it to Ollama.
	tokens int
}

// made reports whether serve is made from something else.
func (m ollamaModel) made() bool { return m.serve != m.from }

// Plan starts an Ollama, or uses the one that runs, and prepares the model.
func (o *Ollama) Plan(_ context.Context, m Model) (*Plan, error) {
	if m.Spec.GetTask() == commonv1.Task_TASK_RERANK {
		return nil, apierr.Invalid("spec.task", "engine ollama does not score documents")
	}
	p := newParameters(m.Spec.GetParameters())
	slots := p.number("slots", o.cfg.Slots, maxSlots)
	tokens := p.context("num_ctx", m)
	model, err := o.modelOf(m, p, tokens)
	if err != nil {
		return nil, err
	}
	declared := p.size(parameterMemory)
	prefixes := prefixesOf(p)
	p.flags(nil, joined)
	if err := p.problem(); err != nil {
		return nil, err
	}
	plan := &Plan{Slots: slots, MaxInFlight: slots + o.cfg.Queue, ContextLength: tokens}
	if o.cfg.URL == "" {
		if plan.Command, err = o.command(slots, m.GPUs); err != nil {
			return nil, err
		}
		if plan.MemoryBytes, err = o.memory(m, declared, slots, tokens); err != nil {
			return nil, err
		}
	}
	plan.Connect = func(port int) Engine {
		root := o.cfg.URL
		if root == "" {
			root = localURL(port)
		}
		return o.connect(root, m, model, prefixes)
	}
	return plan, nil
}

func (o *Ollama) modelOf(m Model, p *parameters, tokens int) (ollamaModel, error) {
	out := ollamaModel{from: p.text("model", ""), tokens: tokens}
	switch {
	case len(m.Files) > 0 && out.from != "":
		p.fail("model", "cannot be given besides artifacts")
	case len(m.Files) > 0:
		if _, err := weightsOf(m); err != nil {
			return ollamaModel{}, err
		}
		out.files = m.Files
	case out.from == "":
		return ollamaModel{}, apierr.Invalid("spec.artifacts", "engine ollama needs the model's files as artifacts, or the parameter model")
	case len(out.from) > 255 || !libraryModel.MatchString(out.from):
		p.fail("model", "must be a name in Ollama's library, such as llama3.2:1b")
	}
	out.serve = out.from
	if len(out.files) > 0 || tokens > 0 {
		out.serve = out.name()
	}
	return out, nil
}

// name is that of the model that is made: the same for the same files and
// context, so that it is made once.
func (m ollamaModel) name() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d", m.from, m.tokens)
	for _, f := range m.files {
		fmt.Fprintf(h, " %q %s", filepath.Base(f.Path), f.SHA256)
	}
	return "poterne-" + hex.EncodeToString(h.Sum(nil)[:8])
}

// command starts Ollama, which has no flags (envconfig/config.go).
func (o *Ollama) command(slots int, gpus []GPU) (*Command, error) {
	path, err := o.cfg.Program.Path()
	if err != nil {
		return nil, unavailable(o.Kind(), err)
	}
	env := []string{
		"OLLAMA_NUM_PARALLEL=" + strconv.Itoa(slots), "OLLAMA_MAX_LOADED_MODELS=1", "OLLAMA_KEEP_ALIVE=-1",
		// What waits is bounded by this worker, which tells its callers so.
		"OLLAMA_MAX_QUEUE=" + strconv.Itoa(slots+o.cfg.Queue+1),
		// Several of them share the directory: one that starts must not delete what
		// another is just fetching.
		"OLLAMA_NOPRUNE=1",
	}
	if o.cfg.ModelsDir != "" {
		env = append(env, "OLLAMA_MODELS="+o.cfg.ModelsDir)
	}
	env = append(env, cudaEnv(gpus)...)
	if len(gpus) > 1 {
		env = append(env, "OLLAMA_SCHED_SPREAD=1") // over all of them, in equal parts
	}
	args := append(slices.Clone(o.cfg.Program.first()), "serve")
	return &Command{Path: path, Args: func(int) []string { return args }, Env: env, ListenEnv: "OLLAMA_HOST"}, nil
}

const ollamaIdle = 90 * time.Second

func (o *Ollama) connect(root string, m Model, model ollamaModel, prefixes map[string]string) Engine {
	c := newClient(dialect{
		base: root + "/v1", health: root + "/api/version", model: model.serve, idle: ollamaIdle, oldLimit: true, impossible: m.Impossible,
		embed: embedDialect{batch: 64, shortens: true, dimensions: int(m.Spec.GetEmbeddingDimensions()), prefixes: prefixes},
		facts: func(ctx context.Context, c *client) (Facts, error) {
			f, err := ollamaFacts(ctx, c, root, model.serve)
			if m.Spec.GetTask() != commonv1.Task_TASK_EMBEDDING {
				f.Dimensions = 0 // those within the model
			}
			return f, err
		},
		signals: func(ctx context.Context, c *client) (Signals, error) {
			running, err := ollamaRunning(ctx, c, root, model.serve)
			if err != nil || running == nil || running.Size <= 0 {
				return Signals{}, err
			}
			return Signals{MemoryBytes: &running.Size}, nil
		},
	})
	return &ollamaEngine{client: c, prepare: newOllamaPreparation(c, root, m, model, o.cfg)}
}
