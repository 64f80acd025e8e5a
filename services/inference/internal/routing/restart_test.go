package routing_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// ended is what a worker says of a request under which the engine ended, and away what it
// says when there is none just now.
func ended() error {
	return apierr.New(apierr.Unavailable, "the engine does not answer").WithMetadata("engine_ended", "true").WithMetadata("in_flight", "9")
}

func away() error {
	return apierr.New(apierr.Unavailable, "the version is not ready on this worker").WithMetadata("engine_away", "true")
}

// crash has the engine of w0 end, be started again after a pause, and be ready after load.
func (s *stage) crash(pause, load time.Duration) {
	w := s.workers[0]
	w.Fail(s.digest, pause)
	time.AfterFunc(pause, func() {
		w.Set(s.digest, loading)
		w.Restart(s.digest)
		time.AfterFunc(load, func() { w.Set(s.digest, ready) })
	})
	synctest.Wait()
}

func TestWaitsForAnEngineThatIsStartedAgain(t *testing.T) {
	bubble(t, 1, func(s *stage) {
		t := s.t
		start := time.Now()
		s.crash(2*time.Second, time.Second)
		time.AfterFunc(time.Second, func() {
			if n := s.router.Waiting(); n != 1 {
				t.Errorf("%d are said to wait", n)
			}
		})
		var waited time.Duration
		err := s.router.Do(t.Context(), s.query(), func(_ context.Context, run *routing.Run) (bool, error) {
			waited = run.WaitedForReady()
			return true, nil
		})
		if err != nil || waited != 3*time.Second {
			t.Fatalf("is said to have waited %v: %v", waited, err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("answered after %v", took)
		}
	})
}

// A request whose engine ended before it had answered waits for the next one, also while
// its worker has not told yet.
func TestAsksTheEngineThatIsStartedAgain(t *testing.T) {
	for name, failure := range map[string]func() error{"in its hands": ended, "just gone": away} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 1, func(s *stage) {
				t := s.t
				var at []time.Duration
				start := time.Now()
				err := s.do(t.Context(), func(string) (bool, error) {
					if at = append(at, time.Since(start)); len(at) > 1 {
						return true, nil
					}
					time.AfterFunc(20*time.Millisecond, func() { s.crash(time.Second, time.Second) })
					return false, failure()
				})
				if err != nil || len(at) != 2 || at[1] < 2020*time.Millisecond || at[1] > 2100*time.Millisecond {
					t.Errorf("asked at %v: %v", at, err)
				}
			})
		})
	}
}

// What may be waited is waited once, and not for each engine that ends.
func TestACrashLoopHoldsNobodyForLong(t *testing.T) {
	bubble(t, 1, func(s *stage) {
		t := s.t
		start := time.Now()
		err := s.do(t.Context(), func(string) (bool, error) {
			s.crash(6*time.Second, 0)
			return false, ended()
		})
		e := apierr.From(err)
		if e.Reason != apierr.Unavailable || e.RetryAfter != 6*time.Second || len(s.log) != 2 || time.Since(start) != 6*time.Second {
			t.Errorf("%v, retry after %v, after %v and %d engines", err, e.RetryAfter, time.Since(start), len(s.log))
		}
	})
}

func TestDoesNotWaitInVainForAnEngine(t *testing.T) {
	for name, c := range map[string]struct {
		fail  func(s *stage)
		ask   func(q *routing.Query)
		late  time.Duration // the request's deadline
		waits time.Duration
		again time.Duration // Retry-After
	}{
		"it failed again and again":      {fail: func(s *stage) { s.workers[0].Fail(s.digest, 16*time.Second) }, again: 16 * time.Second},
		"nor at the end of a long pause": {fail: func(s *stage) { s.workers[0].Fail(s.digest, 16*time.Second); <-time.After(9 * time.Second) }, again: 7 * time.Second},
		"the worker does not tell":       {fail: func(s *stage) { s.workers[0].Set(s.digest, workerv1.ModelState_MODEL_STATE_FAILED) }, again: 5 * time.Second},
		"another model may be asked":     {fail: func(s *stage) { s.crash(time.Second, 0) }, ask: func(q *routing.Query) { q.NoRestartWait = true }, again: time.Second},
		"the caller does not wait":       {fail: func(s *stage) { s.crash(time.Second, 0) }, ask: func(q *routing.Query) { q.WaitForReady = 0 }, again: time.Second},
		"the caller has less time":       {fail: func(s *stage) { s.crash(4*time.Second, 0) }, late: 3 * time.Second, again: 4 * time.Second},
		"it fails once more": {fail: func(s *stage) {
			s.crash(time.Second, time.Hour)
			time.AfterFunc(3*time.Second, func() { s.workers[0].Fail(s.digest, 20*time.Second) })
		}, waits: 3 * time.Second, again: 20 * time.Second},
		"it is given up": {fail: func(s *stage) {
			s.crash(4*time.Second, 0)
			time.AfterFunc(time.Second, func() { s.workers[0].Set(s.digest, workerv1.ModelState_MODEL_STATE_QUARANTINED) })
		}, waits: time.Second, again: 5 * time.Second},
		"it takes too long to be started": {fail: func(s *stage) { s.crash(time.Second, time.Hour) }, waits: 10 * time.Second, again: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 1, func(s *stage) {
				t := s.t
				ctx, q := t.Context(), s.query()
				c.fail(s)
				synctest.Wait()
				if c.ask != nil {
					c.ask(q)
				}
				if c.late > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.late)
					defer cancel()
				}
				start := time.Now()
				err := s.router.Do(ctx, q, func(context.Context, *routing.Run) (bool, error) { return true, nil })
				if e := apierr.From(err); e == nil || e.Reason != apierr.Unavailable || e.RetryAfter != c.again || time.Since(start) != c.waits {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		})
	}
}

// Who does not wait for engines gets the failure of the one that ended under them.
func TestAnEngineThatEndedIsNotWaitedForWhereAnotherModelIs(t *testing.T) {
	bubble(t, 1, func(s *stage) {
		t := s.t
		q := s.query()
		q.NoRestartWait = true
		start, tries := time.Now(), 0
		err := s.router.Do(t.Context(), q, func(context.Context, *routing.Run) (bool, error) {
			tries++
			s.crash(time.Second, 0)
			return false, ended()
		})
		if apierr.ReasonOf(err) != apierr.Unavailable || tries != 1 || time.Since(start) != 0 {
			t.Errorf("%v after %v and %d tries", err, time.Since(start), tries)
		}
	})
}

// Whoever is refused since the engine is started again is told so in the same words,
// before and after it ended under them, during the pause and during the start.
func TestARestartIsToldInTheSameWords(t *testing.T) {
	const failed = "the engine of m@v1 failed"
	for name, c := range map[string]struct {
		before func(s *stage)
		try    func(s *stage) error
		wait   time.Duration
		want   string
		again  time.Duration
		waited string
	}{
		"in the pause": {before: func(s *stage) { s.crash(2*time.Second, time.Hour) }, want: failed + ", and is started again in 2s; try again then", again: 2 * time.Second},
		"in the start": {before: func(s *stage) { s.crash(0, time.Hour); <-time.After(time.Second) }, want: failed + ", and is being started again; try again", again: time.Second},
		"waited in vain": {
			before: func(s *stage) { s.crash(time.Second, time.Hour) }, wait: 3 * time.Second, want: failed + ", and is being started again; try again", again: time.Second, waited: "3000",
		},
		"in its hands": {try: func(s *stage) error { s.crash(2*time.Second, time.Hour); return ended() }, want: failed + ", and is started again in 2s; try again then", again: 2 * time.Second},
		"not told yet": {try: func(*stage) error { return ended() }, want: failed + "; try again", again: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 1, func(s *stage) {
				if c.before != nil {
					c.before(s)
				}
				synctest.Wait()
				q := s.query()
				q.WaitForReady = c.wait
				err := s.router.Do(s.t.Context(), q, func(context.Context, *routing.Run) (bool, error) { return false, c.try(s) })
				e := apierr.From(err)
				if e == nil || e.Message != c.want || e.RetryAfter != c.again || e.Metadata["model"] != "m@v1" || e.Metadata["state"] != "restarting" || e.Metadata["ready_wait_ms"] != c.waited {
					s.t.Errorf("%v %v", err, e)
				}
			})
		})
	}
}
