package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/artifact"
	"github.com/poterne/poterne/services/worker/internal/blob"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/fetch"
	"github.com/poterne/poterne/services/worker/internal/gpu"
)

// remoteRig is an agent, in real time, whose files come from a web server that
// waits in the middle of each until it is told to go on.
type remoteRig struct {
	*rig
	base string
	goOn chan struct{}
}

const remoteSize = 30 * mib

func remoteContent() []byte { return bytes.Repeat([]byte("weights!"), remoteSize/8) }

func newRemoteRig(t *testing.T) *remoteRig {
	t.Helper()
	return newRemoteRigWith(t, func(*Config, *Parts) {})
}

func newRemoteRigWith(t *testing.T, change func(cfg *Config, parts *Parts)) *remoteRig {
	t.Helper()
	r := &remoteRig{goOn: make(chan struct{})}
	data := remoteContent()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.ServeContent(&pausing{w, len(data) / 2, r.goOn, req}, req, "f", time.Unix(1_700_000_000, 0), bytes.NewReader(data))
	}))
	t.Cleanup(server.Close)
	r.base = server.URL
	cacheConfig := blob.DefaultConfig()
	cacheConfig.Dir, cacheConfig.MinFree, cacheConfig.Attempts = t.TempDir(), 0, 1
	cache, err := blob.Open(cacheConfig, blob.Parts{Clock: clock.Real(), Log: slog.New(slog.DiscardHandler), DiskFree: blob.DiskFree})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close() })
	files, err := artifact.NewStore(nil, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cfg := fetch.DefaultConfig()
	cfg.Allow = []string{server.URL}
	files.WithRemote(artifact.Remote{Fetchers: fetch.New(cfg, clock.Real()), Cache: cache})
	r.rig = newRigWith(t, func(cfg *Config, parts *Parts) {
		parts.Artifacts = files
		change(cfg, parts)
	})
	return r
}

// pausing waits before the second half of the file.
type pausing struct {
	http.ResponseWriter
	left int
	goOn chan struct{}
	req  *http.Request
}

func (p *pausing) Write(b []byte) (int, error) {
	if p.left -= len(b); p.left < 0 {
		_ = http.NewResponseController(p.ResponseWriter).Flush()
		select {
		case <-p.goOn:
		case <-p.req.Context().Done():
		}
	}
	return p.ResponseWriter.Write(b)
}

func (r *remoteRig) loadRemote(c string) (*workerv1.LoadedModel, error) {
	return r.loadRemoteAs(c, false)
}

func (r *remoteRig) loadRemoteAs(c string, evict bool) (*workerv1.LoadedModel, error) {
	hash := sha256.Sum256(remoteContent())
	resp, err := r.client.LoadModel(r.Context(), &workerv1.LoadModelRequest{
		Digest: digest(c), Evict: evict, Name: "m" + c, Spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "fake", Artifacts: []*commonv1.Artifact{
			{Uri: r.base + "/f?sig=s3cret", Sha256: hex.EncodeToString(hash[:]), SizeBytes: remoteSize},
		}},
	})
	return resp.GetModel(), err
}

// until waits, in real time, for what the agent says of a model.
func (r *remoteRig) until(c string, holds func(*workerv1.LoadedModel) bool) *workerv1.LoadedModel {
	r.Helper()
	for range 10_000 {
		if m := r.state(c); holds(m) {
			return m
		}
		pass(time.Millisecond)
	}
	r.Fatalf("it does not come about: %v", r.state(c))
	return nil
}

func isReady(m *workerv1.LoadedModel) bool {
	return m.GetState() == workerv1.ModelState_MODEL_STATE_READY
}

func (r *remoteRig) used() int64 { return r.agent.State("").GetMemory()[0].GetUsedBytes() }

// The load is admitted by the files' sizes before they are here; the state tells
// how far they are; and what the engine needs is reserved once that is known.
func TestLoadThatFetches(t *testing.T) {
	r := newRemoteRig(t)
	m, err := r.loadRemote("a")
	if err != nil || m.GetState() != workerv1.ModelState_MODEL_STATE_LOADING || m.GetMemoryBytes() != remoteSize {
		t.Fatalf("got %v, %v", m, err)
	}
	m = r.until("a", func(m *workerv1.LoadedModel) bool { return m.GetFetch().GetDoneBytes() > remoteSize/3 })
	if f := m.GetFetch(); f.GetTotalBytes() != remoteSize || f.GetSource() != r.base+"/f" || f.GetFiles() != 1 || f.GetFilesDone() != 0 ||
		m.GetState() != workerv1.ModelState_MODEL_STATE_LOADING {
		t.Errorf("while it is fetched: %v", m)
	}
	if err := r.invoke("a"); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("a request meanwhile: %v", err)
	}
	if again, err := r.loadRemote("a"); err != nil || again.GetState() != workerv1.ModelState_MODEL_STATE_LOADING {
		t.Errorf("asked again: %v, %v", again, err)
	}
	close(r.goOn)
	m = r.until("a", isReady)
	if m.GetFetch() != nil || m.GetMemoryBytes() != 40*mib || m.GetSlots() != 2 || r.used() != 40*mib {
		t.Errorf("ready: %v, %d used", m, r.used())
	}
	if err := r.invoke("a"); err != nil {
		t.Errorf("a request: %v", err)
	}
	// Another version of the same file needs nobody to send it again.
	if m, err = r.loadRemote("b"); err != nil || m.GetMemoryBytes() != 40*mib {
		t.Fatalf("from the cache: %v, %v", m, err)
	}
	r.until("b", isReady)
}

func TestLoadThatDoesNotFit(t *testing.T) {
	r := newRemoteRig(t)
	close(r.goOn)
	r.ready("x")
	r.ready("y") // 80 of 100 MiB
	_, err := r.loadRemote("a")
	if e := apierr.From(err); e.Reason != apierr.FailedPrecondition || !strings.Contains(e.Message, "have 30.0 MiB, and this worker's memories together 20.0 MiB free") {
		t.Fatalf("more than there is: %v", err)
	}
	if _, err := r.client.UnloadModel(t.Context(), &workerv1.UnloadModelRequest{Digest: digest("y")}); err != nil {
		t.Fatal(err)
	}
	r.until("y", func(m *workerv1.LoadedModel) bool { return m == nil })
	// The files fit; what the engine then needs does not.
	r.engine.set(func() { r.engine.memory = 70 * mib })
	if _, err := r.loadRemote("a"); err != nil {
		t.Fatal(err)
	}
	m := r.until("a", func(m *workerv1.LoadedModel) bool { return m.GetState() == workerv1.ModelState_MODEL_STATE_FAILED })
	if !strings.Contains(m.GetError(), "ma needs 70.0 MiB on cpu, where 60.0 MiB of 100.0 MiB are free") {
		t.Errorf("got %v", m)
	}
	if r.used() != 40*mib || m.GetMemoryBytes() != 0 {
		t.Errorf("a model that failed holds memory: %d used, %v", r.used(), m)
	}
	// Once there is room it is loaded without being asked for again.
	if _, err := r.client.UnloadModel(t.Context(), &workerv1.UnloadModelRequest{Digest: digest("x")}); err != nil {
		t.Fatal(err)
	}
	r.until("a", isReady)
	if r.used() != 70*mib {
		t.Errorf("%d used", r.used())
	}
}

func TestLoadOfWhatTheEngineRefuses(t *testing.T) {
	r := newRemoteRig(t)
	close(r.goOn)
	r.engine.set(func() { r.engine.refuses = apierr.Invalid("spec", "the weights are not a GGUF file") })
	if _, err := r.loadRemote("a"); err != nil {
		t.Fatal(err)
	}
	m := r.until("a", func(m *workerv1.LoadedModel) bool { return m.GetState() == workerv1.ModelState_MODEL_STATE_FAILED })
	if !strings.Contains(m.GetError(), "not a GGUF file") || r.used() != 0 {
		t.Errorf("got %v, %d used", m, r.used())
	}
}

// Unloading ends the transfer; what came stays for the next load.
func TestUnloadWhileItIsFetched(t *testing.T) {
	r := newRemoteRig(t)
	if _, err := r.loadRemote("a"); err != nil {
		t.Fatal(err)
	}
	r.until("a", func(m *workerv1.LoadedModel) bool { return m.GetFetch().GetDoneBytes() > remoteSize/3 })
	if _, err := r.client.UnloadModel(t.Context(), &workerv1.UnloadModelRequest{Digest: digest("a")}); err != nil {
		t.Fatal(err)
	}
	r.until("a", func(m *workerv1.LoadedModel) bool { return m == nil })
	if r.used() != 0 {
		t.Errorf("%d used", r.used())
	}
	if stats, ok := r.agent.parts.Artifacts.CacheStats(); !ok || stats.Size < remoteSize/3 || stats.Files != 0 {
		t.Errorf("kept: %+v", stats)
	}
	close(r.goOn)
	if _, err := r.loadRemote("a"); err != nil {
		t.Fatal(err)
	}
	r.until("a", isReady)
	if stats, _ := r.agent.parts.Artifacts.CacheStats(); stats.Bytes["http"] >= remoteSize+remoteSize/3 {
		t.Errorf("%d bytes came for a file of %d: it was begun anew", stats.Bytes["http"], remoteSize)
	}
}

// What comes later is placed like what is here: on the GPU that it fits on, with
// the account of its guess given back.
func TestWhatWasFetchedIsPlacedOnGPUs(t *testing.T) {
	r := newRemoteRigWith(t, func(_ *Config, parts *Parts) {
		parts.GPUs = gpu.NewInventory(gpu.NewScripted(gpu.H100(0), gpu.H100(1)), clock.Real(), parts.Telemetry.Logger, 0)
	})
	r.agent.look(t.Context())
	r.engine.set(func() { r.engine.size = engine.Size{Host: mib, Shared: 100 * gib, Each: gib, Heads: 32} })
	if _, err := r.loadRemote("a"); err != nil {
		t.Fatal(err)
	}
	close(r.goOn)
	m := r.until("a", isReady)
	if got := r.given(); !slices.Equal(got, []string{"gpu0", "gpu1"}) || m.GetMemoryBytes() != 102*gib+mib || len(m.GetMemory()) != 3 {
		t.Errorf("on %v: %v", got, m)
	}
	var used int64
	for _, p := range r.agent.State("").GetMemory() {
		used += p.GetUsedBytes()
	}
	if used != 102*gib+mib {
		t.Errorf("%d used", used)
	}
	if len(r.agent.State("").GetArtifacts()) != 1 {
		t.Errorf("it does not tell of the file: %v", r.agent.State("").GetArtifacts())
	}
}

// With leave, others are unloaded when the files are here and what they need is
// known; without it the model waits, for ever if need be.
func TestRoomIsMadeForWhatWasFetched(t *testing.T) {
	r := newRemoteRigWith(t, func(cfg *Config, _ *Parts) {
		cfg.MinIdle, cfg.Supervision.QuarantineAfter = 0, 2
		cfg.Supervision.BackoffMin, cfg.Supervision.BackoffMax = time.Millisecond, time.Millisecond
	})
	close(r.goOn)
	r.ready("x")
	r.engine.set(func() { r.engine.memory = 70 * mib })
	if _, err := r.loadRemote("a"); err != nil {
		t.Fatal(err)
	}
	r.until("a", func(m *workerv1.LoadedModel) bool { return m.GetRestarts() > 5 })
	if r.state("x") == nil {
		t.Error("x was unloaded without leave")
	}
	if _, err := r.client.UnloadModel(t.Context(), &workerv1.UnloadModelRequest{Digest: digest("a")}); err != nil {
		t.Fatal(err)
	}
	r.until("a", func(m *workerv1.LoadedModel) bool { return m == nil })
	r.engine.set(func() { r.engine.memory = 80 * mib })
	if _, err := r.loadRemoteAs("b", true); err != nil {
		t.Fatal(err)
	}
	r.until("b", isReady)
	if r.state("x") != nil || r.used() != 80*mib {
		t.Errorf("x is %v, %d used", r.state("x"), r.used())
	}
}

// A model that waits for a decision can be unloaded meanwhile: for what is being
// decided it may have to go.
func TestUnloadWhileItWaitsToBePlaced(t *testing.T) {
	r := newRemoteRig(t)
	if _, err := r.loadRemote("a"); err != nil {
		t.Fatal(err)
	}
	if err := r.agent.loading.Acquire(t.Context(), 1); err != nil { // a decision is under way
		t.Fatal(err)
	}
	defer r.agent.loading.Release(1)
	close(r.goOn)
	r.until("a", func(*workerv1.LoadedModel) bool { return len(r.agent.State("").GetArtifacts()) == 1 })
	pass(50 * time.Millisecond)
	if m := r.state("a"); m.GetState() != workerv1.ModelState_MODEL_STATE_LOADING {
		t.Errorf("it does not wait: %v", m)
	}
	if _, err := r.client.UnloadModel(t.Context(), &workerv1.UnloadModelRequest{Digest: digest("a")}); err != nil {
		t.Fatal(err)
	}
	r.until("a", func(m *workerv1.LoadedModel) bool { return m == nil })
}
