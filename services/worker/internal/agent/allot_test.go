package agent

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/gpu"
	"github.com/poterne/poterne/services/worker/internal/process"
)

// bytesGiven are what the engine was told last that it may take of its GPUs.
func (r *rig) bytesGiven() []int64 {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	var out []int64
	for _, g := range r.engine.given {
		out = append(out, g.Bytes)
	}
	return out
}

func (r *rig) unload(c string) {
	r.Helper()
	if _, err := r.client.UnloadModel(r.Context(), &workerv1.UnloadModelRequest{Digest: digest(c)}); err != nil {
		r.Fatal(err)
	}
	pass(time.Second)
}

// What an engine will take is another's at no moment, however far it has loaded.
func TestAGreedyEngineIsGivenWhatIsSetAside(t *testing.T) {
	onGPUs(t, 1, func(r *rig, _ *gpu.Scripted) {
		r.engine.set(func() {
			r.engine.size = engine.Size{Host: mib, Shared: 10 * gib, Each: gib, Greedy: true, OfFree: 0.5}
			r.engine.health = errEngine // it loads, and nothing of it shows yet
		})
		m, err := r.load("a")
		if err != nil || !slices.Equal(r.bytesGiven(), []int64{40 * gib}) || m.GetMemory()[1].GetBytes() != 40*gib {
			r.Fatalf("given %v, set aside %v, %v", r.bytesGiven(), m.GetMemory(), err)
		}
		pass(2 * time.Second)
		if _, err := r.load("b"); err != nil || !slices.Equal(r.bytesGiven(), []int64{20 * gib}) { // half of the other half
			r.Fatalf("given %v, %v", r.bytesGiven(), err)
		}
		// Half of the 20 GiB that are left is less than it needs with a tenth more.
		if _, err := r.load("c"); err != nil || !slices.Equal(r.bytesGiven(), []int64{11*gib + 11*gib/10}) {
			r.Fatalf("given %v, %v", r.bytesGiven(), err)
		}
		if _, err := r.load("d"); apierr.ReasonOf(err) != apierr.FailedPrecondition {
			r.Errorf("where less is left than it needs: %v", err)
		}
	})
}

// A tenth more is given where there is as much, and the same of each GPU.
func TestWhatAGreedyEngineIsGivenFits(t *testing.T) {
	onGPUs(t, 2, func(r *rig, script *gpu.Scripted) {
		script.Change(0, func(d *gpu.Device) { d.FreeBytes, d.UsedBytes = 21*gib+gib/2, 58*gib+gib/2 })
		pass(2 * time.Second)
		r.engine.set(func() {
			r.engine.size = engine.Size{Shared: 40 * gib, Each: gib, Heads: 32, Exactly: 2, Greedy: true, OfFree: 0.9}
		})
		if _, err := r.load("a"); err != nil || !slices.Equal(r.bytesGiven(), []int64{21*gib + gib/2, 21*gib + gib/2}) {
			r.Errorf("given %v, %v", r.bytesGiven(), err)
		}
	})
}

// A spec that names a share of the whole GPU is held to it: the engine would not
// start with less.
func TestAShareOfTheWholeGPU(t *testing.T) {
	onGPUs(t, 1, func(r *rig, script *gpu.Scripted) {
		r.engine.set(func() { r.engine.size = engine.Size{Shared: 10 * gib, Greedy: true, OfTotal: 0.4} })
		m, err := r.load("a")
		if err != nil || m.GetMemory()[1].GetBytes() != 32*gib {
			r.Fatalf("set aside %v, %v", m.GetMemory(), err)
		}
		script.Change(0, func(d *gpu.Device) { d.FreeBytes, d.UsedBytes = 30*gib, 50*gib })
		pass(2 * time.Second)
		if _, err := r.load("b"); err == nil || !strings.Contains(err.Error(), "needs 32768.0 MiB free on each of 1 GPUs; gpu0 has") {
			r.Errorf("got %v", err)
		}
	})
}

// What an engine took beyond what it was given is set aside the next time, and it
// is given no more for it; what it left it may take yet.
func TestWhatAGreedyEngineTookBeyondIsSetAside(t *testing.T) {
	onGPUs(t, 1, func(r *rig, script *gpu.Scripted) {
		r.engine.set(func() { r.engine.size = engine.Size{Host: mib, Shared: 10 * gib, Greedy: true, OfFree: 0.5} })
		machine := &fakeMachine{free: 90 * mib, usages: map[int]process.Usage{7: {PIDs: []int{7}}}}
		r.agent.parts.Machine = machine
		took := func(c string, n int64) {
			r.Helper()
			r.ready(c)
			r.agent.models[digest(c)].child.Store(7)
			script.Change(0, func(d *gpu.Device) { d.FreeBytes, d.Processes = 80*gib-n, []gpu.Process{{PID: 7, Bytes: n}} })
			r.look()
			script.Change(0, func(d *gpu.Device) { d.FreeBytes, d.Processes = 80*gib, nil })
			r.unload(c)
			r.look()
		}
		took("a", 50*gib) // of the 40 that it was given
		m, err := r.load("a")
		if err != nil || !slices.Equal(r.bytesGiven(), []int64{32 * gib}) || m.GetMemory()[1].GetBytes() != 40*gib {
			r.Errorf("given %v, set aside %v, %v", r.bytesGiven(), m.GetMemory(), err)
		}
		r.unload("a")
		took("b", 4*gib)
		if _, err := r.load("b"); err != nil || !slices.Equal(r.bytesGiven(), []int64{40 * gib}) {
			r.Errorf("given %v, %v", r.bytesGiven(), err)
		}
	})
}

func TestEnginesThatMeasureStartAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts turns
		on := func(pools ...string) (gpus []engine.GPU) {
			for _, p := range pools {
				gpus = append(gpus, engine.GPU{Pool: p})
			}
			return gpus
		}
		take := func(ctx context.Context, alone bool, pools ...string) func() {
			done, err := ts.take(ctx, on(pools...), alone)
			if err != nil {
				return nil
			}
			return done
		}
		one, two := take(t.Context(), false, "gpu0"), take(t.Context(), false, "gpu0", "gpu1")
		if one == nil || two == nil {
			t.Fatal("engines that do not measure wait for each other")
		}
		began := make(chan func())
		go func() { began <- take(t.Context(), true, "gpu2", "gpu1", "gpu0") }()
		synctest.Wait()
		one()
		one() // a second time is nothing
		synctest.Wait()
		select {
		case <-began:
			t.Fatal("it began beside another")
		default:
		}
		if done := take(t.Context(), true, "gpu3"); done == nil {
			t.Error("other GPUs are held")
		}
		two()
		done := <-began
		given, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if take(given, false, "gpu2") != nil {
			t.Error("another began beside it")
		}
		if take(given, true, "gpu4", "gpu2") != nil {
			t.Error("it began when it was given up")
		}
		done()
		if take(t.Context(), true, "gpu0", "gpu1", "gpu2", "gpu4") == nil {
			t.Error("something is still held")
		}
	})
}

// The second of two engines that measure starts when the first is ready, and is
// told what is free by then.
func TestASecondEngineMeasuresWhatTheFirstLeaves(t *testing.T) {
	ledger, err := process.OpenLedger(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ledger.Close() })
	script, work := gpu.NewScripted(gpu.H100(0)), t.TempDir()
	r := newRigWith(t, func(cfg *Config, parts *Parts) {
		cfg.Supervision.HealthInterval, cfg.WorkDir = time.Millisecond, work
		parts.Ledger = ledger
		parts.GPUs = gpu.NewInventory(script, clock.Real(), slog.New(slog.DiscardHandler), 0)
	})
	var starts atomic.Int32
	fits := make(chan int64, 8)
	r.engine.set(func() {
		r.engine.size = engine.Size{Host: mib, Shared: 10 * gib, Greedy: true, OfFree: 0.4}
		r.engine.health = errEngine
		r.engine.command = &engine.Command{
			Path: "/bin/sleep", Args: func(int) []string { starts.Add(1); return nil }, Measures: true,
			Fit: func(free map[string]int64) []string { fits <- free["gpu0"]; return []string{"600"} },
		}
	})
	r.look()
	if _, err := r.load("a"); err != nil {
		t.Fatal(err)
	}
	if free := <-fits; free != 80*gib {
		t.Errorf("the first is told of %d bytes", free)
	}
	if _, err := r.load("b"); err != nil {
		t.Fatal(err)
	}
	for range 20 { // while it is looked at, the first is not ready
		pass(time.Millisecond)
		if n := starts.Load(); n != 1 {
			t.Fatalf("%d engines start at once", n)
		}
	}
	script.Change(0, func(d *gpu.Device) { d.FreeBytes, d.UsedBytes = 47*gib, 33*gib })
	r.engine.set(func() { r.engine.health = nil })
	if free := <-fits; free != 47*gib {
		t.Errorf("the second is told of %d bytes", free)
	}
	r.awaitReady("a")
	r.awaitReady("b")
	script.Fail(errEngine)
	if free := r.agent.freeOf(t.Context(), r.agent.models[digest("b")]); free["gpu0"] != 48*gib { // all but the first's 32
		t.Errorf("by the account %d are free", free["gpu0"])
	}
}
