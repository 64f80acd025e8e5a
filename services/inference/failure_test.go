package inference_test

import (
	"context"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// stepped is a worker's stream that does as the test says.
type stepped struct {
	worker string
	chunks chan string   // what to send next
	ended  chan struct{} // closed when the worker's side ended
}

// steppers hands the test every stream that reaches a worker.
func steppers(accept bool) (meshOptions, <-chan *stepped) {
	streams := make(chan *stepped, 16)
	return meshOptions{worker: func(_ int, w *fakes.Worker) {
		w.OnStream = func(_ *workerv1.InvokeRequest, s workerStream) error {
			st := &stepped{worker: w.ID, chunks: make(chan string), ended: make(chan struct{})}
			defer close(st.ended)
			if accept {
				if err := fakes.Accept(s); err != nil {
					return err
				}
			}
			streams <- st
			for {
				select {
				case c, ok := <-st.chunks:
					if !ok {
						return fakes.Answer(s)
					}
					if err := fakes.Chunk(s, c); err != nil {
						return err
					}
				case <-s.Context().Done():
					return s.Context().Err()
				}
			}
		}
	}}, streams
}

func (m *mesh) kill(id string) *fakes.Served {
	for _, w := range m.workers {
		if w.ID == id {
			w.Kill()
			return w
		}
	}
	panic("no worker " + id)
}

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
	}
}

func TestCancellingReachesTheWorker(t *testing.T) {
	o, streams := steppers(true)
	m := newMesh(t, 1, o, fakes.Model("m", 1))
	for _, chunks := range []int{0, 2} {
		ctx, cancel := context.WithCancel(caller(t))
		stream, err := m.client.InvokeStream(ctx, chat("m", `{}`))
		if err != nil {
			t.Fatal(err)
		}
		st := <-streams
		for range chunks {
			st.chunks <- "c"
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		within(t, "the end of the worker's stream", st.ended)
	}
}

func TestALossBeforeTheFirstChunkIsNotSeen(t *testing.T) {
	for name, accept := range map[string]bool{"before it was accepted": false, "after it was accepted": true} {
		t.Run(name, func(t *testing.T) {
			o, streams := steppers(accept)
			m := newMesh(t, 2, o, fakes.Model("m", 1))
			m.awaitReady(t, "m", 2)
			stream, err := m.client.InvokeStream(caller(t), chat("m", `{}`))
			if err != nil {
				t.Fatal(err)
			}
			first := <-streams
			m.kill(first.worker)
			second := <-streams
			if second.worker == first.worker {
				t.Fatal("tried on the same worker again")
			}
			second.chunks <- "hello"
			msg, err := stream.Recv()
			if by := msg.GetServedBy(); err != nil || by.GetWorkerId() != second.worker || by.GetAttempts() != 2 {
				t.Errorf("the first message is %v, %v", msg, err)
			}
			if msg, err = stream.Recv(); err != nil || string(msg.GetChunk()) != "hello" {
				t.Errorf("the second message is %v, %v", msg, err)
			}
			close(second.chunks)
			if msg, err = stream.Recv(); err != nil || msg.GetFinish() == nil {
				t.Errorf("the third message is %v, %v", msg, err)
			}
		})
	}
}

func TestALossAfterTheFirstChunkEndsTheStream(t *testing.T) {
	o, streams := steppers(true)
	m := newMesh(t, 2, o, fakes.Model("m", 1))
	m.awaitReady(t, "m", 2)
	stream, err := m.client.InvokeStream(caller(t), chat("m", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	st := <-streams
	st.chunks <- "hello"
	for range 2 {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	m.kill(st.worker)
	_, err = stream.Recv()
	wantReason(t, err, apierr.EngineFailed, "")
	if took := time.Since(start); took > time.Second {
		t.Errorf("the stream ended after %v; want within a second", took)
	}
	select {
	case again := <-streams:
		t.Errorf("sent a second time, to %s, after the first chunk", again.worker)
	default:
	}
}

func TestAnAnswerThatIsNotWhole(t *testing.T) {
	m := newMesh(t, 1, meshOptions{worker: func(_ int, w *fakes.Worker) {
		w.OnStream = func(_ *workerv1.InvokeRequest, s workerStream) error { return fakes.Chunk(s, "half") }
	}}, fakes.Model("m", 1))
	stream, err := m.client.InvokeStream(caller(t), chat("m", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	wantReason(t, err, apierr.EngineFailed, "")
}

func TestErrorsOfTheEngineAreSaidAsTheyAre(t *testing.T) {
	m := newMesh(t, 2, meshOptions{worker: func(_ int, w *fakes.Worker) {
		w.OnInvoke = func(context.Context, *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error) {
			return nil, apierr.New(apierr.ContextLengthExceeded, "9031 tokens are more than 2048").WithField("messages")
		}
		w.OnStream = func(*workerv1.InvokeRequest, workerStream) error {
			return apierr.New(apierr.Overloaded, "the queue is full").WithRetryAfter(7 * time.Second)
		}
	}}, fakes.Model("m", 1))
	_, err := m.client.Invoke(caller(t), chat("m", `{}`))
	wantReason(t, err, apierr.ContextLengthExceeded, "messages")
	stream, err := m.client.InvokeStream(caller(t), chat("m", `{}`))
	if err == nil {
		_, err = stream.Recv()
	}
	wantReason(t, err, apierr.Overloaded, "")
	if got := apierr.From(err).RetryAfter; got != 7*time.Second {
		t.Errorf("retry after %v; want what the worker said", got)
	}
}

// TestASlowCallerHoldsTheWorkerBack: between the engine and a caller who does
// not read there is flow control, and no buffer that grows.
func TestASlowCallerHoldsTheWorkerBack(t *testing.T) {
	const chunk, total = 16 << 10, 4096 // 64 MiB in all
	sent := make(chan int, 1)
	progress := make(chan struct{}, total)
	m := newMesh(t, 1, meshOptions{worker: func(_ int, w *fakes.Worker) {
		w.OnStream = func(_ *workerv1.InvokeRequest, s workerStream) error {
			n := 0
			defer func() { sent <- n }()
			for ; n < total; n++ {
				if err := fakes.Chunk(s, string(make([]byte, chunk))); err != nil {
					return err
				}
				progress <- struct{}{}
			}
			return nil
		}
	}}, fakes.Model("m", 1))
	ctx, cancel := context.WithCancel(caller(t))
	stream, err := m.client.InvokeStream(ctx, chat("m", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	// The worker stops making progress although nobody told it to.
	for stalled := false; !stalled; {
		select {
		case <-progress:
		case <-time.After(300 * time.Millisecond):
			stalled = true
		}
	}
	cancel()
	if n := <-sent; n*chunk > 4<<20 {
		t.Errorf("%d bytes were taken from the worker for a caller who does not read", n*chunk)
	}
}

func TestAWorkerThatComesBackTakesRequestsAgain(t *testing.T) {
	m := newMesh(t, 2, meshOptions{}, fakes.Model("m", 1))
	m.awaitReady(t, "m", 2)
	a := m.kill("a")
	m.awaitReady(t, "m", 1)
	a.Reset() // a process that was killed has nothing loaded
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.awaitReady(t, "m", 2)
	b := m.kill("b")
	defer b.Kill()
	resp, err := m.client.Invoke(caller(t), chat("m", `{}`))
	if err != nil || resp.GetServedBy().GetWorkerId() != "a" {
		t.Errorf("answered by %v, %v", resp.GetServedBy(), err)
	}
}

// An engine that is started again is not waited for where the caller has another model,
// or can do without an answer.
func TestAnEngineThatIsStartedAgainIsNotWaitedForByAll(t *testing.T) {
	digest := fakes.VersionDigest("m", 1)
	has := func(_ int, w *fakes.Worker) { w.Set(digest, workerv1.ModelState_MODEL_STATE_READY) }
	m := newMesh(t, 1, meshOptions{worker: has}, fakes.Model("m", 1))
	m.awaitReady(t, "m", 1)
	m.workers[0].Fail(digest, 5*time.Second)
	m.awaitReady(t, "m", 0)
	hurried := chat("m", `{}`)
	hurried.NoRestartWait = true
	for name, ask := range map[string]func(ctx context.Context) error{
		"another model": func(ctx context.Context) error { _, err := m.client.Invoke(ctx, hurried); return err },
		"a count": func(ctx context.Context) error {
			_, err := m.client.CountTokens(ctx, &inferencev1.CountTokensRequest{Model: "m", Operation: workerv1.Operation_OPERATION_CHAT, Body: []byte(`{}`)})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(caller(t), 8*time.Second)
		err := ask(ctx)
		cancel()
		if e := apierr.From(err); e.Reason != apierr.Unavailable || e.Metadata["state"] != "restarting" || e.RetryAfter < time.Second || e.RetryAfter > 5*time.Second {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoWorkerAtAll(t *testing.T) {
	m := newMesh(t, 0, meshOptions{}, fakes.Model("m", 1))
	start := time.Now()
	_, err := m.client.Invoke(caller(t), chat("m", `{}`))
	wantReason(t, err, apierr.Unavailable, "")
	if apierr.From(err).RetryAfter <= 0 || time.Since(start) > time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	resp, err := m.client.ListServedModels(caller(t), &inferencev1.ListServedModelsRequest{})
	if err != nil || resp.GetModels()[0].GetState() != inferencev1.ServingState_SERVING_STATE_UNAVAILABLE {
		t.Errorf("the models are %v, %v", resp, err)
	}
}
