package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// ollamaAt plans a model for an Ollama that runs and connects to it.
func ollamaAt(t *testing.T, fake *fakeOllama, m Model, change func(*OllamaConfig)) Engine {
	t.Helper()
	cfg := OllamaConfig{URL: localURL(serve(t, fake)) + "/", Slots: 2, Queue: 8, Clock: clock.Real()}
	if change != nil {
		change(&cfg)
	}
	plan, err := NewOllama(cfg).Plan(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Command != nil || len(plan.MemoryBytes) != 0 {
		t.Errorf("plan %+v", plan)
	}
	e := plan.Connect(0)
	t.Cleanup(e.Close)
	return e
}

func ollamaSpec(model string, tokens int32) Model {
	spec := chatSpec(KindOllama, tokens)
	if model != "" {
		spec.Parameters = map[string]string{"model": model}
	}
	return Model{Name: "m@v1", Spec: spec}
}

func awaitHealthy(t *testing.T, e Engine) {
	t.Helper()
	eventually(t, "the model is prepared", func() bool { return e.Health(t.Context()) == nil })
}

func TestOllamaPullsAndMakesModels(t *testing.T) {
	fake := newFakeOllama(512, "llama3.2:1b")
	e := ollamaAt(t, fake, ollamaSpec("llama3.2:1b", 512), func(c *OllamaConfig) { c.Pull = true })
	awaitHealthy(t, e)
	made := ollamaModel{from: "llama3.2:1b", tokens: 512}.name()
	if got, want := fake.done(), []string{"pull llama3.2:1b", "create " + made, "generate " + made}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := fmt.Sprint(fake.models[made]); got != "map[files:[] from:llama3.2:1b parameters:map[num_ctx:512]]" {
		t.Errorf("made %s", got)
	}
	// One that others use keeps its own rule for how long a model stays.
	if keep := fake.loaded[made]; len(keep) > 0 {
		t.Errorf("told to keep it for %s", keep)
	}
	facts, err := e.Facts(t.Context())
	if err != nil || facts.ContextLength != 512 || facts.Dimensions != 0 {
		t.Errorf("facts %+v, %v", facts, err)
	}
	// What is there is neither pulled nor made again.
	again := ollamaAt(t, fake, ollamaSpec("llama3.2:1b", 512), nil)
	awaitHealthy(t, again)
	if n := len(fake.done()); n != 4 {
		t.Errorf("calls %q", fake.done())
	}
}

func TestOllamaIsGivenFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.gguf")
	content := []byte("GGUF, as far as the fake can tell")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	m := ollamaSpec("", 0)
	m.Files = []File{{Role: RoleWeights, Path: path, SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(content))}}
	fake := newFakeOllama(512)
	awaitHealthy(t, ollamaAt(t, fake, m, nil))
	made := ollamaModel{files: m.Files}.name()
	if got, want := fake.done(), []string{"blob", "create " + made, "generate " + made}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if other := (ollamaModel{files: m.Files, tokens: 9}).name(); other == made {
		t.Error("another context has the same name")
	}
}

// A failure is told, and another try is made only after a pause.
func TestOllamaPreparationFails(t *testing.T) {
	for name, tt := range map[string]struct {
		pull   bool
		broken string
		model  string
		want   string
	}{
		"not pulled here": {false, "", "llama3.2:1b", "this worker pulls none"},
		"not in library":  {true, "", "nobody/nothing", "file does not exist"},
		"cannot be made":  {true, "no space left on device", "llama3.2:1b", "no space left on device"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeOllama(512, "llama3.2:1b")
			fake.broken = tt.broken
			now := clock.NewFake(time.Unix(1000, 0))
			e := ollamaAt(t, fake, ollamaSpec(tt.model, 512), func(c *OllamaConfig) { c.Pull, c.Clock = tt.pull, now })
			failed := func() bool {
				err := e.Health(t.Context())
				if err == nil {
					t.Fatal("it is healthy")
				}
				return strings.Contains(err.Error(), tt.want) || strings.Contains(fmt.Sprint(apierr.From(err).Unwrap()), tt.want)
			}
			eventually(t, "the failure is told", failed)
			calls := len(fake.done())
			for range 20 {
				failed()
			}
			if n := len(fake.done()); n != calls {
				t.Errorf("%d more calls at once", n-calls)
			}
			fake.mu.Lock()
			fake.broken, fake.library[tt.model] = "", true
			fake.models[tt.model] = nil
			fake.mu.Unlock()
			now.Advance(prepareAgain)
			awaitHealthy(t, e)
		})
	}
}

func TestOllamaPlan(t *testing.T) {
	program := thisProgram(t)
	cfg := OllamaConfig{Program: program, ModelsDir: "/models", Slots: 3, Queue: 8, CPU: true, Clock: clock.Real()}
	m := ollamaSpec("llama3.2:1b", 512)
	if _, err := NewOllama(cfg).Plan(t.Context(), m); apierr.From(err) == nil || apierr.From(err).Field != "spec.parameters.memory-bytes" {
		t.Errorf("a model of unknown size: %v", err)
	}
	m.Spec.Parameters["memory-bytes"] = "1000000000"
	plan, err := NewOllama(cfg).Plan(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Join(plan.Command.Environment(77), " ")
	for _, want := range []string{"OLLAMA_HOST=127.0.0.1:77", "OLLAMA_NUM_PARALLEL=3", "OLLAMA_MODELS=/models", "OLLAMA_KEEP_ALIVE=-1", "OLLAMA_NOPRUNE=1"} {
		if !strings.Contains(env, want) {
			t.Errorf("%s is not in %s", want, env)
		}
	}
	if args := plan.Command.Args(77); !slices.Equal(args, []string{"serve"}) || plan.MemoryBytes[PoolCPU] != 1000000000 || plan.MaxInFlight != 11 {
		t.Errorf("args %q, plan %+v", args, plan)
	}
	for _, bad := range []string{"--help", "a b", "../../etc/passwd", "http://x/y", "a:b:c", "a/b/c/d/e", "", "x\n"} {
		m.Spec.Parameters["model"] = bad
		if _, err := NewOllama(cfg).Plan(t.Context(), m); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("model %q: %v", bad, err)
		}
	}
	m.Spec.Parameters = map[string]string{"model": "m", "num_ctx": "9", "memory-bytes": "1"}
	if _, err := NewOllama(cfg).Plan(t.Context(), m); apierr.From(err) == nil || apierr.From(err).Field != "spec.parameters.num_ctx" {
		t.Errorf("two contexts: %v", err)
	}
}

func TestOllamaEmbeds(t *testing.T) {
	fake := newFakeOllama(512, "all-minilm")
	m := ollamaSpec("all-minilm", 0)
	m.Spec.Task = commonv1.Task_TASK_EMBEDDING
	e := ollamaAt(t, fake, m, func(c *OllamaConfig) { c.Pull = true })
	awaitHealthy(t, e)
	if got := fake.done(); !slices.Equal(got, []string{"pull all-minilm", "embed all-minilm"}) {
		t.Errorf("calls %q", got)
	}
	if facts, err := e.Facts(t.Context()); err != nil || facts.Dimensions != 2048 {
		t.Errorf("facts %+v, %v", facts, err)
	}
}
