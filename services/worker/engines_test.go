package worker_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// artifactOf writes a file and describes it.
func artifactOf(t *testing.T, dir, name, role, content string) *commonv1.Artifact {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	return &commonv1.Artifact{Uri: "file://" + path, Sha256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(content)), Role: role}
}

// The worker starts vLLM (the simulator, by vLLM's command line), counts with
// its tokeniser and tells its load.
func TestVLLMThroughAProcess(t *testing.T) {
	cfg := testConfig(t)
	cfg.Engines.VLLM.Path, cfg.Engines.VLLM.CPU = os.Args[0], true
	r := run(t, cfg)
	dir := t.TempDir()
	r.load("a", &commonv1.ModelSpec{
		Task: commonv1.Task_TASK_CHAT, Engine: "vllm", ContextLength: 4096, Parameters: map[string]string{"max-num-seqs": "5"},
		Artifacts: []*commonv1.Artifact{
			artifactOf(t, dir, "model.safetensors", "weights", "weights, as far as the simulator can tell"),
			artifactOf(t, dir, "tokenizer.json", "tokenizer", "{}"),
		},
	})
	resp, err := r.client.Invoke(t.Context(), chatRequest("a", `,"max_tokens":7,"n_predict":90,"ignore_eos":true`))
	if err != nil || resp.GetUsage().GetCompletionTokens() != 7 {
		t.Fatalf("got %v, %v", resp.GetUsage(), err)
	}
	ask := chatRequest("a", "")
	count, err := r.client.Tokenize(t.Context(), &workerv1.TokenizeRequest{Digest: ask.GetDigest(), Operation: ask.GetOperation(), Body: ask.GetBody()})
	if err != nil || count.GetPromptTokens() != resp.GetUsage().GetPromptTokens() || count.GetContextLength() != 4096 {
		t.Errorf("counted %v, %v; used %v", count, err, resp.GetUsage())
	}
	m := r.await("a", "read twice", func(m *workerv1.LoadedModel) bool { return m.PromptTokensPerSecond != nil })
	if m.EngineRunning == nil || m.EngineWaiting == nil || m.KvCacheUsage == nil || m.GenerationTokensPerSecond == nil || m.GetEngineReadTime() == nil {
		t.Errorf("told %v", m)
	}
	if m.GetEngineRunning() != 0 || m.GetKvCacheUsage() != 0 || m.GetSlots() != 5 {
		t.Errorf("an idle engine: %v", m)
	}
}

// An endpoint has its own key, time and price; the price is told upward, and
// the key to nobody.
func TestEndpointOfItsOwn(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.Header.Get("Authorization") != "Bearer sk-secret":
			w.WriteHeader(http.StatusUnauthorized)
		case req.URL.Path == "/v1/models":
			fmt.Fprint(w, `{"data":[]}`)
		default:
			_, _ = io.Copy(io.Discard, req.Body) // until then a client that leaves is not seen
			<-req.Context().Done()
		}
	}))
	defer provider.Close()
	file := filepath.Join(t.TempDir(), "worker.yaml")
	text := `engines:
  openai:
    endpoints:
      default:
        base_url: ` + provider.URL + `/v1
        api_key: sk-secret
        timeout: 50ms
        price: {currency: USD, input: 0.15, output: 0.6, cached_input: 0.075}
      free:
        base_url: ` + provider.URL + `/v1
        api_key: sk-secret
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	if err := config.Load(cfg, config.Sources{File: file}); err != nil {
		t.Fatal(err)
	}
	r := run(t, cfg)
	r.load("a", &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "openai"})
	r.load("b", &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "openai", Parameters: map[string]string{"endpoint": "free"}})
	_, err := r.client.Invoke(t.Context(), chatRequest("a", ""))
	if e := apierr.From(err); e == nil || e.Reason != apierr.DeadlineExceeded || !strings.Contains(e.Message, "50ms") {
		t.Errorf("a provider that does not answer: %v", err)
	}
	stream, err := r.client.InvokeStream(t.Context(), chatRequest("a", ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recvAll(stream); apierr.ReasonOf(err) != apierr.DeadlineExceeded {
		t.Errorf("streamed: %v", err)
	}
	ask := chatRequest("a", "")
	_, err = r.client.Tokenize(t.Context(), &workerv1.TokenizeRequest{Digest: ask.GetDigest(), Operation: ask.GetOperation(), Body: ask.GetBody()})
	if apierr.ReasonOf(err) != apierr.Unimplemented {
		t.Errorf("a provider's tokeniser: %v", err)
	}
	m := r.await("a", "there", func(m *workerv1.LoadedModel) bool { return m != nil })
	want := &workerv1.TokenPrice{Currency: "USD", InputMicros: 150000, CachedInputMicros: 75000, OutputMicros: 600000}
	if p := m.GetPrice(); p.String() != want.String() || m.EngineRunning != nil || m.GetEngineReadTime() != nil {
		t.Errorf("told %v", m)
	}
	if strings.Contains(m.String(), "sk-secret") {
		t.Errorf("the key is told: %v", m)
	}
	if free := r.await("b", "there", func(m *workerv1.LoadedModel) bool { return m != nil }); free.GetPrice() != nil {
		t.Errorf("a price that nobody set: %v", free)
	}
}
