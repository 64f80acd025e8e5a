package maxprocs

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := machine{at: time.Now(), most: 4, share: 0.5}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			newGovernor(4).run(ctx, clock.Real(), m.used, m.limit, m.set)
		}()
		sees := func(share float64, most int, after time.Duration, want ...int) {
			t.Helper()
			m.change(share, most)
			<-time.After(after)
			m.mu.Lock()
			defer m.mu.Unlock()
			if !slices.Equal(m.sets, want) {
				t.Errorf("set %v, want %v", m.sets, want)
			}
		}
		sees(0.5, 4, calm*interval+time.Millisecond, 2)
		sees(1.8, 4, interval, 2, 4)
		sees(0, 4, (calm+1)*interval, 2, 4, 2)
		sees(0, 8, renew, 2, 4, 2, 4) // a container's limit was raised: half of it
		cancel()
		<-done
		if m.asked != 1 {
			t.Errorf("the limit was asked for %d times", m.asked)
		}
	})
}

// machine is one with processors and work that the test chooses.
type machine struct {
	mu    sync.Mutex
	at    time.Time
	took  time.Duration
	share float64 // of one processor
	most  int
	asked int
	sets  []int
}

func (m *machine) change(share float64, most int) {
	m.used()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.share, m.most = share, most
}

func (m *machine) used() (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.took += time.Duration(m.share * float64(time.Since(m.at)))
	m.at = time.Now()
	return m.took, true
}

func (m *machine) limit() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	return m.most
}

func (m *machine) set(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sets = append(m.sets, n)
}

// The process's own number is set, and given back at the end.
func TestComponent(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	most := limit()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Component(clock.Real()).Run(ctx) }()
		<-time.After((calm + 1) * interval) // of the bubble's time, in which little is done
		synctest.Wait()
		if n, want := runtime.GOMAXPROCS(0), max(most/2, 1); n != want {
			t.Errorf("%d of %d, want %d", n, most, want)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if n := runtime.GOMAXPROCS(0); n != most {
		t.Errorf("%d afterwards, and %d before", n, most)
	}
}

func TestComponentLeavesWhatWasChosen(t *testing.T) {
	t.Setenv("GOMAXPROCS", "2")
	if err := Component(clock.Real()).Run(t.Context()); err != nil { // it is over at once
		t.Error(err)
	}
}
