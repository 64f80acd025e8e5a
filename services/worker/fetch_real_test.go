//go:build real

package worker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/testkit"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker"
	"github.com/poterne/poterne/services/worker/internal/fetch"
)

// The environment variables of the stores' programs.
const (
	envRegistry  = "POTERNE_OCI_REGISTRY_BIN"
	envS3Gateway = "POTERNE_S3_GATEWAY_BIN"
)

// TestRealStores has a worker fetch a real model from a real registry and a real
// S3 server, each of which asks for credentials, and serve it.
func TestRealStores(t *testing.T) {
	weights, hash := variable(t, "POTERNE_WEIGHTS_CHAT"), variable(t, "POTERNE_WEIGHTS_CHAT_SHA256")
	info, err := os.Stat(weights)
	if err != nil {
		t.Fatal(err)
	}
	host := registry(t)
	push(t, host, weights, hash, info.Size())
	endpoint := s3(t, weights)
	for name, uri := range map[string]string{
		"oci by title":  "oci://" + host + "/llm/tiny:v1#model.gguf",
		"oci by digest": "oci://" + host + "/llm/tiny:v1",
		"s3":            "s3://models/llm/a%20model+1.gguf",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.Engines.LlamaServer = worker.DefaultConfig().Engines.LlamaServer
			cfg.Engines.LlamaServer.Path, cfg.Engines.LlamaServer.Slots = variable(t, "POTERNE_LLAMA_SERVER"), 2
			cfg.Supervision.HealthInterval = 5 * time.Second
			cfg.Artifacts.Cache.MinFree = 0
			cfg.Artifacts.Remote.Allow = []string{"oci://" + host + "/llm", "s3://models/llm"}
			cfg.Artifacts.Remote.OCI = map[string]fetch.Registry{host: {Username: "puller", Password: "s3cret"}}
			cfg.Artifacts.Remote.S3 = map[string]fetch.Bucket{"models": {Endpoint: endpoint, AccessKeyID: "AKTEST", SecretAccessKey: "s3cret-key"}}
			r := run(t, cfg)
			spec := &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "llama-server", ContextLength: 1024, Artifacts: []*commonv1.Artifact{
				{Uri: uri, Sha256: hash, SizeBytes: info.Size(), Name: "model.gguf"},
			}}
			r.load("a", spec)
			resp, err := r.client.Invoke(t.Context(), chatRequest("a", `,"max_tokens":8`))
			if err != nil || answer(t, resp.GetBody()) == "" {
				t.Fatalf("got %v, %v", resp, err)
			}
			t.Logf("the model said %q", answer(t, resp.GetBody()))
		})
	}
	t.Run("the end only", func(t *testing.T) {
		cfg := fetch.DefaultConfig()
		cfg.Allow = []string{"oci://" + host, "s3://models"}
		cfg.OCI = map[string]fetch.Registry{host: {Username: "puller", Password: "s3cret"}}
		cfg.S3 = map[string]fetch.Bucket{"models": {Endpoint: endpoint, AccessKeyID: "AKTEST", SecretAccessKey: "s3cret-key"}}
		const left = 1000
		f, err := os.Open(weights)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		want := make([]byte, left)
		if _, err := f.ReadAt(want, info.Size()-left); err != nil {
			t.Fatal(err)
		}
		for _, uri := range []string{"oci://" + host + "/llm/tiny:v1", "s3://models/llm/a%20model+1.gguf"} {
			ref, err := fetch.Parse(uri)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := fetch.New(cfg, clock.Real()).Open(t.Context(), fetch.Request{Ref: ref, SHA256: hash})
			if err != nil {
				t.Fatal(err)
			}
			_ = whole.Body.Close()
			c, err := fetch.New(cfg, clock.Real()).Open(t.Context(), fetch.Request{
				Ref: ref, SHA256: hash, Offset: info.Size() - left, Validator: whole.Validator,
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c.Body)
			_ = c.Body.Close()
			if err != nil || c.Offset != info.Size()-left || c.Size != info.Size() || !bytes.Equal(got, want) {
				t.Errorf("%s: %d of %d bytes from %d, %v", uri, len(got), c.Size, c.Offset, err)
			}
		}
	})
	t.Run("with the wrong password", func(t *testing.T) {
		cfg := fetch.DefaultConfig()
		cfg.Allow = []string{"oci://" + host, "s3://models"}
		cfg.OCI = map[string]fetch.Registry{host: {Username: "puller", Password: "wr0ng"}}
		cfg.S3 = map[string]fetch.Bucket{"models": {Endpoint: endpoint, AccessKeyID: "AKTEST", SecretAccessKey: "wr0ng"}}
		for uri, text := range map[string]string{"oci://" + host + "/llm/tiny:v1": "401", "s3://models/llm/a%20model+1.gguf": "403"} {
			ref, err := fetch.Parse(uri)
			if err != nil {
				t.Fatal(err)
			}
			_, err = fetch.New(cfg, clock.Real()).Open(t.Context(), fetch.Request{Ref: ref, SHA256: hash})
			if err == nil || fetch.KindOf(err) != fetch.Permanent || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("%s: %v", uri, err)
			}
		}
	})
}

// registry starts CNCF distribution's registry with one user.
func registry(t *testing.T) string {
	t.Helper()
	dir, addr := t.TempDir(), testkit.FreeAddr(t)
	// bcrypt of s3cret
	put(t, filepath.Join(dir, "users"), "puller:$2a$04$2CQNIQJObKkqEALt9NATpOF8kMhTdwaYsNyfKDsHaBT8lRR82gYkS\n")
	put(t, filepath.Join(dir, "config.yml"), fmt.Sprintf(`
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: %q}}
http: {addr: %q}
auth: {htpasswd: {realm: test, path: %q}}
`, filepath.Join(dir, "data"), addr, filepath.Join(dir, "users")))
	testkit.Start(t, testkit.Command{
		Name: "registry", Path: testkit.Binary(t, envRegistry, []string{"registry"}), Dir: dir,
		Args: []string{"serve", filepath.Join(dir, "config.yml")}, Ready: testkit.ReadyTCP(addr),
	})
	return addr
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// push uploads the weights and a manifest that names them, as ORAS does.
func push(t *testing.T, host, weights, hash string, size int64) {
	t.Helper()
	base := "http://" + host + "/v2/llm/tiny"
	call := func(method, url, kind string, body io.Reader, length int64, want int) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		req.Header.Set("Content-Type", kind)
		req.SetBasicAuth("puller", "s3cret")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != want {
			t.Fatalf("%s %s: %s %s", method, url, resp.Status, text)
		}
		return resp
	}
	upload := func(body io.Reader, digest string, length int64) {
		t.Helper()
		begun := call(http.MethodPost, base+"/blobs/uploads/", "application/octet-stream", http.NoBody, 0, http.StatusAccepted)
		place, err := begun.Location()
		if err != nil {
			t.Fatal(err)
		}
		q := place.Query()
		q.Set("digest", digest)
		place.RawQuery = q.Encode()
		call(http.MethodPut, place.String(), "application/octet-stream", body, length, http.StatusCreated)
	}
	f, err := os.Open(weights)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	upload(f, "sha256:"+hash, size)
	// The empty descriptor of the image specification.
	const empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	upload(strings.NewReader("{}"), empty, 2)
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": "application/vnd.example.model",
		"config": map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
		"layers": []any{map[string]any{
			"mediaType": "application/octet-stream", "digest": "sha256:" + hash, "size": size,
			"annotations": map[string]string{"org.opencontainers.image.title": "model.gguf"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	call(http.MethodPut, base+"/manifests/v1", "application/vnd.oci.image.manifest.v1+json", bytes.NewReader(manifest), int64(len(manifest)), http.StatusCreated)
}

// s3 starts a gateway that serves a directory as buckets.
func s3(t *testing.T, weights string) (endpoint string) {
	t.Helper()
	dir, addr := t.TempDir(), testkit.FreeAddr(t)
	object := filepath.Join(dir, "data", "models", "llm", "a model+1.gguf")
	for _, d := range []string{filepath.Dir(object), filepath.Join(dir, "meta")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "cp", weights, object).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	testkit.Start(t, testkit.Command{
		Name: "s3", Path: testkit.Binary(t, envS3Gateway, []string{"versitygw"}), Dir: dir,
		Args:  []string{"--port", addr, "--access", "AKTEST", "--secret", "s3cret-key", "posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data")},
		Ready: testkit.ReadyTCP(addr),
	})
	return "http://" + addr
}
