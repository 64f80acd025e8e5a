package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
)

// diary notes what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) want(t *testing.T, lines ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, lines) {
		t.Fatalf("happened:\n %s\nwant:\n %s", strings.Join(d.lines, "\n "), strings.Join(lines, "\n "))
	}
}

// part returns a component that notes each step and runs until told to end.
func (d *diary) part(name string) lifecycle.Component {
	step := func(s string) func(context.Context) error {
		return func(context.Context) error { d.note(s + " " + name); return nil }
	}
	return lifecycle.Component{
		Name: name, Start: step("start"), Drain: step("drain"), Stop: step("stop"),
		Run: func(ctx context.Context) error { <-ctx.Done(); d.note("end " + name); return ctx.Err() },
	}
}

func TestRunClosesInReverseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- lifecycle.Run(ctx, lifecycle.Options{}, d.part("a"), d.part("b"), lifecycle.Component{Name: "empty"})
		}()
		synctest.Wait()
		d.want(t, "start a", "start b")
		cancel()
		if err := <-done; err != nil {
			t.Fatalf("Run = %v, want nil after an asked end", err)
		}
		d.want(t, "start a", "start b", "drain b", "end b", "drain a", "end a", "stop b", "stop a")
	})
}

func TestFirstFailureIsTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		first, later := errors.New("disk full"), errors.New("close failed")
		a := d.part("a")
		a.Stop = func(context.Context) error { return later }
		b := d.part("b")
		b.Run = func(context.Context) error { return first }
		err := lifecycle.Run(t.Context(), lifecycle.Options{}, a, b)
		if !errors.Is(err, first) || !errors.Is(err, later) {
			t.Fatalf("Run = %v, want both failures", err)
		}
		if !strings.HasPrefix(err.Error(), "run b: disk full") {
			t.Fatalf("Run = %q, want the first failure first", err)
		}
	})
}

func TestFailedStartStopsWhatWasStarted(t *testing.T) {
	var d diary
	broken := d.part("b")
	boom := errors.New("port taken")
	broken.Start = func(context.Context) error { d.note("start b"); return boom }
	never := d.part("c")
	err := lifecycle.Run(t.Context(), lifecycle.Options{}, d.part("a"), broken, never)
	if !errors.Is(err, boom) || err.Error() != "start b: port taken" {
		t.Fatalf("Run = %v", err)
	}
	d.want(t, "start a", "start b", "drain a", "end a", "stop b", "stop a")
}

func TestRunThatFinishesEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		err := lifecycle.Run(ctx, lifecycle.Options{}, lifecycle.Component{
			Name: "once", Run: func(context.Context) error { return nil },
		})
		if err != nil || time.Since(begin) != time.Hour {
			t.Fatalf("Run = %v after %v, want nil after an hour", err, time.Since(begin))
		}
	})
}

func TestSlowPartsAreForced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := lifecycle.Options{StartTimeout: time.Second, DrainTimeout: 2 * time.Second, StopTimeout: 3 * time.Second}
		stopped := make(chan struct{})
		stubborn := lifecycle.Component{
			Name:  "stubborn",
			Run:   func(context.Context) error { <-stopped; return nil }, // ignores its context
			Drain: func(context.Context) error { <-stopped; return nil },
			Stop:  func(context.Context) error { close(stopped); return nil },
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		ran := false
		err := lifecycle.Run(ctx, opts, stubborn)
		if err != nil {
			t.Fatalf("Run = %v: nothing may start after the end was asked for", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		go func() { synctest.Wait(); cancel() }()
		err = lifecycle.Run(ctx, opts, lifecycle.Component{Name: "x", Stop: func(context.Context) error { ran = true; return nil }}, stubborn)
		if err == nil || !strings.Contains(err.Error(), "drain stubborn: not drained within 2s") || !ran {
			t.Fatalf("Run = %v, x stopped: %v", err, ran)
		}
		if took := time.Since(begin); took != 2*time.Second {
			t.Fatalf("took %v, want the drain's two seconds", took)
		}
	})
}

// TestLatePartIsCutBeforeOthersEnd holds that work for which the time was not
// enough is ended while what it needs still runs, and is reported once.
func TestLatePartIsCutBeforeOthersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		ended := make(chan struct{})
		needed, late := d.part("needed"), d.part("late")
		needed.Drain = hang
		needed.Run = func(ctx context.Context) error { <-ctx.Done(); close(ended); return nil }
		late.Run, late.Drain = nil, hang
		late.Cut = func(ctx context.Context) error {
			synctest.Wait()
			select {
			case <-ended:
				t.Error("what it needs has ended")
			case <-ctx.Done():
				t.Error("there is no time to cut")
			default:
			}
			d.note("cut late")
			return errors.New("one was cut")
		}
		first := d.part("first")
		first.Run = nil
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- lifecycle.Run(ctx, lifecycle.Options{}, needed, late, first) }()
		synctest.Wait()
		cancel()
		if err := <-done; err == nil || err.Error() != "drain late: one was cut" {
			t.Fatalf("Run = %v", err)
		}
		<-ended
		d.want(t, "start needed", "start late", "start first", "drain first", "cut late",
			"stop first", "stop late", "stop needed")
	})
}

func TestPartThatNeverEndsIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { synctest.Wait(); cancel() }()
		err := lifecycle.Run(ctx, lifecycle.Options{}, lifecycle.Component{
			Name: "zombie", Run: func(context.Context) error { <-release; return nil },
		})
		close(release)
		if err == nil || !strings.Contains(err.Error(), "run zombie: did not return") {
			t.Fatalf("Run = %v", err)
		}
	})
}

func TestSlowStartIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := lifecycle.Run(t.Context(), lifecycle.Options{StartTimeout: time.Second}, lifecycle.Component{
			Name: "slow", Start: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		})
		if err == nil || !strings.Contains(err.Error(), "start slow: not started within 1s") {
			t.Fatalf("Run = %v", err)
		}
	})
}

func TestFailureWhileAnotherStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("gone")
		begin := time.Now()
		err := lifecycle.Run(t.Context(), lifecycle.Options{},
			lifecycle.Component{Name: "a", Run: func(context.Context) error { return boom }},
			lifecycle.Component{Name: "b", Start: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
		if !errors.Is(err, boom) || !strings.HasPrefix(err.Error(), "run a: gone") || time.Since(begin) != 0 {
			t.Fatalf("Run = %v after %v", err, time.Since(begin))
		}
	})
}

func TestPanicIsAFailure(t *testing.T) {
	var d diary
	err := lifecycle.Run(t.Context(), lifecycle.Options{}, d.part("a"), lifecycle.Component{
		Name: "b", Run: func(context.Context) error { panic("oops") },
	})
	if err == nil || !strings.Contains(err.Error(), "run b: panic: oops") {
		t.Fatalf("Run = %v", err)
	}
	d.want(t, "start a", "drain a", "end a", "stop a")
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		var at []time.Duration
		err := lifecycle.Every(ctx, clock.Real(), 10*time.Second, func() float64 { return .5 }, func(context.Context) error {
			at = append(at, time.Since(begin))
			if len(at) == 3 {
				cancel()
			}
			return nil
		})
		want := []time.Duration{0, 10500 * time.Millisecond, 21 * time.Second}
		if err != nil || !slices.Equal(at, want) {
			t.Fatalf("Every = %v, called at %v, want %v", err, at, want)
		}
		boom := errors.New("boom")
		if err := lifecycle.Every(t.Context(), clock.Real(), time.Second, nil, func(context.Context) error { return boom }); !errors.Is(err, boom) {
			t.Fatalf("Every = %v, want boom", err)
		}
	})
}
