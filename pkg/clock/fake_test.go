package clock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func fired(t *testing.T, c <-chan time.Time, want time.Time) {
	t.Helper()
	select {
	case got := <-c:
		if !got.Equal(want) {
			t.Fatalf("fired at %v, want %v", got, want)
		}
	default:
		t.Fatalf("did not fire at %v", want)
	}
}

func silent(t *testing.T, c <-chan time.Time) {
	t.Helper()
	select {
	case at := <-c:
		t.Fatalf("fired at %v, want nothing", at)
	default:
	}
}

func TestFakeTimerFiresOnceAtItsInstant(t *testing.T) {
	f := clock.NewFake(start)
	timer := f.NewTimer(time.Second)
	f.Advance(999 * time.Millisecond)
	silent(t, timer.C())
	f.Advance(time.Hour)
	fired(t, timer.C(), start.Add(time.Second))
	f.Advance(time.Hour)
	silent(t, timer.C())
	if want := start.Add(2*time.Hour + 999*time.Millisecond); !f.Now().Equal(want) {
		t.Fatalf("Now = %v, want %v", f.Now(), want)
	}
}

func TestFakeTimerStopAndReset(t *testing.T) {
	f := clock.NewFake(start)
	timer := f.NewTimer(time.Second)
	if !timer.Stop() || timer.Stop() {
		t.Fatal("Stop must report true once")
	}
	f.Advance(time.Minute)
	silent(t, timer.C())
	if timer.Reset(time.Second) {
		t.Fatal("Reset of a stopped timer must report false")
	}
	f.Advance(time.Second)
	// A value that nobody read is dropped by Reset, as time.Timer does.
	timer.Reset(time.Second)
	silent(t, timer.C())
	timer.Reset(0)
	fired(t, timer.C(), f.Now())
}

func TestFakeTickerTicksAndDropsForASlowReader(t *testing.T) {
	f := clock.NewFake(start)
	ticker := f.NewTicker(time.Second)
	for i := 1; i <= 3; i++ {
		f.Advance(time.Second)
		fired(t, ticker.C(), start.Add(time.Duration(i)*time.Second))
	}
	f.Advance(10 * time.Second)
	fired(t, ticker.C(), start.Add(4*time.Second))
	silent(t, ticker.C())
	ticker.Stop()
	f.Advance(time.Minute)
	silent(t, ticker.C())
}

func TestSleepOnFake(t *testing.T) {
	f := clock.NewFake(start)
	done := make(chan error, 1)
	go func() { done <- clock.Sleep(t.Context(), f, time.Minute) }()
	if err := f.BlockUntil(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	f.Advance(time.Minute)
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := clock.Sleep(ctx, f, time.Minute); !errors.Is(err, cause) {
		t.Fatalf("Sleep = %v, want the cause", err)
	}
	if err := f.BlockUntil(ctx, 5); !errors.Is(err, cause) {
		t.Fatalf("BlockUntil = %v, want the cause", err)
	}
	if err := clock.Sleep(ctx, f, 0); !errors.Is(err, cause) {
		t.Fatalf("Sleep(0) = %v, want the cause", err)
	}
}
