package poison

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
)

// lives numbers the lives of engines.
var lives atomic.Uint32 //nolint:gochecknoglobals // a counter of the tests

func key(n uint64) func() uint64 { return func() uint64 { return n } }

func ended(inFlight string) error {
	return apierr.New(apierr.Unavailable, "the engine does not answer").
		WithMetadata("engine_ended", "true").WithMetadata("in_flight", inFlight)
}

func inBubble(t *testing.T, test func(g *Guard)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		test(New(Config{Engines: 2, Among: 3, For: 10 * time.Minute, Max: 100}, clock.Real()))
	})
}

func TestTwoEnginesAreEnough(t *testing.T) {
	inBubble(t, func(g *Guard) {
		if g.Check(func() uint64 { t.Error("it is read while nothing is held"); return 0 }) != nil {
			t.Error("refused at first")
		}
		if err := g.Ended(key(1), lives.Add(1), ended("1")); err != nil {
			t.Errorf("after one: %v", err)
		}
		if err := g.Check(key(1)); err != nil {
			t.Errorf("after one: %v", err)
		}
		err := g.Ended(key(1), lives.Add(1), ended("4"))
		if e := apierr.From(err); e == nil || e.Reason != apierr.FailedPrecondition || e.Metadata["engines_ended"] != "2" {
			t.Errorf("after two: %v", err)
		}
		if g.Check(key(1)) == nil || g.Check(key(2)) != nil {
			t.Error("the wrong one is refused")
		}
		<-time.After(10*time.Minute + time.Second)
		if err := g.Check(key(1)); err != nil || g.Held() != 0 {
			t.Errorf("after the time: %v, %d held", err, g.Held())
		}
	})
}

func TestWhatIsNotHeldAgainstARequest(t *testing.T) {
	inBubble(t, func(g *Guard) {
		for _, err := range []error{
			errors.New("other"), apierr.New(apierr.EngineFailed, "it runs on"), ended("5"), ended("0"), ended("many"), ended(""),
		} {
			for range 3 {
				if got := g.Ended(key(1), lives.Add(1), err); got != nil || g.Held() != 0 {
					t.Errorf("%v: %v", err, got)
				}
			}
		}
		// One that another engine answered was not to blame.
		for range 5 {
			if err := errors.Join(g.Ended(key(1), lives.Add(1), ended("2")), g.Ended(key(1), lives.Add(1), nil)); err != nil {
				t.Error(err)
			}
		}
		// What is long ago is forgiven.
		for range 3 {
			if err := g.Ended(key(1), lives.Add(1), ended("1")); err != nil {
				t.Error(err)
			}
			<-time.After(11 * time.Minute)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	inBubble(t, func(g *Guard) {
		for n := range uint64(10_000) {
			if err := g.Ended(key(n), lives.Add(1), ended("1")); err != nil {
				t.Fatal(err)
			}
			if n%3 == 0 {
				_ = g.Ended(key(n), lives.Add(1), nil)
			}
		}
		if g.Held() > 100 || len(g.order) > 200 {
			t.Errorf("%d held, %d in order", g.Held(), len(g.order))
		}
		if err := g.Ended(key(9998), lives.Add(1), ended("1")); err == nil {
			t.Error("the newest was forgotten")
		}
	})
}

func TestOff(t *testing.T) {
	var none *Guard
	off := New(Config{}, clock.Real())
	for range 5 {
		for _, g := range []*Guard{none, off} {
			if g.Ended(key(1), lives.Add(1), ended("1")) != nil || g.Check(key(1)) != nil {
				t.Error("refused")
			}
		}
	}
}

// Requests that look alike and were in one engine's hands saw one end.
func TestOneEndCountsOnce(t *testing.T) {
	g := New(Config{Engines: 2, Among: 9, For: time.Minute, Max: 10}, clock.Real())
	life := lives.Add(1)
	for range 5 {
		if err := g.Ended(key(1), life, ended("5")); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Check(key(1)); err != nil {
		t.Fatal(err)
	}
	if err := g.Ended(key(1), lives.Add(1), ended("1")); err == nil {
		t.Error("a second engine ended, and the request goes on")
	}
}
