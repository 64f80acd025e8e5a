package worker_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker"
	"github.com/poterne/poterne/services/worker/internal/gpu"
)

// A model that is larger than one GPU gets two, and its process sees no others.
func TestGPUsReachTheEngine(t *testing.T) {
	script := gpu.NewScripted(gpu.H100(0), gpu.H100(1), gpu.H100(2))
	r := run(t, testConfig(t), worker.WithGPUs(script))
	r.load("a", simSpec(map[string]string{"gpu-memory": "107374182400", "attention-heads": "32"}))
	pids := r.enginePIDs()
	if len(pids) != 1 {
		t.Fatalf("engines %v", pids)
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pids[0]))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(env), "CUDA_VISIBLE_DEVICES=GPU-scripted-gpu0,GPU-scripted-gpu1\x00") {
		t.Errorf("the engine's environment: %q", env)
	}
	m := r.await("a", "told with its GPUs", func(m *workerv1.LoadedModel) bool { return len(m.GetMemory()) == 3 })
	if m.GetMemory()[1].GetId() != "gpu0" || m.GetMemory()[1].GetBytes() != 50<<30 {
		t.Errorf("memory %v", m.GetMemory())
	}
	_, err = r.client.LoadModel(t.Context(), &workerv1.LoadModelRequest{
		Digest: digest("b"), Name: "b", Spec: simSpec(map[string]string{"gpu-memory": "107374182400", "attention-heads": "32"}),
	})
	if e := apierr.From(err); e == nil || e.Reason != apierr.FailedPrecondition || !strings.Contains(e.Message, "on each of 2 GPUs") {
		t.Errorf("a second one: %v", err)
	}
}

// What a process takes is measured.
func TestMemoryIsSeen(t *testing.T) {
	cfg := testConfig(t)
	cfg.Memory.SampleEvery = time.Second
	r := run(t, cfg)
	r.load("a", simSpec(nil))
	m := r.await("a", "measured", func(m *workerv1.LoadedModel) bool { return m.GetPeakMemoryBytes() > 0 })
	if m.GetPeakMemoryBytes() < 4<<20 || m.GetMemoryBytes() < m.GetPeakMemoryBytes() {
		t.Errorf("got %v", m)
	}
}

// Who had a request in hand when the engine ended is told so.
func TestARequestThatEndsTheEngine(t *testing.T) {
	r := run(t, testConfig(t))
	r.load("a", simSpec(nil))
	_, err := r.client.Invoke(t.Context(), chatRequest("a", `,"sim":{"crash":true}`))
	e := apierr.From(err)
	if e == nil || e.Reason != apierr.Unavailable || e.Metadata["engine_ended"] != "true" || e.Metadata["in_flight"] != "1" {
		t.Fatalf("got %v, %v", err, e)
	}
	r.await("a", "restarted", func(m *workerv1.LoadedModel) bool {
		return m.GetRestarts() == 1 && m.GetState() == workerv1.ModelState_MODEL_STATE_READY
	})
	_, err = r.client.Invoke(t.Context(), chatRequest("a", `,"sim":{"error_status":503}`))
	if e := apierr.From(err); e != nil && e.Metadata["engine_ended"] != "" {
		t.Errorf("an engine that lives: %v", e)
	}
}

func TestACrashLoopIsQuarantined(t *testing.T) {
	cfg := testConfig(t)
	cfg.Supervision.QuarantineAfter = 2
	r := run(t, cfg)
	spec := simSpec(nil)
	spec.EmbeddingDimensions = 65536 // more than the simulator has
	ask := &workerv1.LoadModelRequest{Digest: digest("a"), Name: "broken", Spec: spec}
	if _, err := r.client.LoadModel(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	m := r.await("a", "quarantined", func(m *workerv1.LoadedModel) bool {
		return m.GetState() == workerv1.ModelState_MODEL_STATE_QUARANTINED
	})
	if !strings.Contains(m.GetError(), "exit code 2") || len(r.enginePIDs()) != 0 {
		t.Errorf("got %v", m)
	}
	r.load("b", simSpec(nil))
	if _, err := r.client.LoadModel(t.Context(), ask); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("asked again: %v", err)
	}
	if _, err := r.client.UnloadModel(t.Context(), &workerv1.UnloadModelRequest{Digest: digest("a")}); err != nil {
		t.Fatal(err)
	}
	r.await("a", "lifted", func(m *workerv1.LoadedModel) bool { return m == nil })
}

// A quarantine can be lifted without a risk to what is loaded by now.
func TestOnlyAQuarantineIsLifted(t *testing.T) {
	cfg := testConfig(t)
	cfg.Supervision.QuarantineAfter = 1
	r := run(t, cfg)
	r.load("b", simSpec(nil))
	spec := simSpec(nil)
	spec.EmbeddingDimensions = 65536
	if _, err := r.client.LoadModel(t.Context(), &workerv1.LoadModelRequest{Digest: digest("a"), Name: "broken", Spec: spec}); err != nil {
		t.Fatal(err)
	}
	r.await("a", "quarantined", func(m *workerv1.LoadedModel) bool {
		return m.GetState() == workerv1.ModelState_MODEL_STATE_QUARANTINED
	})
	for c, lifted := range map[string]bool{"a": true, "b": false} {
		resp, err := r.client.UnloadModel(t.Context(), &workerv1.UnloadModelRequest{Digest: digest(c), QuarantineOnly: true})
		if err != nil || resp.GetQuarantineLifted() != lifted {
			t.Errorf("%s: %v, %v", c, resp, err)
		}
	}
	r.await("a", "lifted", func(m *workerv1.LoadedModel) bool { return m == nil })
	r.await("b", "ready", func(m *workerv1.LoadedModel) bool { return m.GetState() == workerv1.ModelState_MODEL_STATE_READY })
}
