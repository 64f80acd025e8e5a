package inference_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

const chaosChunks = 5

// ledger knows what happened to every request, by its id.
type ledger struct {
	t testing.TB

	mu    sync.Mutex
	begun map[string]bool // the caller has its first chunk
	again int             // requests that were tried more than once
	tries map[string]int
}

// tried notes that a request reached a worker.
func (l *ledger) tried(id, worker string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun[id] {
		l.t.Errorf("request %s was sent to %s after its caller had the first chunk", id, worker)
	}
	if l.tries[id]++; l.tries[id] == 2 {
		l.again++
	}
}

func (l *ledger) first(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun[id] = true
}

// engine answers in steps, so that workers die in the middle of answers.
func (l *ledger) engine(w *fakes.Worker) {
	work := func(ctx context.Context) error {
		select {
		case <-time.After(time.Duration(rand.IntN(3)) * time.Millisecond):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.OnInvoke = func(ctx context.Context, req *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error) {
		l.tried(string(req.GetBody()), w.ID)
		return &workerv1.InvokeResponse{Body: req.GetBody()}, work(ctx)
	}
	w.OnStream = func(req *workerv1.InvokeRequest, s workerStream) error {
		l.tried(string(req.GetBody()), w.ID)
		if err := fakes.Accept(s); err != nil {
			return err
		}
		for i := range chaosChunks {
			if err := work(s.Context()); err != nil {
				return err
			}
			if err := fakes.Chunk(s, fmt.Sprintf("%s:%d", w.ID, i)); err != nil {
				return err
			}
		}
		return fakes.Answer(s)
	}
}

// unary must always be answered.
func (l *ledger) unary(ctx context.Context, m *mesh, id string) {
	resp, err := m.client.Invoke(ctx, chat("m", id))
	if err != nil || string(resp.GetBody()) != id {
		l.t.Errorf("request %s: %v, %v", id, resp, err)
	}
}

// stream must be answered in order by one worker, or fail after its first
// chunk; it reports whether it failed.
func (l *ledger) stream(ctx context.Context, m *mesh, id string) (failed bool) {
	stream, err := m.client.InvokeStream(ctx, chat("m", id))
	if err != nil {
		l.t.Errorf("stream %s: %v", id, err)
		return true
	}
	worker, chunks, finished := "", 0, false
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if !finished || chunks != chaosChunks {
				l.t.Errorf("stream %s ended well after %d chunks", id, chunks)
			}
			return false
		}
		if err != nil {
			if chunks == 0 || apierr.ReasonOf(err) != apierr.EngineFailed {
				l.t.Errorf("stream %s failed after %d chunks: %v", id, chunks, err)
			}
			return true
		}
		switch ev := msg.GetEvent().(type) {
		case *inferencev1.InvokeStreamResponse_ServedBy:
			if worker != "" {
				l.t.Errorf("stream %s: served by two", id)
			}
			worker = ev.ServedBy.GetWorkerId()
		case *inferencev1.InvokeStreamResponse_Chunk:
			if want := fmt.Sprintf("%s:%d", worker, chunks); string(ev.Chunk) != want {
				l.t.Errorf("stream %s: chunk %q; want %q", id, ev.Chunk, want)
			}
			if chunks++; chunks == 1 {
				l.first(id)
			}
		case *inferencev1.InvokeStreamResponse_Finish:
			finished = true
		}
	}
}

// TestWorkersDieAndComeBack is the property that everything here is for: while
// one other worker is ready, no request fails because a worker died, but for
// those that had begun to be answered, and these are never begun again.
func TestWorkersDieAndComeBack(t *testing.T) {
	const kills, callers = 15, 8
	l := &ledger{t: t, begun: make(map[string]bool), tries: make(map[string]int)}
	m := newMesh(t, 3, meshOptions{worker: func(_ int, w *fakes.Worker) { l.engine(w) }}, fakes.Model("m", 1))
	m.awaitReady(t, "m", 2)
	m.registry.Put(fakes.Model("other", 1)) // changes of the registry go on meanwhile

	ctx, cancel := context.WithCancel(caller(t))
	defer cancel()
	var load sync.WaitGroup
	var stop atomic.Bool
	var requests, failures atomic.Int64
	for c := range callers {
		load.Go(func() {
			for n := 0; !stop.Load(); n++ {
				id := fmt.Sprintf("%d-%d", c, n)
				requests.Add(1)
				if c%2 == 0 {
					l.unary(ctx, m, id)
				} else if l.stream(ctx, m, id) {
					failures.Add(1)
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(7, 11))
	for range kills {
		victim := m.workers[rng.IntN(len(m.workers))]
		before := requests.Load()
		victim.Kill()
		for requests.Load() < before+20 { // under load while it is away
			<-time.After(time.Millisecond)
		}
		victim.Reset()
		if err := victim.Start(ctx); err != nil {
			t.Fatal(err)
		}
		m.awaitTwo(ctx, t)
	}
	stop.Store(true)
	load.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%d requests, %d tried again, %d streams cut after their first chunk", requests.Load(), l.again, failures.Load())
	if l.again == 0 {
		t.Error("no request was ever tried again: the test shows nothing")
	}
}

// awaitTwo waits until two workers can serve.
func (m *mesh) awaitTwo(ctx context.Context, t *testing.T) {
	t.Helper()
	for ctx.Err() == nil {
		resp, err := m.client.ListWorkers(identity.NewContext(ctx, identity.Caller{Tenant: "default", Subject: "olga"}), &inferencev1.ListWorkersRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var up []string
		for _, w := range resp.GetWorkers() {
			for _, model := range w.GetState().GetModels() {
				if w.GetConnected() && model.GetDigest() == fakes.VersionDigest("m", 1) &&
					model.GetState() == workerv1.ModelState_MODEL_STATE_READY {
					up = append(up, w.GetState().GetWorkerId())
				}
			}
		}
		if len(up) >= 2 {
			return
		}
		<-time.After(2 * time.Millisecond)
	}
	t.Fatal(strings.TrimSpace("two workers were never ready again"))
}
