package supervise

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// fakeEngine is an engine that does what the test says.
type fakeEngine struct {
	mu      sync.Mutex
	health  error
	hang    bool
	exited  chan struct{}
	err     error
	stopped bool
}

func newFakeEngine(health error) *fakeEngine {
	return &fakeEngine{health: health}
}

// Exited makes the channel when it is first asked for: in the bubble of fake
// time, where it must be made.
func (f *fakeEngine) Exited() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.exited == nil {
		f.exited = make(chan struct{})
	}
	return f.exited
}

func (f *fakeEngine) Err() error { return f.err }

func (f *fakeEngine) Stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
}

func (f *fakeEngine) Health(ctx context.Context) error {
	f.mu.Lock()
	hang, err := f.hang, f.health
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return err
}

func (f *fakeEngine) set(health error, hang bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.health, f.hang = health, hang
}

func (f *fakeEngine) exit(err error) {
	f.err = err
	f.Exited()
	close(f.exited)
}

// event is a report and when it came.
type event struct {
	at time.Duration
	Status
}

type recorder struct {
	begun time.Time
	mu    sync.Mutex
	list  []event
}

func (r *recorder) report(_ context.Context, s Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, event{time.Since(r.begun), s})
}

func (r *recorder) last() event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list[len(r.list)-1]
}

func (r *recorder) starts() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []time.Duration
	for _, e := range r.list {
		if e.State == Starting {
			out = append(out, e.at)
		}
	}
	return out
}

// run runs a supervisor in a bubble of fake time and hands over to the test.
func run(t *testing.T, start func(context.Context) (Instance, error), jitter float64, test func(r *recorder, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &recorder{begun: time.Now()}
		cfg := DefaultConfig()
		cfg.QuarantineAfter = 0 // TestGivesUpOnACrashLoop has it
		s := New(cfg, clock.Real(), func() float64 { return jitter }, start, r.report)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := s.Run(ctx); err != nil {
				t.Errorf("given up: %v", err)
			}
		}()
		synctest.Wait()
		test(r, func() { cancel(); <-done })
		cancel()
		<-done
	})
}

func TestReadyThenStopped(t *testing.T) {
	e := newFakeEngine(errors.New("loading"))
	run(t, func(context.Context) (Instance, error) { return e, nil }, 1, func(r *recorder, stop func()) {
		if got := r.last(); got.State != Starting {
			t.Errorf("at first: %+v", got)
		}
		pass(3 * time.Second)
		e.set(nil, false)
		pass(time.Second)
		if got := r.last(); got.State != Ready || got.Instance != e || got.Restarts != 0 {
			t.Errorf("after a good check: %+v", got)
		}
		stop()
		if !e.stopped {
			t.Error("the engine was not stopped")
		}
	})
}

// The pauses double up to the longest, and are those times the jitter.
func TestBackoff(t *testing.T) {
	for jitter, share := range map[float64]float64{1: 1, 0: 0.5} {
		fail := func(context.Context) (Instance, error) { return nil, errors.New("no such file") }
		run(t, fail, jitter, func(r *recorder, _ func()) {
			pass(5 * time.Minute)
			at := r.starts()
			want := 500 * time.Millisecond
			for i := 1; i < min(len(at), 12); i++ {
				if got := at[i] - at[i-1]; got != time.Duration(share*float64(want)) {
					t.Errorf("jitter %v: pause %d is %v, want %v of %v", jitter, i, got, share, want)
				}
				want = min(2*want, 30*time.Second)
			}
			if got := r.last(); got.State != Failed || got.Reason != "no such file" || got.Restarts < 10 {
				t.Errorf("last: %+v", got)
			}
			for i, e := range r.list[:len(r.list)-1] {
				if next := r.list[i+1]; e.State == Failed && (e.Pause != next.at-e.at || !e.Next.Equal(r.begun.Add(next.at))) {
					t.Errorf("a start after %v, at %v, is told; it comes %v later", e.Pause, e.Next, next.at-e.at)
				}
			}
		})
	}
}

func TestRestartAfterExit(t *testing.T) {
	var made []*fakeEngine
	start := func(context.Context) (Instance, error) {
		e := newFakeEngine(nil)
		made = append(made, e)
		return e, nil
	}
	run(t, start, 1, func(r *recorder, _ func()) {
		pass(2 * time.Minute) // long enough for the pauses to begin anew
		for range 3 {
			made[len(made)-1].exit(errors.New("killed by SIGSEGV"))
			synctest.Wait()
			if got := r.last(); got.State != Failed || !strings.Contains(got.Reason, "SIGSEGV") {
				t.Errorf("after the exit: %+v", got)
			}
			pass(501 * time.Millisecond)
			synctest.Wait()
			if got := r.last(); got.State != Ready || got.Instance != made[len(made)-1] {
				t.Errorf("after the first pause: %+v", got)
			}
			pass(2 * time.Minute)
		}
		if len(made) != 4 || r.last().Restarts != 3 {
			t.Errorf("%d starts, %+v", len(made), r.last())
		}
	})
}

// An engine that hangs is ended after three checks; one that hiccups is not.
func TestHealth(t *testing.T) {
	e := newFakeEngine(nil)
	started := 0
	start := func(context.Context) (Instance, error) { started++; return e, nil }
	run(t, start, 1, func(r *recorder, _ func()) {
		e.set(errors.New("hiccup"), false)
		pass(12 * time.Second) // two checks
		e.set(nil, false)
		pass(time.Minute)
		if started != 1 || r.last().State != Ready {
			t.Fatalf("after a hiccup: %d starts, %+v", started, r.last())
		}
		e.set(nil, true)
		pass(30 * time.Second) // three checks of five seconds, five apart
		synctest.Wait()
		if !e.stopped || r.starts()[0] != 0 || started < 2 {
			t.Fatalf("after a hang: stopped %v, %d starts", e.stopped, started)
		}
	})
}

func TestStartTimeout(t *testing.T) {
	e := newFakeEngine(errors.New("loading"))
	run(t, func(context.Context) (Instance, error) { return e, nil }, 1, func(r *recorder, _ func()) {
		pass(10*time.Minute + 600*time.Millisecond)
		synctest.Wait()
		if got := r.last(); got.State != Failed || !strings.Contains(got.Reason, "not ready within 10m0s: loading") || !e.stopped {
			t.Errorf("got %+v", got)
		}
	})
}

func TestExitWhileLoading(t *testing.T) {
	e := newFakeEngine(errors.New("loading"))
	run(t, func(context.Context) (Instance, error) { return e, nil }, 1, func(r *recorder, _ func()) {
		e.exit(errors.New("exit code 1"))
		synctest.Wait()
		if got := r.last(); got.State != Failed || got.Reason != "exit code 1" {
			t.Errorf("got %+v", got)
		}
	})
}

// pass lets the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }

// An engine that does not stay up is given up; one that is healthy for long in
// between never is.
func TestGivesUpOnACrashLoop(t *testing.T) {
	for name, tt := range map[string]struct {
		lives   time.Duration // of each life of the engine
		givesUp bool
	}{
		"at once": {0, true}, "after half a minute": {30 * time.Second, true}, "after two minutes": {2 * time.Minute, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.QuarantineAfter = 4
			starts := 0
			start := func(context.Context) (Instance, error) {
				starts++
				e := newFakeEngine(nil)
				time.AfterFunc(tt.lives+time.Second, func() { e.exit(errors.New("killed by SIGSEGV")) })
				return e, nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			r := &recorder{begun: time.Now()}
			err := New(cfg, clock.Real(), nil, start, r.report).Run(ctx)
			if tt.givesUp != (err != nil) {
				t.Fatalf("%s: ended with %v after %d starts", name, err, starts)
			}
			if err != nil && (starts != 4 || !strings.Contains(err.Error(), "failed 4 times in a row") || !strings.Contains(err.Error(), "SIGSEGV")) {
				t.Errorf("%s: %v after %d starts", name, err, starts)
			}
			if got := r.last(); err != nil && (got.State != Failed || got.Pause != 0 || !got.Next.IsZero()) {
				t.Errorf("%s: another start is told: %+v", name, got)
			}
		})
	}
}

// What is not the engine's fault, or runs elsewhere, is tried again for ever; what
// the engine does besides counts as ever.
func TestExcusedFailuresAreNotHeldAgainstIt(t *testing.T) {
	for name, tt := range map[string]struct {
		start  func(n int) (Instance, error)
		starts int // 0: it is not given up
	}{
		"files that do not come": {func(int) (Instance, error) { return nil, &ExcusedError{errors.New("no such host")} }, 0},
		"every other time": {func(n int) (Instance, error) {
			if n%2 == 0 {
				return nil, errors.New("no such program")
			}
			return nil, &ExcusedError{errors.New("no such host")}
		}, 8},
		"runs elsewhere": {func(int) (Instance, error) { return elsewhere{newFakeEngine(errors.New("connection refused"))}, nil }, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.QuarantineAfter, cfg.StartTimeout = 4, time.Second
			starts := 0
			start := func(context.Context) (Instance, error) { starts++; return tt.start(starts) }
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			r := &recorder{begun: time.Now()}
			err := New(cfg, clock.Real(), nil, start, r.report).Run(ctx)
			if (err != nil) != (tt.starts > 0) || starts < 8 || tt.starts > 0 && starts != tt.starts {
				t.Errorf("%s: %v after %d starts", name, err, starts)
			}
		})
	}
}

// elsewhere is an engine whose end cannot be seen.
type elsewhere struct{ *fakeEngine }

func (elsewhere) Exited() <-chan struct{} { return nil }
