package worker_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker"
	"github.com/poterne/poterne/services/worker/internal/fetch"
)

// A worker fetches a model's file, goes on with it after a restart, and keeps it.
func TestModelFromElsewhere(t *testing.T) {
	data := bytes.Repeat([]byte("weights!"), 1<<20)
	hash := sha256.Sum256(data)
	var hold atomic.Bool
	var served atomic.Int64
	hold.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(&holding{w, r, &hold, &served, 0}, r, "f", time.Unix(1_700_000_000, 0), bytes.NewReader(data))
	}))
	defer server.Close()
	cfg := testConfig(t)
	cfg.Artifacts.Remote.Allow = []string{server.URL + "/models"}
	cfg.Artifacts.Cache.MinFree, cfg.Artifacts.Cache.Quota = 0, 64*config.MiB
	spec := simSpec(nil)
	spec.Artifacts = []*commonv1.Artifact{{Uri: server.URL + "/models/f", Sha256: hex.EncodeToString(hash[:]), SizeBytes: int64(len(data))}}

	r := run(t, cfg)
	elsewhere := simSpec(nil)
	elsewhere.Artifacts = []*commonv1.Artifact{{Uri: server.URL + "/secret/f", Sha256: hex.EncodeToString(hash[:])}}
	_, err := r.client.LoadModel(t.Context(), &workerv1.LoadModelRequest{Digest: digest("b"), Name: "m", Spec: elsewhere})
	if apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), "artifacts.remote.allow") {
		t.Errorf("a place that is not allowed: %v", err)
	}
	if _, err := r.client.LoadModel(t.Context(), &workerv1.LoadModelRequest{Digest: digest("a"), Name: "m", Spec: spec}); err != nil {
		t.Fatal(err)
	}
	r.await("a", "half here", func(m *workerv1.LoadedModel) bool { return m.GetFetch().GetDoneBytes() >= int64(len(data)/2) })
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	r.done <- nil
	hold.Store(false)
	for range 2 {
		r = run(t, cfg)
		r.load("a", spec)
		if _, err := r.client.Invoke(t.Context(), chatRequest("a", `,"max_tokens":2`)); err != nil {
			t.Error(err)
		}
		r.stop()
		if err := <-r.done; err != nil {
			t.Fatal(err)
		}
		r.done <- nil
	}
	if n := served.Load(); n > int64(len(data))*5/4 {
		t.Errorf("%d bytes were served for a file of %d", n, len(data))
	}
}

// holding stops in the middle of a body while it is to hold.
type holding struct {
	http.ResponseWriter
	request *http.Request
	hold    *atomic.Bool
	served  *atomic.Int64
	sent    int
}

func (h *holding) Write(p []byte) (int, error) {
	const half = 4 << 20
	if h.hold.Load() && h.sent+len(p) > half {
		n, _ := h.ResponseWriter.Write(p[:half-h.sent])
		h.served.Add(int64(n))
		_ = http.NewResponseController(h.ResponseWriter).Flush()
		<-h.request.Context().Done()
		return n, http.ErrHandlerTimeout
	}
	h.sent += len(p)
	h.served.Add(int64(len(p)))
	return h.ResponseWriter.Write(p)
}

func TestConfigOfArtifacts(t *testing.T) {
	cfg := worker.DefaultConfig()
	cfg.Artifacts.Remote.Allow = []string{"nowhere"}
	cfg.Artifacts.Remote.S3 = map[string]fetch.Bucket{"b": {AccessKeyID: "AK", SecretAccessKey: "s3cret"}}
	cfg.Artifacts.Remote.HuggingFace.Token = "hf_s3cret"
	cfg.Artifacts.Cache.Dir, cfg.Artifacts.Cache.Parallel, cfg.Artifacts.Cache.BackoffMax = "relative", 0, 0
	err := cfg.Complete()
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, key := range []string{"artifacts.remote.allow:", "artifacts.cache.dir:", "artifacts.cache.parallel:", "artifacts.cache.backoff_max:"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
	if out, err := config.Marshal(cfg); err != nil || bytes.Contains(out, []byte("s3cret")) {
		t.Errorf("printed: %s, %v", out, err)
	}
}
