package fleet_test

import (
	"testing"
	"testing/synctest"
	"time"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// When an engine is started again is told by the worker's clock, and known by ours.
func TestViewKnowsWhenEnginesAreStartedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "a", "b", "c")
		d := fakes.Digest("m")
		s.workers["a"].Set(d, workerv1.ModelState_MODEL_STATE_FAILED) // it does not tell
		s.list("a", "b", "c")
		s.run(t)
		s.workers["b"].Fail(d, 2*time.Second)
		s.workers["c"].Fail(d, 16*time.Second)
		s.workers["c"].Drain(true)
		synctest.Wait()
		want := fleet.Restart{At: time.Now().Add(2 * time.Second), Pause: 2 * time.Second}
		if all := s.fleet.View().Restarts(d); len(all) != 1 || !all[0].At.Equal(want.At) || all[0].Pause != want.Pause {
			t.Errorf("%v; want %v alone", all, want)
		}
		s.workers["b"].Set(d, loading)
		synctest.Wait()
		if all := s.fleet.View().Restarts(d); len(all) != 0 {
			t.Errorf("it is being started: %v", all)
		}
	})
}
