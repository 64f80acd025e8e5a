package routing_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// engineEnded is what a worker says when its engine ended under the request.
func engineEnded() error {
	return apierr.New(apierr.Unavailable, "the engine does not answer").
		WithMetadata("engine_ended", "true").WithMetadata("in_flight", "1")
}

// TestARequestThatEndsEngines is given to two of them and to no third, whether
// its answer could go on elsewhere or not; another request is not held to it.
func TestARequestThatEndsEngines(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func() (bool, error)
		want   apierr.Reason
	}{
		"before its answer":      {func() (bool, error) { return false, engineEnded() }, apierr.FailedPrecondition},
		"in an answer that goes": {func() (bool, error) { return resumable(engineEnded()) }, apierr.EngineFailed},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 5, func(s *stage) {
				s.print = func() uint64 { return 1 }
				err := s.do(s.t.Context(), func(string) (bool, error) { return tt.answer() })
				if apierr.ReasonOf(err) != tt.want || len(s.log) != 2 {
					s.t.Errorf("tried on %v: %v", s.log, err)
				}
				s.log = nil
				err = s.do(s.t.Context(), func(string) (bool, error) { return true, nil })
				if len(s.log) != 0 || apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), "2 engines ended") {
					s.t.Errorf("asked again: tried on %v: %v", s.log, err)
				}
				s.print = func() uint64 { return 2 }
				if err := s.do(s.t.Context(), func(string) (bool, error) { return true, nil }); err != nil {
					s.t.Errorf("another request: %v", err)
				}
			})
		})
	}
}

// TestWhoDoesNotWaitAsksAllTheSame: a version that nobody has is loaded because
// somebody asks for it, be it without patience.
func TestWhoDoesNotWaitAsksAllTheSame(t *testing.T) {
	bubble(t, 1, func(s *stage) {
		s.workers[0].Reset()
		synctest.Wait()
		q := s.query()
		q.WaitForReady = 0
		err := s.router.Do(s.t.Context(), q, func(_ context.Context, _ *routing.Run) (bool, error) { return true, nil })
		if apierr.ReasonOf(err) != apierr.Unavailable || s.asked != 1 {
			s.t.Errorf("asked %d times: %v", s.asked, err)
		}
	})
}
