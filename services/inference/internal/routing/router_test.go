package routing_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// bubble runs a test in synctest with a stage of n workers.
func bubble(t *testing.T, n int, fn func(s *stage)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { fn(newStage(t, n)) })
}

// TestVerdicts: what is tried elsewhere, how often, and what the caller sees.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		err    error
		begun  bool
		tries  int
		reason apierr.Reason
	}{
		{"connection lost", lost(), false, 3, apierr.Unavailable},
		{"connection closed by us", status.Error(codes.Canceled, "the client connection is closing"), false, 3, apierr.Unavailable},
		{"message cut short", status.Error(codes.Internal, "unexpected EOF"), false, 3, apierr.Unavailable},
		{"worker says unavailable", apierr.New(apierr.Unavailable, "engine starting"), false, 3, apierr.Unavailable},
		{"worker says overloaded", apierr.New(apierr.Overloaded, "queue full"), false, 3, apierr.Overloaded},
		{"worker is stopped", apierr.New(apierr.Cancelled, "stopping"), false, 3, apierr.Unavailable},
		{"version unloaded", apierr.New(apierr.FailedPrecondition, "not loaded"), false, 3, apierr.Unavailable},
		{"version not known", apierr.New(apierr.NotFound, "not loaded"), false, 3, apierr.Unavailable},
		{"engine failed", apierr.New(apierr.EngineFailed, "crashed"), false, 2, apierr.EngineFailed},
		{"caller's mistake", apierr.Invalid("temperature", "too hot"), false, 1, apierr.InvalidArgument},
		{"context too long", apierr.New(apierr.ContextLengthExceeded, "too long"), false, 1, apierr.ContextLengthExceeded},
		{"deadline", apierr.New(apierr.DeadlineExceeded, "late"), false, 1, apierr.DeadlineExceeded},
		{"panic in the worker", apierr.New(apierr.Internal, "panic"), false, 1, apierr.Internal},
		{"too large", status.Error(codes.ResourceExhausted, "grpc: received message larger than max"), false, 1, apierr.PayloadTooLarge},
		{"caller gone", &routing.CallerGoneError{Err: lost()}, true, 1, apierr.Cancelled},
		{"lost after the first chunk", lost(), true, 1, apierr.EngineFailed},
		{"unavailable after the first chunk", apierr.New(apierr.Unavailable, "away"), true, 1, apierr.EngineFailed},
		{"stopped after the first chunk", apierr.New(apierr.Cancelled, "stopping"), true, 1, apierr.EngineFailed},
		{"engine failed after the first chunk", apierr.New(apierr.EngineFailed, "crashed"), true, 1, apierr.EngineFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, 4, func(s *stage) {
				t := s.t
				err := s.do(t.Context(), func(string) (bool, error) { return c.begun, c.err })
				if apierr.ReasonOf(err) != c.reason {
					t.Errorf("the caller sees %v; want %s", err, c.reason)
				}
				if len(s.log) != c.tries {
					t.Errorf("tried on %v; want %d tries", s.log, c.tries)
				}
				if n := len(slices.Compact(slices.Sorted(slices.Values(s.log)))); n != len(s.log) {
					t.Errorf("a worker was tried twice: %v", s.log)
				}
				retriable := c.reason == apierr.Unavailable || c.reason == apierr.Overloaded
				if got := apierr.From(err).RetryAfter; retriable != (got > 0) {
					t.Errorf("retry after %v", got)
				}
			})
		})
	}
}

func TestAnotherWorkerAnswers(t *testing.T) {
	bubble(t, 3, func(s *stage) {
		t := s.t
		first := ""
		err := s.do(t.Context(), func(worker string) (bool, error) {
			if first == "" {
				first = worker
				return false, lost()
			}
			return true, nil
		})
		if err != nil || len(s.log) != 2 || s.log[1] == first {
			t.Fatalf("tried on %v: %v", s.log, err)
		}
		// The one that was lost is passed over for a while, though it is idle.
		for range 10 {
			s.log = nil
			if err := s.do(t.Context(), func(string) (bool, error) { return true, nil }); err != nil {
				t.Fatal(err)
			}
			if s.log[0] == first {
				t.Fatal("a worker that could not be reached was asked at once")
			}
		}
		for _, c := range s.fleet.View().Ready(s.digest) {
			if load, _ := c.Load(); load != 0 {
				t.Errorf("%s has a load of %d left", c.Worker().ID(), load)
			}
		}
	})
}

func TestAWorkerThatFailedIsBetterThanNone(t *testing.T) {
	bubble(t, 1, func(s *stage) {
		t := s.t
		if err := s.do(t.Context(), func(string) (bool, error) { return false, lost() }); err == nil {
			t.Fatal("no error")
		}
		s.log = nil
		if err := s.do(t.Context(), func(string) (bool, error) { return true, nil }); err != nil {
			t.Errorf("the only worker was not asked: %v", err)
		}
	})
}

func TestTheRequestsOwnEnd(t *testing.T) {
	bubble(t, 3, func(s *stage) {
		t := s.t
		ctx, cancel := context.WithCancel(t.Context())
		err := s.do(ctx, func(string) (bool, error) { cancel(); return false, lost() })
		if apierr.ReasonOf(err) != apierr.Cancelled || len(s.log) != 1 {
			t.Errorf("cancelled: %v after %v", err, s.log)
		}
		s.log = nil
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = s.do(ctx, func(string) (bool, error) { <-ctx.Done(); return false, ctx.Err() })
		if apierr.ReasonOf(err) != apierr.DeadlineExceeded || len(s.log) != 1 {
			t.Errorf("late: %v after %v", err, s.log)
		}
		for _, w := range s.fleet.View().Workers {
			if w.Cooling(time.Now) {
				t.Errorf("%s is blamed for the caller's end", w.ID())
			}
		}
	})
}

func TestWaitsForAVersionThatIsBeingLoaded(t *testing.T) {
	bubble(t, 2, func(s *stage) {
		t := s.t
		s.workers[0].Set(s.digest, loading)
		s.workers[1].Set(s.digest, loading)
		synctest.Wait()
		start := time.Now()
		time.AfterFunc(3*time.Second, func() { s.workers[0].Set(s.digest, ready) })
		var idle []time.Duration
		try := func(_ context.Context, run *routing.Run) (bool, error) {
			idle = append(idle, run.Idle())
			if run.Attempt() == 1 {
				return false, lost()
			}
			return true, nil
		}
		time.AfterFunc(3*time.Second, func() { s.workers[1].Set(s.digest, ready) })
		if err := s.router.Do(t.Context(), s.query(), try); err != nil {
			t.Fatal(err)
		}
		if len(idle) != 2 || idle[0] != 3*time.Second || idle[1] != 0 {
			t.Errorf("the attempts waited %v", idle)
		}
		if waited := time.Since(start); waited != 3*time.Second {
			t.Errorf("answered after %v; want 3s", waited)
		}
		if n := s.router.Waiting(); n != 0 {
			t.Errorf("%d are said to wait", n)
		}
	})
}

func TestWaitingIsBounded(t *testing.T) {
	bubble(t, 1, func(s *stage) {
		t := s.t
		s.workers[0].Set(s.digest, loading)
		synctest.Wait()
		never := func(string) (bool, error) { return true, nil }
		start := time.Now()
		type outcome struct {
			err  error
			took time.Duration
		}
		results := make(chan outcome, 4)
		for range 4 {
			go func() {
				err := s.do(t.Context(), never)
				results <- outcome{err, time.Since(start)}
			}()
		}
		for i, want := range []time.Duration{0, 10 * time.Second, 10 * time.Second, 10 * time.Second} {
			r := <-results
			if apierr.ReasonOf(r.err) != apierr.Unavailable || apierr.From(r.err).RetryAfter <= 0 || r.took != want {
				t.Errorf("request %d: %v after %v; want UNAVAILABLE after %v", i, r.err, r.took, want)
			}
		}
		// One that gives up frees its place.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.do(ctx, never); apierr.ReasonOf(err) != apierr.DeadlineExceeded {
			t.Errorf("late while waiting: %v", err)
		}
		if n := s.router.Waiting(); n != 0 {
			t.Errorf("%d are said to wait", n)
		}
	})
}

func TestDoesNotWaitInVain(t *testing.T) {
	bubble(t, 1, func(s *stage) {
		t := s.t
		start := time.Now()
		none := func(string) (bool, error) { return false, errors.New("not reached") }
		s.workers[0].Reset()
		synctest.Wait()
		err := s.do(t.Context(), none)
		if apierr.ReasonOf(err) != apierr.Unavailable || time.Since(start) != 0 {
			t.Errorf("nobody loads it: %v after %v", err, time.Since(start))
		}
		q := s.query()
		q.Referenced = false
		err = s.router.Do(t.Context(), q, func(context.Context, *routing.Run) (bool, error) { return false, nil })
		if e := apierr.From(err); e.Reason != apierr.FailedPrecondition || !strings.Contains(e.Message, "alias") {
			t.Errorf("no name leads to it: %v", err)
		}
		// A load that fails in the meantime ends the wait.
		s.workers[0].Set(s.digest, loading)
		synctest.Wait()
		time.AfterFunc(time.Second, func() { s.workers[0].Set(s.digest, workerv1.ModelState_MODEL_STATE_FAILED) })
		start = time.Now()
		if err := s.do(t.Context(), none); apierr.ReasonOf(err) != apierr.Unavailable || time.Since(start) != time.Second {
			t.Errorf("the load failed: %v after %v", err, time.Since(start))
		}
		// One that is about to be asked for is waited for.
		s.pending = true
		time.AfterFunc(2*time.Second, func() { s.workers[0].Set(s.digest, ready) })
		if err := s.do(t.Context(), func(string) (bool, error) { return true, nil }); err != nil {
			t.Errorf("about to be loaded: %v", err)
		}
	})
}

func TestSaysHowFarALoadIs(t *testing.T) {
	bubble(t, 2, func(s *stage) {
		t := s.t
		s.workers[0].Set(s.digest, loading)
		s.workers[1].Set(s.digest, loading)
		s.workers[0].Fetch(s.digest, &workerv1.FetchProgress{DoneBytes: 25, TotalBytes: 100, BytesPerSecond: 1})
		s.workers[1].Fetch(s.digest, &workerv1.FetchProgress{DoneBytes: 10, TotalBytes: 100, BytesPerSecond: 1})
		synctest.Wait()
		q := s.query()
		q.WaitForReady = 0
		start := time.Now()
		err := s.router.Do(t.Context(), q, func(context.Context, *routing.Run) (bool, error) { return true, nil })
		e := apierr.From(err)
		if e.Reason != apierr.Unavailable || e.Metadata["progress_percent"] != "25" || e.RetryAfter != 75*time.Second || time.Since(start) != 0 {
			t.Errorf("%v, %v, retry after %v, after %v", err, e.Metadata, e.RetryAfter, time.Since(start))
		}
	})
}

// Those who waited for their turn when the last copy went away wait for it to
// come back, as others do.
func TestAQueueOutlivesARestart(t *testing.T) {
	bubble(t, 1, func(s *stage) {
		t := s.t
		s.workers[0].Report(s.digest, 1, 0, 0)
		synctest.Wait()
		hold := make(chan struct{})
		results := make(chan error, 3)
		for i := range 3 {
			go func() {
				results <- s.router.Do(t.Context(), s.query(), func(context.Context, *routing.Run) (bool, error) {
					if i < 2 {
						<-hold
					}
					return true, nil
				})
			}()
			synctest.Wait()
		}
		s.workers[0].Set(s.digest, loading)
		synctest.Wait()
		if n := s.router.Waiting(); n != 1 {
			t.Errorf("%d wait for the version to be loaded, want 1", n)
		}
		time.AfterFunc(2*time.Second, func() { s.workers[0].Set(s.digest, ready); close(hold) })
		for range 3 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestOneTenantDoesNotTakeAllWaits(t *testing.T) {
	bubble(t, 1, func(s *stage) {
		t := s.t
		s.workers[0].Set(s.digest, loading)
		synctest.Wait()
		results := make(chan error, 5)
		ask := func(tenant string) {
			q := s.query()
			q.Tenant = tenant
			go func() {
				results <- s.router.Do(t.Context(), q, func(context.Context, *routing.Run) (bool, error) { return true, nil })
			}()
			synctest.Wait()
		}
		for range 4 {
			ask("greedy")
		}
		ask("other")
		if n := s.router.Waiting(); n != 4 {
			t.Errorf("%d wait, want three of one and one of another tenant", n)
		}
		s.workers[0].Set(s.digest, ready)
		failed := 0
		for range 5 {
			if <-results != nil {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d were refused", failed)
		}
	})
}
