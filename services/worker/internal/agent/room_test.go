package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/gpu"
	"github.com/poterne/poterne/services/worker/internal/memory"
	"github.com/poterne/poterne/services/worker/internal/process"
)

// fakeMachine is a machine that says what the test wants.
type fakeMachine struct {
	free   int64
	err    error
	usages map[int]process.Usage
}

func (m *fakeMachine) Available() (int64, error) { return m.free, m.err }

func (m *fakeMachine) Usages([]int) map[int]process.Usage { return m.usages }

const gib = 1 << 30

// onGPUs runs the test with n GPUs of 80 GiB.
func onGPUs(t *testing.T, n int, test func(r *rig, script *gpu.Scripted)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var devices []gpu.Device
		for i := range n {
			devices = append(devices, gpu.H100(i))
		}
		script := gpu.NewScripted(devices...)
		r := newRigWith(t, func(cfg *Config, parts *Parts) {
			cfg.MaxModels = 16
			parts.GPUs = gpu.NewInventory(script, clock.Real(), parts.Telemetry.Logger, 0)
			parts.Learned = memory.NewLearned("")
		})
		r.engine.set(func() { r.engine.size = engine.Size{Host: mib, Shared: 40 * gib, Each: gib, Heads: 32} })
		r.look()
		test(r, script)
	})
}

// look has the agent look at the machine now.
func (r *rig) look() {
	r.agent.look(r.Context())
}

// given are the GPUs that the engine was given last.
func (r *rig) given() []string {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	var out []string
	for _, g := range r.engine.given {
		out = append(out, g.Pool)
	}
	return out
}

func TestTheFewestGPUsThatHoldIt(t *testing.T) {
	onGPUs(t, 8, func(r *rig, _ *gpu.Scripted) {
		for i, tt := range []struct {
			shared  int64
			heads   int
			want    []string
			explain string
		}{
			{40 * gib, 32, []string{"gpu0"}, "one is enough"},
			{30 * gib, 32, []string{"gpu0"}, "the fullest that has room"},
			{200 * gib, 32, []string{"gpu1", "gpu2", "gpu3", "gpu4"}, "three would do, and is no power of two"},
			{120 * gib, 0, []string{"gpu5", "gpu6"}, "layers are dealt out"},
		} {
			r.engine.set(func() { r.engine.size.Shared, r.engine.size.Heads = tt.shared, tt.heads })
			c := string(rune('a' + i))
			m, err := r.load(c)
			if err != nil || !slices.Equal(r.given(), tt.want) {
				r.Fatalf("%s: got %v, %v; want %v", tt.explain, r.given(), err, tt.want)
			}
			if want := tt.shared/int64(len(tt.want)) + gib; m.GetMemory()[1].GetBytes() != want || m.GetMemoryBytes() != want*int64(len(tt.want))+mib {
				r.Errorf("%s: %v", tt.explain, m.GetMemory())
			}
		}
		if got := r.engine.given[0].Device; got != "GPU-scripted-gpu5" {
			r.Errorf("the engine is told of %q", got)
		}
		s := r.agent.State("")
		if len(s.GetGpus()) != 8 || len(s.GetMemory()) != 9 || s.GetGpus()[3].GetName() != "Scripted H100" || s.GetGpus()[3].GetTemperatureCelsius() != 40 {
			r.Errorf("state: %v", s)
		}
	})
}

func TestARefusalOnGPUsHasFigures(t *testing.T) {
	onGPUs(t, 2, func(r *rig, script *gpu.Scripted) {
		r.engine.set(func() { r.engine.size.Shared = 300 * gib })
		_, err := r.load("a")
		if e := apierr.From(err); e.Reason != apierr.FailedPrecondition || e.Metadata["needed_bytes"] != "162135015424" ||
			!strings.Contains(e.Message, "ma needs 154624.0 MiB free on each of 2 GPUs; gpu0 has 81920.0 MiB, gpu1 has 81920.0 MiB") {
			r.Errorf("too large: %v, %v", e, e.Metadata)
		}
		r.engine.set(func() { r.engine.size = engine.Size{Shared: gib, Heads: 7, Exactly: 2} })
		if _, err := r.load("a"); !strings.Contains(err.Error(), "7 attention heads, and asks for 2 GPUs") {
			r.Errorf("that cannot be spread: %v", err)
		}
		// One GPU has memory errors, on the other sits somebody else.
		script.Change(0, func(d *gpu.Device) { d.ECCErrors = 3 })
		script.Change(1, func(d *gpu.Device) { d.FreeBytes, d.UsedBytes = 10*gib, 70*gib })
		pass(2 * time.Second)
		r.engine.set(func() { r.engine.size = engine.Size{Shared: 20 * gib} })
		if _, err := r.load("a"); err == nil || !strings.Contains(err.Error(), "gpu0 is not used, gpu1 has 10240.0 MiB") {
			r.Errorf("where nothing is free: %v", err)
		}
		if p := r.agent.State("").GetGpus()[0].GetProblem(); !strings.Contains(p, "3 memory errors") {
			r.Errorf("problem %q", p)
		}
	})
}

// What was set aside for a model that is still loading is not free, whatever the
// driver says; once it shows, it is not counted twice.
func TestWhatIsLoadingIsNotFree(t *testing.T) {
	onGPUs(t, 1, func(r *rig, script *gpu.Scripted) {
		r.engine.set(func() { r.engine.health = errEngine })
		if _, err := r.load("a"); err != nil { // 41 GiB
			r.Fatal(err)
		}
		pass(2 * time.Second)
		if _, err := r.load("b"); err == nil {
			r.Fatal("two were admitted for one place")
		}
		r.engine.set(func() { r.engine.health, r.engine.size.Shared = nil, 30*gib })
		script.Change(0, func(d *gpu.Device) { d.FreeBytes, d.UsedBytes = 39*gib, 41*gib })
		r.awaitReady("a")
		pass(2 * time.Second)
		if _, err := r.load("b"); err != nil { // 31 GiB
			r.Fatal(err)
		}
	})
}

func TestRoomByLeastUse(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		pass(time.Second)
		r.ready("b")
		pass(20 * time.Second)
		if err := r.invoke("a"); err != nil { // b is now the one used longest ago
			r.Fatal(err)
		}
		pass(20 * time.Second)
		if _, err := r.load("c"); apierr.ReasonOf(err) != apierr.FailedPrecondition {
			r.Errorf("without leave to unload: %v", err)
		}
		if p := r.agent.State("").GetMemory()[0]; p.GetEvictableBytes() != 80*mib {
			r.Errorf("what could be unloaded: %v", p)
		}
		if _, err := r.loadAs("c", evict); err != nil {
			r.Fatal(err)
		}
		r.awaitReady("c")
		if r.state("a") == nil || r.state("b") != nil {
			r.Errorf("a is %v, b is %v", r.state("a"), r.state("b"))
		}
		// a may go, c was loaded a moment ago.
		r.engine.set(func() { r.engine.memory = 90 * mib })
		_, err := r.loadAs("d", evict)
		if e := apierr.From(err); e == nil || e.Metadata["evictable_models"] != "1" || !strings.Contains(e.Message, "unloading all 1 models") {
			r.Errorf("more than can be had: %v", err)
		}
		if r.state("a") == nil {
			r.Error("a was unloaded for nothing")
		}
	})
}

func TestPinnedAndBusyModelsStay(t *testing.T) {
	inBubble(t, func(r *rig) {
		if _, err := r.loadAs("a", pinned); err != nil {
			r.Fatal(err)
		}
		r.awaitReady("a")
		r.ready("b")
		pass(time.Minute)
		_, release := r.hold("b", 1)
		if _, err := r.loadAs("c", evict); apierr.ReasonOf(err) != apierr.FailedPrecondition {
			r.Errorf("one is pinned, the other busy: %v", err)
		}
		if !r.state("a").GetPinned() {
			r.Error("it does not say that it is pinned")
		}
		release()
		if _, err := r.load("a"); err != nil || r.state("a").GetPinned() { // said anew, it is pinned no longer
			r.Errorf("got %v, %v", r.state("a"), err)
		}
		if _, err := r.loadAs("c", evict); err != nil || r.state("b") == nil || r.state("a") != nil {
			r.Errorf("a was not used: %v", err)
		}
	})
}

// No more are unloaded than are needed.
func TestNoMoreThanNeeded(t *testing.T) {
	inBubble(t, func(r *rig) {
		for c, n := range map[string]int64{"a": 10, "b": 50} {
			r.engine.set(func() { r.engine.memory = n * mib })
			r.ready(c)
		}
		pass(time.Second)
		if err := r.invoke("b"); err != nil {
			r.Fatal(err)
		}
		pass(time.Minute)
		r.engine.set(func() { r.engine.memory = 80 * mib }) // a alone is not enough, b alone is
		if _, err := r.loadAs("c", evict); err != nil || r.state("a") == nil || r.state("b") != nil {
			r.Errorf("a is %v, b is %v: %v", r.state("a"), r.state("b"), err)
		}
	})
}

func TestTheMachineHasTheLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMachine{free: 30 * mib}
		r := newRigWith(t, func(_ *Config, parts *Parts) { parts.Machine = m })
		if _, err := r.load("a"); err == nil || !strings.Contains(err.Error(), "where 30.0 MiB of 100.0 MiB are free: others on this machine take the rest") {
			r.Errorf("got %v", err)
		}
		m.err = errors.New("not known")
		if _, err := r.load("a"); err != nil {
			r.Errorf("a machine that does not say: %v", err)
		}
	})
}

func TestWhatWasSeenCorrectsTheEstimate(t *testing.T) {
	onGPUs(t, 1, func(r *rig, script *gpu.Scripted) {
		r.agent.parts.Machine = &fakeMachine{free: 90 * mib, usages: map[int]process.Usage{7: {Anonymous: 2 * mib, PIDs: []int{7, 8}}}}
		r.ready("a")
		r.agent.models[digest("a")].child.Store(7) // as if it were a process
		script.Change(0, func(d *gpu.Device) {
			d.FreeBytes, d.Processes = 19*gib, []gpu.Process{{PID: 8, Bytes: 61 * gib}, {PID: 9, Bytes: gib}}
		})
		r.look()
		m := r.state("a")
		if m.GetMemory()[1].GetBytes() != 61*gib || m.GetEstimatedMemoryBytes() != 41*gib+mib || m.GetPeakMemoryBytes() != 61*gib+2*mib {
			r.Fatalf("got %v", m)
		}
		if p := r.agent.State("").GetMemory()[1]; p.GetUsedBytes() != 61*gib || p.GetFreeBytes() != 19*gib || p.GetMeasuredFreeBytes() != 19*gib {
			r.Errorf("pool %v", p)
		}
		if _, err := r.client.UnloadModel(r.Context(), &workerv1.UnloadModelRequest{Digest: digest("a")}); err != nil {
			r.Fatal(err)
		}
		script.Set(gpu.H100(0))
		pass(2 * time.Second)
		again, err := r.load("a")
		if err != nil || again.GetMemory()[1].GetBytes() < 60*gib || again.GetMemory()[1].GetBytes() > 61*gib {
			r.Errorf("the next time: %v, %v", again, err)
		}
		if other, err := r.load("b"); err == nil {
			r.Errorf("another version was admitted beside it: %v", other)
		}
	})
}

// A GPU that the spec names is accounted for like one that was chosen: what the
// engine takes of it is seen, and not counted twice.
func TestAGPUThatTheSpecNames(t *testing.T) {
	onGPUs(t, 2, func(r *rig, script *gpu.Scripted) {
		r.engine.set(func() {
			r.engine.size, r.engine.takes = engine.Size{}, map[string]int64{engine.PoolCPU: mib, "gpu1": 30 * gib}
		})
		r.ready("a")
		if len(r.given()) != 0 {
			r.Errorf("it was given %v", r.given())
		}
		script.Change(1, func(d *gpu.Device) { d.FreeBytes, d.UsedBytes = 50*gib, 30*gib })
		r.look()
		if p := r.agent.State("").GetMemory()[2]; p.GetId() != "gpu1" || p.GetUsedBytes() != 30*gib || p.GetFreeBytes() != 50*gib {
			r.Errorf("pool %v", p)
		}
		r.engine.set(func() { r.engine.takes = map[string]int64{"gpu1": 60 * gib} })
		if _, err := r.load("b"); err == nil || !strings.Contains(err.Error(), "where 51200.0 MiB of") || apierr.From(err).Metadata["pool"] != "gpu1" {
			r.Errorf("more than it has: %v", err)
		}
	})
}

func TestQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, func(cfg *Config, _ *Parts) {
			cfg.Supervision.QuarantineAfter, cfg.Supervision.QuarantineMax = 3, 15*time.Minute
		})
		r.engine.command = &engine.Command{Path: "/no/such/program", Args: func(int) []string { return nil }}
		await := func(state workerv1.ModelState) {
			t.Helper()
			for range 100 {
				if r.state("a").GetState() == state {
					return
				}
				pass(100 * time.Millisecond)
			}
			t.Fatalf("got %v", r.state("a"))
		}
		if _, err := r.load("a"); err != nil {
			t.Fatal(err)
		}
		await(workerv1.ModelState_MODEL_STATE_QUARANTINED)
		m := r.state("a")
		if !strings.Contains(m.GetError(), "failed 3 times in a row") || time.Until(m.GetQuarantineEndTime().AsTime()) < 9*time.Minute {
			t.Errorf("got %v", m)
		}
		if p := r.agent.State("").GetMemory()[0]; p.GetUsedBytes() != 0 {
			t.Errorf("it takes memory: %v", p)
		}
		_, err := r.load("a")
		if e := apierr.From(err); e == nil || e.Reason != apierr.FailedPrecondition || e.RetryAfter < 9*time.Minute || e.Metadata["quarantined_until"] == "" {
			t.Errorf("asked again: %v", err)
		}
		works := r.engine.command
		r.engine.command = nil
		r.ready("b") // the worker serves others
		r.engine.command = works
		pass(10 * time.Minute)
		if r.state("a") != nil {
			t.Errorf("after the time: %v", r.state("a"))
		}
		if _, err := r.load("a"); err != nil {
			t.Fatal(err)
		}
		await(workerv1.ModelState_MODEL_STATE_QUARANTINED)
		if left := time.Until(r.state("a").GetQuarantineEndTime().AsTime()); left < 14*time.Minute || left > 15*time.Minute {
			t.Errorf("the second time it takes %v", left)
		}
		r.engine.command = nil
		if _, err := r.loadAs("a", func(req *workerv1.LoadModelRequest) { req.LiftQuarantine = true }); err != nil {
			t.Fatal(err)
		}
		r.awaitReady("a")
	})
}

func TestUnloadLiftsAQuarantine(t *testing.T) {
	q := newQuarantine(time.Minute, time.Hour)
	now := time.Unix(1_800_000_000, 0)
	for i := range maxQuarantined + 5 {
		q.add(&workerv1.LoadedModel{Digest: string(rune(i))}, now.Add(time.Duration(i)*time.Millisecond))
	}
	if got := len(q.list(now)); got != maxQuarantined {
		t.Errorf("%d in quarantine", got)
	}
	if q.refusal(string(rune(100)), now) == nil || !q.lift(string(rune(100))) || q.refusal(string(rune(100)), now) != nil || q.lift(string(rune(100))) {
		t.Error("it cannot be lifted")
	}
	q.add(&workerv1.LoadedModel{Digest: "x"}, now.Add(time.Hour))
	if len(q.entries) != 1 {
		t.Errorf("%d entries long after", len(q.entries))
	}
}

func TestWarmUp(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		if len(r.engine.warmed) != 0 {
			r.Errorf("nobody asked for %v", r.engine.warmed)
		}
		if _, err := r.loadAs("b", func(req *workerv1.LoadModelRequest) { req.WarmUp = true }); err != nil {
			r.Fatal(err)
		}
		r.awaitReady("b")
		if len(r.engine.warmed) != 1 || !strings.Contains(r.engine.warmed[0], `"max_tokens":1`) {
			r.Errorf("asked %q", r.engine.warmed)
		}
		r.engine.set(func() { r.engine.memory, r.engine.release = 1, make(chan struct{}) }) // it hangs
		begun := time.Now()
		if _, err := r.loadAs("c", func(req *workerv1.LoadModelRequest) {
			req.WarmUp, req.Spec.Task = true, commonv1.Task_TASK_EMBEDDING
		}); err != nil {
			r.Fatal(err)
		}
		for r.state("c").GetState() != workerv1.ModelState_MODEL_STATE_READY {
			pass(100 * time.Millisecond)
		}
		if took := time.Since(begun); took < 5*time.Second || took > 6*time.Second || r.engine.warmed[1] != "embed" || r.engine.busy() != 0 {
			r.Errorf("ready after %v, asked %q", took, r.engine.warmed)
		}
	})
}
