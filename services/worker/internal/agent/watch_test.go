package agent

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// watch follows the stream of state.
type watch struct {
	mu    sync.Mutex
	got   []*workerv1.WorkerState
	at    []time.Time
	err   error
	ended chan struct{}
}

func (r *rig) watch() *watch {
	stream, err := r.client.WatchState(r.Context(), &workerv1.WatchStateRequest{})
	if err != nil {
		r.Fatal(err)
	}
	w := &watch{ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for {
			resp, err := stream.Recv()
			w.mu.Lock()
			if err != nil {
				w.err = err
				w.mu.Unlock()
				return
			}
			w.got, w.at = append(w.got, resp.GetState()), append(w.at, time.Now())
			w.mu.Unlock()
		}
	}()
	synctest.Wait()
	return w
}

func (w *watch) end() error {
	<-w.ended
	return w.err
}

func (w *watch) all() []*workerv1.WorkerState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*workerv1.WorkerState(nil), w.got...)
}

func (w *watch) newest() *workerv1.WorkerState {
	all := w.all()
	return all[len(all)-1]
}

func TestWatchState(t *testing.T) {
	inBubble(t, func(r *rig) {
		w := r.watch()
		first := w.newest()
		if len(w.all()) != 1 || first.GetWorkerId() != "w1" || first.GetAgentVersion() != "test" || len(first.GetEngines()) != 2 || first.GetObserveTime() == nil {
			r.Fatalf("at once: %v", w.all())
		}
		pass(10 * time.Second)
		if n := len(w.all()); n < 11 || n > 13 {
			r.Errorf("%d messages in ten quiet seconds", n)
		}
		if _, err := r.load("a"); err != nil {
			r.Fatal(err)
		}
		before := len(w.all())
		pass(2 * settle)
		synctest.Wait()
		all := w.all()
		if s := w.newest(); len(s.GetModels()) != 1 || s.GetModels()[0].GetState() != workerv1.ModelState_MODEL_STATE_READY {
			r.Errorf("soon after a change: %v", s)
		}
		if n := len(all) - before; n != 1 {
			r.Errorf("%d messages for changes that came together", n)
		}
		for i, s := range all[1:] {
			if s.GetSequence() <= all[i].GetSequence() {
				r.Errorf("sequence %d after %d", s.GetSequence(), all[i].GetSequence())
			}
		}
	})
}

// Load is told, but not with a message for every request.
func TestWatchStateOfLoad(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		w := r.watch()
		pass(time.Second)
		before := len(w.all())
		for range 1000 {
			if err := r.invoke("a"); err != nil {
				r.Fatal(err)
			}
			pass(time.Millisecond)
		}
		if n := len(w.all()) - before; n < 8 || n > 12 {
			r.Errorf("%d messages for a thousand requests in a second", n)
		}
		_, release := r.hold("a", 2)
		pass(loadEvery + time.Millisecond)
		synctest.Wait()
		if m := w.newest().GetModels()[0]; m.GetActive() != 2 {
			r.Errorf("load: %v", m)
		}
		release()
	})
}

// A change is not held up by load that was told a moment ago.
func TestChangeOvertakesLoad(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		w := r.watch()
		pass(time.Second)
		if err := r.invoke("a"); err != nil {
			r.Fatal(err)
		}
		synctest.Wait()
		if _, err := r.client.UnloadModel(r.Context(), &workerv1.UnloadModelRequest{Digest: digest("a")}); err != nil {
			r.Fatal(err)
		}
		pass(settle + time.Millisecond)
		synctest.Wait()
		if s := w.newest(); len(s.GetModels()) != 0 {
			r.Errorf("after %v: %v", settle, s)
		}
	})
}
