package agent

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// inBubble runs the test in fake time.
func inBubble(t *testing.T, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newRig(t)) })
}

func TestLoad(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.engine.set(func() { r.engine.health = errEngine })
		m, err := r.load("a")
		r.engine.set(func() { r.engine.health = nil })
		if err != nil || m.GetState() != workerv1.ModelState_MODEL_STATE_LOADING || m.GetMemoryBytes() != 40*mib {
			r.Fatalf("got %v, %v", m, err)
		}
		pass(time.Second)
		again, err := r.load("a")
		if err != nil || again.GetState() != workerv1.ModelState_MODEL_STATE_READY || len(r.agent.State("").GetModels()) != 1 {
			r.Fatalf("again: %v, %v", again, err)
		}
		if again.GetSlots() != 2 || again.GetContextLength() != 2000 || again.GetEmbeddingDimensions() != 3 || again.GetName() != "ma" {
			r.Errorf("what the engine said of itself: %v", again)
		}
		if pool := r.agent.State("").GetMemory()[0]; pool.GetUsedBytes() != 40*mib || pool.GetFreeBytes() != 60*mib {
			r.Errorf("memory: %v", pool)
		}
	})
}

func TestLoadRefusesWithFigures(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		r.ready("b")
		_, err := r.load("c")
		e := apierr.From(err)
		if e.Reason != apierr.FailedPrecondition || !strings.Contains(e.Message, "needs 40.0 MiB on cpu, where 20.0 MiB of 100.0 MiB are free") ||
			e.Metadata["needed_bytes"] != "41943040" || e.Metadata["free_bytes"] != "20971520" {
			r.Errorf("memory: %v, %v", e, e.Metadata)
		}
		r.engine.set(func() { r.engine.memory = 0 })
		r.ready("d")
		if _, err := r.load("e"); apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), "has 3 models") {
			r.Errorf("too many models: %v", err)
		}
		spec := &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "vllm"}
		if _, err := r.client.UnloadModel(r.Context(), &workerv1.UnloadModelRequest{Digest: digest("d")}); err != nil {
			r.Fatal(err)
		}
		pass(time.Second)
		_, err = r.client.LoadModel(r.Context(), &workerv1.LoadModelRequest{Digest: digest("f"), Spec: spec})
		if e := apierr.From(err); e.Reason != apierr.FailedPrecondition || e.Metadata["engines"] != "fake,other" {
			r.Errorf("unknown engine: %v, %v", err, e.Metadata)
		}
		spec = &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "fake", Artifacts: []*commonv1.Artifact{{Uri: "file:///no/such/file"}}}
		_, err = r.client.LoadModel(r.Context(), &workerv1.LoadModelRequest{Digest: digest("f"), Spec: spec})
		if apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), "/no/such/file") {
			r.Errorf("a file that is missing: %v", err)
		}
		if r.state("f") != nil {
			r.Error("a refused model is there")
		}
	})
}

func TestInvokeWhereItCannotBeServed(t *testing.T) {
	inBubble(t, func(r *rig) {
		if err := r.invoke("a"); apierr.ReasonOf(err) != apierr.Unavailable {
			r.Errorf("a version that is not there: %v", err)
		}
		r.engine.set(func() { r.engine.health = errEngine })
		if _, err := r.load("a"); err != nil {
			r.Fatal(err)
		}
		pass(time.Second)
		if err := r.invoke("a"); apierr.ReasonOf(err) != apierr.Unavailable {
			r.Errorf("a version that is loading: %v", err)
		}
		r.engine.set(func() { r.engine.health = nil })
		pass(time.Second)
		if err := r.invoke("a"); err != nil {
			r.Errorf("a version that is ready: %v", err)
		}
	})
}

func TestEngineFailsAndComesBack(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		r.engine.set(func() { r.engine.health = errEngine })
		pass(15100 * time.Millisecond) // three checks
		if m := r.state("a"); m.GetState() != workerv1.ModelState_MODEL_STATE_FAILED || !strings.Contains(m.GetError(), "3 health checks in a row failed: the engine is broken") {
			r.Fatalf("got %v", m)
		}
		if m, now := r.state("a"), time.Now(); m.GetRestartPause().AsDuration() <= 0 || !m.GetRestartTime().AsTime().After(now) ||
			m.GetRestartTime().AsTime().Sub(now) > m.GetRestartPause().AsDuration() {
			r.Errorf("when it is started again: %v", m)
		}
		if err := r.invoke("a"); apierr.ReasonOf(err) != apierr.Unavailable {
			r.Errorf("while it is failed: %v", err)
		}
		r.engine.set(func() { r.engine.health = nil })
		pass(5 * time.Second)
		if m := r.state("a"); m.GetState() != workerv1.ModelState_MODEL_STATE_READY || m.GetRestarts() != 1 || m.GetError() != "" || m.RestartTime != nil || m.RestartPause != nil {
			r.Errorf("afterwards: %v", m)
		}
	})
}

func TestStream(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		stream, err := r.client.InvokeStream(r.Context(), &workerv1.InvokeRequest{
			Digest: digest("a"), Operation: workerv1.Operation_OPERATION_COMPLETION, Body: []byte(`{"a":1}`),
		})
		if err != nil {
			r.Fatal(err)
		}
		var got []string
		for {
			ev, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				r.Fatal(err)
			}
			switch ev := ev.GetEvent().(type) {
			case *workerv1.InvokeStreamResponse_Accepted:
				got = append(got, "accepted")
			case *workerv1.InvokeStreamResponse_Chunk:
				got = append(got, string(ev.Chunk))
			case *workerv1.InvokeStreamResponse_Finish:
				got = append(got, ev.Finish.GetUsage().String())
			}
		}
		if text := strings.Join(got, " "); !strings.HasPrefix(text, `accepted {"a":1} {} `) || !strings.Contains(text, "completion_tokens:1") || len(got) != 4 {
			r.Errorf("got %q", got)
		}
	})
}

// hold starts n requests that wait in the engine, and returns their outcomes
// and what lets them go.
func (r *rig) hold(c string, n int) (chan error, func()) {
	release := make(chan struct{})
	r.engine.set(func() { r.engine.release = release })
	done := make(chan error, n)
	for range n {
		go func() { done <- r.invoke(c) }()
	}
	synctest.Wait()
	return done, func() { close(release) }
}

func TestOverload(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		done, release := r.hold("a", 3)
		if m := r.state("a"); m.GetActive() != 2 || m.GetQueued() != 1 || r.agent.State("").GetInFlight() != 3 {
			r.Errorf("load: %v", m)
		}
		e := apierr.From(r.invoke("a"))
		if e.Reason != apierr.Overloaded || e.RetryAfter < time.Second {
			r.Errorf("one too many: %v, retry after %v", e, e.RetryAfter)
		}
		release()
		for range 3 {
			if err := <-done; err != nil {
				r.Error(err)
			}
		}
		if err := r.invoke("a"); err != nil {
			r.Errorf("afterwards: %v", err)
		}
		if m := r.state("a"); m.GetActive()+m.GetQueued() != 0 {
			r.Errorf("load afterwards: %v", m)
		}
	})
}

func TestCancellationReachesTheEngine(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		r.engine.set(func() { r.engine.release = make(chan struct{}) })
		ctx, cancel := context.WithCancel(r.Context())
		stream, err := r.client.InvokeStream(ctx, &workerv1.InvokeRequest{
			Digest: digest("a"), Operation: workerv1.Operation_OPERATION_CHAT, Body: []byte(`{}`),
		})
		if err != nil {
			r.Fatal(err)
		}
		for range 2 {
			if _, err := stream.Recv(); err != nil {
				r.Fatal(err)
			}
		}
		cancel()
		synctest.Wait()
		if n := r.engine.busy(); n != 0 {
			r.Errorf("%d requests still run", n)
		}
		if m := r.state("a"); m.GetActive() != 0 {
			r.Errorf("load: %v", m)
		}
	})
}

func TestUnload(t *testing.T) {
	inBubble(t, func(r *rig) {
		unload := func() {
			if _, err := r.client.UnloadModel(r.Context(), &workerv1.UnloadModelRequest{Digest: digest("a")}); err != nil {
				r.Error(err)
			}
			synctest.Wait()
		}
		unload() // not there: no error
		r.ready("a")
		done, release := r.hold("a", 1)
		unload()
		unload()
		if m := r.state("a"); m.GetState() != workerv1.ModelState_MODEL_STATE_DRAINING || m.GetActive() != 1 {
			r.Errorf("while a request runs: %v", m)
		}
		if err := r.invoke("a"); apierr.ReasonOf(err) != apierr.Unavailable {
			r.Errorf("a new request: %v", err)
		}
		if _, err := r.load("a"); apierr.ReasonOf(err) != apierr.Unavailable {
			r.Errorf("loaded again: %v", err)
		}
		release()
		if err := <-done; err != nil {
			r.Errorf("the request in flight: %v", err)
		}
		synctest.Wait()
		if m := r.state("a"); m != nil || r.agent.State("").GetMemory()[0].GetUsedBytes() != 0 {
			r.Errorf("afterwards: %v", r.agent.State(""))
		}
		r.engine.set(func() { r.engine.release = nil })
		r.ready("a")
	})
}

func TestUnloadDoesNotWaitForever(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		_, release := r.hold("a", 1)
		defer release()
		if _, err := r.client.UnloadModel(r.Context(), &workerv1.UnloadModelRequest{Digest: digest("a")}); err != nil {
			r.Fatal(err)
		}
		pass(9 * time.Second)
		if r.state("a") == nil {
			r.Error("gone before its time")
		}
		pass(2 * time.Second)
		if m := r.state("a"); m != nil {
			r.Errorf("still there: %v", m)
		}
	})
}

func TestDrain(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		watch := r.watch()
		done, release := r.hold("a", 1)
		drained := make(chan error, 1)
		go func() { drained <- r.agent.Drain(r.Context()) }()
		pass(settle + time.Millisecond)
		synctest.Wait()
		if s := watch.newest(); !s.GetDraining() || s.GetInFlight() != 1 {
			r.Errorf("what the replicas know: %v", s)
		}
		if err := r.invoke("a"); apierr.ReasonOf(err) != apierr.Unavailable {
			r.Errorf("a new request: %v", err)
		}
		if _, err := r.load("b"); apierr.ReasonOf(err) != apierr.Unavailable {
			r.Errorf("a new model: %v", err)
		}
		release()
		if err := <-done; err != nil {
			r.Errorf("the request in flight: %v", err)
		}
		if err := <-drained; err != nil {
			r.Error(err)
		}
		if err := watch.end(); !errors.Is(err, io.EOF) {
			r.Errorf("the stream of state ended with %v", err)
		}
		if s := watch.newest(); s.GetInFlight() != 0 || !s.GetDraining() {
			r.Errorf("its last message: %v", s)
		}
	})
}

func TestDrainDoesNotWaitForever(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		_, release := r.hold("a", 1)
		defer release()
		begun := time.Now()
		if err := r.agent.Drain(r.Context()); err != nil {
			r.Error(err)
		}
		if took := time.Since(begun); took != 10*time.Second || r.state("a") != nil {
			r.Errorf("took %v; model %v", took, r.state("a"))
		}
	})
}

func TestStatusOfErrors(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		r.engine.set(func() { r.engine.err = apierr.New(apierr.ContextLengthExceeded, "too long") })
		if got := status.Code(r.invoke("a")); got != codes.InvalidArgument {
			r.Errorf("got %v", got)
		}
	})
}
