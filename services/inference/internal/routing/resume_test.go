package routing_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

func resumable(err error) (bool, error) { return true, &routing.ResumeError{Err: err} }

// TestAnAnswerGoesOn: a worker that is lost in the middle is replaced when the
// answer can go on, and otherwise its loss is what the caller is told.
func TestAnAnswerGoesOn(t *testing.T) {
	bad := apierr.New(apierr.InvalidArgument, "no beginnings here")
	tests := map[string]struct {
		answers []func() (bool, error)
		tries   int
		want    apierr.Reason
	}{
		"on another worker": {[]func() (bool, error){
			func() (bool, error) { return resumable(lost()) },
			func() (bool, error) { return true, nil },
		}, 2, ""},
		"twice": {[]func() (bool, error){
			func() (bool, error) { return resumable(lost()) },
			func() (bool, error) { return resumable(lost()) },
			func() (bool, error) { return true, nil },
		}, 3, ""},
		"past one that is not there": {[]func() (bool, error){
			func() (bool, error) { return resumable(lost()) },
			func() (bool, error) { return false, lost() },
			func() (bool, error) { return true, nil },
		}, 3, ""},
		"not past the last attempt": {[]func() (bool, error){
			func() (bool, error) { return resumable(lost()) },
			func() (bool, error) { return resumable(lost()) },
			func() (bool, error) { return resumable(lost()) },
		}, 3, apierr.EngineFailed},
		"not where it is refused": {[]func() (bool, error){
			func() (bool, error) { return resumable(lost()) },
			func() (bool, error) { return false, bad },
		}, 2, apierr.EngineFailed},
		"not once it cannot any more": {[]func() (bool, error){
			func() (bool, error) { return resumable(lost()) },
			func() (bool, error) { return true, lost() },
		}, 2, apierr.EngineFailed},
		"an engine that breaks twice": {[]func() (bool, error){
			func() (bool, error) { return resumable(apierr.New(apierr.EngineFailed, "broken")) },
			func() (bool, error) { return resumable(apierr.New(apierr.EngineFailed, "broken")) },
		}, 2, apierr.EngineFailed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, 5, func(s *stage) {
				err := s.do(s.t.Context(), func(string) (bool, error) { return tt.answers[len(s.log)-1]() })
				if apierr.ReasonOf(err) != tt.want || len(s.log) != tt.tries {
					s.t.Errorf("tried on %v: %v", s.log, err)
				}
			})
		})
	}
}

// TestAnAnswerThatBrokeDoesNotWait: its caller is told at once when there is no
// other worker, though one is being loaded.
func TestAnAnswerThatBrokeDoesNotWait(t *testing.T) {
	bubble(t, 2, func(s *stage) {
		t := s.t
		s.workers[1].Set(s.digest, loading)
		s.pending = true
		began := time.Now()
		err := s.do(t.Context(), func(string) (bool, error) { return resumable(lost()) })
		if apierr.ReasonOf(err) != apierr.EngineFailed || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestACallerWhoIsGoneDoesNotGoOn: the end of the request is its end.
func TestACallerWhoIsGoneDoesNotGoOn(t *testing.T) {
	bubble(t, 3, func(s *stage) {
		t := s.t
		ctx, cancel := context.WithCancel(t.Context())
		err := s.do(ctx, func(string) (bool, error) {
			cancel()
			return resumable(context.Canceled)
		})
		if apierr.ReasonOf(err) != apierr.Cancelled || len(s.log) != 1 {
			t.Errorf("tried on %v: %v", s.log, err)
		}
		s.log = nil
		err = s.do(t.Context(), func(string) (bool, error) {
			return true, &routing.CallerGoneError{Err: errors.New("broken pipe")}
		})
		if apierr.ReasonOf(err) != apierr.Cancelled {
			t.Errorf("a caller who cannot be reached: %v", err)
		}
	})
}

// TestAnAnswerGoesOnInTheSameWords: another variant does not go on with an answer,
// though it may answer what was not begun.
func TestAnAnswerGoesOnInTheSameWords(t *testing.T) {
	for name, begun := range map[string]bool{"begun": true, "not begun": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 2, func(s *stage) {
				small := fakes.Digest("m/q4")
				s.forms = []string{s.digest, small}
				s.workers[1].Set(s.digest, workerv1.ModelState_MODEL_STATE_UNSPECIFIED)
				s.workers[1].Set(small, ready)
				synctest.Wait()
				err := s.do(s.t.Context(), func(worker string) (bool, error) {
					switch {
					case worker == "w1":
						return true, nil
					case begun:
						return resumable(lost())
					default:
						return false, lost()
					}
				})
				if begun && (apierr.ReasonOf(err) != apierr.EngineFailed || len(s.log) != 1) || !begun && (err != nil || len(s.log) != 2) {
					s.t.Errorf("tried on %v: %v", s.log, err)
				}
			})
		})
	}
}
