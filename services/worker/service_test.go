package worker_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker"
)

func TestChatThroughAProcess(t *testing.T) {
	r := run(t, testConfig(t))
	r.load("a", simSpec(nil))
	resp, err := r.client.Invoke(t.Context(), chatRequest("a", `,"max_tokens":5,"x_odd":1.50e0,"sim":{"echo":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if text := answer(t, resp.GetBody()); !strings.HasPrefix(text, "[sim] ") || resp.GetUsage().GetCompletionTokens() != 5 {
		t.Errorf("answer %q, usage %v", text, resp.GetUsage())
	}
	if !bytes.Contains(resp.GetBody(), []byte(`"x_odd":1.50e0`)) {
		t.Errorf("a parameter did not reach the engine as it was: %s", resp.GetBody())
	}
	embeds := &commonv1.ModelSpec{Task: commonv1.Task_TASK_EMBEDDING, Engine: "sim", EmbeddingDimensions: 48}
	r.load("b", embeds)
	out, err := r.client.Embed(t.Context(), &workerv1.EmbedRequest{Digest: digest("b"), Inputs: []*workerv1.EmbedInput{
		{Input: &workerv1.EmbedInput_Text{Text: "a gate"}}, {Input: &workerv1.EmbedInput_Tokens{Tokens: &workerv1.TokenIds{Ids: []int32{1, 2}}}},
	}})
	if err != nil || len(out.GetEmbeddings()) != 2 || len(out.GetEmbeddings()[1].GetValues()) != 48 {
		t.Errorf("got %v, %v", out, err)
	}
}

func recvAll(stream interface {
	Recv() (*workerv1.InvokeStreamResponse, error)
},
) (events []*workerv1.InvokeStreamResponse, err error) {
	for {
		ev, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		events = append(events, ev)
	}
}

func TestStreamThroughAProcess(t *testing.T) {
	r := run(t, testConfig(t))
	r.load("a", simSpec(nil))
	stream, err := r.client.InvokeStream(t.Context(), chatRequest("a", `,"max_tokens":5`))
	if err != nil {
		t.Fatal(err)
	}
	events, err := recvAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	// Accepted, the role, five tokens, the end.
	if len(events) != 8 || events[0].GetAccepted() == nil || events[7].GetFinish().GetUsage().GetCompletionTokens() != 5 {
		t.Errorf("events %v", events)
	}
}

func TestStreamThatIsCut(t *testing.T) {
	r := run(t, testConfig(t))
	r.load("a", simSpec(nil))
	stream, err := r.client.InvokeStream(t.Context(), chatRequest("a", `,"sim":{"disconnect_after":3}`))
	if err != nil {
		t.Fatal(err)
	}
	events, err := recvAll(stream)
	if apierr.ReasonOf(err) != apierr.EngineFailed || len(events) != 4 {
		t.Errorf("got %v after %d events", err, len(events))
	}
}

// enginePIDs returns the engines that run, from the notes about them.
func (r *rig) enginePIDs() []int {
	r.Helper()
	notes, err := filepath.Glob(filepath.Join(r.cfg.StateDir, "engines", "*.json"))
	if err != nil {
		r.Fatal(err)
	}
	var pids []int
	for _, note := range notes {
		pid, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(note), ".json"))
		if err != nil {
			r.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// An engine that is killed ends its streams with a typed error within a second,
// and is there again soon.
func TestEngineIsKilled(t *testing.T) {
	r := run(t, testConfig(t))
	r.load("a", simSpec(map[string]string{"decode-rate": "20"}))
	stream, err := r.client.InvokeStream(t.Context(), chatRequest("a", `,"max_tokens":2000,"ignore_eos":true`))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	pids := r.enginePIDs()
	if len(pids) != 1 {
		t.Fatalf("engines %v", pids)
	}
	killed := time.Now()
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := recvAll(stream); apierr.ReasonOf(err) != apierr.EngineFailed {
		t.Errorf("the stream ended with %v", err)
	}
	if took := time.Since(killed); took > time.Second {
		t.Errorf("it ended after %v", took)
	}
	// Who comes now is not held to have been there.
	_, err = r.client.Invoke(t.Context(), chatRequest("a", `,"max_tokens":2`))
	if e := apierr.From(err); e == nil || e.Reason != apierr.Unavailable || e.Metadata["engine_away"] != "true" || e.Metadata["engine_ended"] != "" {
		t.Errorf("while there is none: %v, %v", err, e)
	}
	m := r.await("a", "restarted", func(m *workerv1.LoadedModel) bool {
		return m.GetRestarts() == 1 && m.GetState() == workerv1.ModelState_MODEL_STATE_READY
	})
	if m.GetError() != "" {
		t.Errorf("error %q", m.GetError())
	}
	if _, err := r.client.Invoke(t.Context(), chatRequest("a", `,"max_tokens":2`)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestEngineThatCannotStart(t *testing.T) {
	r := run(t, testConfig(t))
	// What an engine would not start with is refused before it is tried.
	_, err := r.client.LoadModel(t.Context(), &workerv1.LoadModelRequest{
		Digest: digest("b"), Name: "broken", Spec: simSpec(map[string]string{"hang": "--host=0.0.0.0"}),
	})
	if e := apierr.From(err); e.Reason != apierr.InvalidArgument || e.Field != "spec.parameters.hang" {
		t.Fatalf("a flag within a value: %v", err)
	}
	spec := simSpec(nil)
	spec.EmbeddingDimensions = 65536
	if _, err = r.client.LoadModel(t.Context(), &workerv1.LoadModelRequest{Digest: digest("a"), Name: "broken", Spec: spec}); err != nil {
		t.Fatal(err)
	}
	m := r.await("a", "failed", func(m *workerv1.LoadedModel) bool { return m.GetState() == workerv1.ModelState_MODEL_STATE_FAILED })
	if !strings.Contains(m.GetError(), "exit code 2") || !strings.Contains(m.GetError(), "dimensions") {
		t.Errorf("error %q", m.GetError())
	}
	if _, err := r.client.UnloadModel(t.Context(), &workerv1.UnloadModelRequest{Digest: digest("a")}); err != nil {
		t.Fatal(err)
	}
	r.await("a", "gone", func(m *workerv1.LoadedModel) bool { return m == nil })
}

func TestWrongContentIsRefused(t *testing.T) {
	r := run(t, testConfig(t))
	file := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(file, []byte("not what was asked for"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := simSpec(nil)
	spec.Artifacts = []*commonv1.Artifact{{Uri: "file://" + file, Sha256: strings.Repeat("0", 64), SizeBytes: 22}}
	if _, err := r.client.LoadModel(t.Context(), &workerv1.LoadModelRequest{Digest: digest("a"), Name: "m", Spec: spec}); err != nil {
		t.Fatal(err)
	}
	m := r.await("a", "failed", func(m *workerv1.LoadedModel) bool { return m.GetState() == workerv1.ModelState_MODEL_STATE_FAILED })
	if !strings.Contains(m.GetError(), "does not have the SHA-256") || len(r.enginePIDs()) != 0 {
		t.Errorf("error %q, engines %v", m.GetError(), r.enginePIDs())
	}
}

// At the end the worker leaves discovery first, lets what is in flight end, and
// leaves no engine behind.
func TestEnd(t *testing.T) {
	r := run(t, testConfig(t))
	r.load("a", simSpec(map[string]string{"decode-rate": "100"}))
	instances := r.discovery.Watch(t.Context(), worker.ServiceName)
	if set := <-instances; len(set) != 1 || set[0].Addr != r.cfg.GRPC.Addr || set[0].Meta["worker_id"] != r.service.ID() {
		t.Fatalf("discovery %v", set)
	}
	states, err := r.client.WatchState(t.Context(), &workerv1.WatchStateRequest{})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := r.client.InvokeStream(t.Context(), chatRequest("a", `,"max_tokens":60,"ignore_eos":true`))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	pids := r.enginePIDs()
	r.stop()
	if set := <-instances; len(set) != 0 {
		t.Errorf("discovery %v", set)
	}
	events, err := recvAll(stream)
	if err != nil || events[len(events)-1].GetFinish().GetUsage().GetCompletionTokens() != 60 {
		t.Errorf("what was in flight: %v, %d events", err, len(events))
	}
	draining := false
	for {
		resp, err := states.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("the stream of state ended with %v", err)
			}
			break
		}
		draining = resp.GetState().GetDraining()
	}
	if !draining {
		t.Error("the last state does not say that the worker drains")
	}
	if err := <-r.done; err != nil {
		t.Errorf("run: %v", err)
	}
	r.done <- nil
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("engine %d is still there: %v", pid, err)
		}
	}
}

func TestRequestsAreValidated(t *testing.T) {
	r := run(t, testConfig(t))
	_, err := r.client.LoadModel(t.Context(), &workerv1.LoadModelRequest{Digest: "sha256:x"})
	e := apierr.From(err)
	if e.Reason != apierr.InvalidArgument || len(e.Violations) < 2 {
		t.Errorf("got %v, %v", err, e.Violations)
	}
	if _, err := r.client.Embed(t.Context(), &workerv1.EmbedRequest{Digest: digest("a")}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("nothing to embed: %v", err)
	}
	want := []string{grpcserver.NameRecover, grpcserver.NameRequestID, grpcserver.NameTelemetry, grpcserver.NameErrors, identity.Name, grpcserver.NameValidate}
	if got := r.service.Interceptors().Names(); strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("interceptors %q", got)
	}
}

func TestTheIDIsKept(t *testing.T) {
	cfg := testConfig(t)
	id := func() string {
		t.Helper()
		r := run(t, cfg)
		r.stop()
		if err := <-r.done; err != nil {
			t.Fatal(err)
		}
		r.done <- nil
		return r.service.ID()
	}
	if a, b := id(), id(); a != b || a == "" {
		t.Errorf("ids %q and %q", a, b)
	}
	cfg.ID = "box-7"
	if got := id(); got != "box-7" {
		t.Errorf("id %q", got)
	}
}

func TestOneWorkerForOneStateDirectory(t *testing.T) {
	r := run(t, testConfig(t))
	if _, err := worker.New(t.Context(), *r.cfg); err == nil || !strings.Contains(err.Error(), "another worker uses this directory") {
		t.Errorf("got %v", err)
	}
}

func TestConfig(t *testing.T) {
	cfg := worker.DefaultConfig()
	if err := cfg.Complete(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	cfg.ID, cfg.StateDir, cfg.MaxModels, cfg.Memory.Limit = "a b", "", 0, -1
	cfg.Memory.GPUs = map[string]config.Bytes{"card": 1}
	cfg.Artifacts.Roots = []string{"models"}
	cfg.Engines.Sim.Queue, cfg.Engines.LlamaServer.Slots = -1, 0
	cfg.Engines.OpenAI.Endpoints = map[string]worker.Endpoint{"x": {
		BaseURL: "ftp://user:pass@host", APIKey: "sk-secret", Timeout: -1, Price: worker.Price{Currency: "usd", Input: 0.0000001, Output: -1},
	}}
	cfg.Engines.VLLM.Slots, cfg.Engines.SGLang.ExtraParameters, cfg.Engines.Ollama.URL = 0, []string{"--host"}, "localhost"
	cfg.Engines.Ollama.ModelsDir, cfg.Signals.Interval, cfg.Signals.Timeout = "models", time.Millisecond, 0
	cfg.Supervision.HealthFailures = 0
	cfg.Embedding.Linger, cfg.Embedding.QueueBytes = -1, cfg.Embedding.MaxBytes-1
	err := cfg.Complete()
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, key := range []string{
		"id:", "state_dir:", "max_models:", "memory.limit:", "memory.gpus.card:", "artifacts.roots:", "engines.sim.queue:",
		"engines.llama_server.slots:", "engines.openai.endpoints.x.base_url:", "engines.openai.endpoints.x.timeout:",
		"engines.openai.endpoints.x.price.currency:", "engines.openai.endpoints.x.price.input:", "engines.openai.endpoints.x.price.output:",
		"engines.vllm.slots:", "engines.sglang.extra_parameters:", "engines.ollama.url:", "engines.ollama.models_dir:",
		"signals.interval:", "signals.timeout:", "supervision.health_failures:",
		"embedding.linger:", "embedding.queue_bytes:",
	} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
	out, err := config.Marshal(cfg)
	if err != nil || bytes.Contains(out, []byte("sk-secret")) {
		t.Errorf("printed: %s, %v", out, err)
	}
}
