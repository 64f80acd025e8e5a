package routing_test

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

func picker() *routing.Picker {
	var bits uint64
	return &routing.Picker{Now: time.Now, Random: func() uint64 {
		// SplitMix64 (Steele, Lea and Flood, 2014): the same draws in every run.
		bits += 0x9e3779b97f4a7c15
		z := (bits ^ bits>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}}
}

func TestPickTakesTheLeastLoadPerSlot(t *testing.T) {
	bubble(t, 3, func(s *stage) {
		t := s.t
		s.workers[0].Report(s.digest, 4, 3, 0) // (3+1)/4
		s.workers[1].Report(s.digest, 8, 5, 1) // (6+1)/8: the least
		s.workers[2].Report(s.digest, 0, 0, 1) // slots not known: taken for 1
		synctest.Wait()
		copies := s.fleet.View().Ready(s.digest)
		p := picker()
		if got := p.Pick(copies, nil, "k").Worker().ID(); got != "w1" {
			t.Errorf("picked %s; want w1", got)
		}
		var tried []*fleet.Copy
		for range 3 {
			tried = append(tried, p.Pick(copies, tried, "k"))
		}
		if c := p.Pick(copies, tried, "k"); c != nil {
			t.Errorf("picked %s, which was tried", c.Worker().ID())
		}
		if c := p.Pick(nil, nil, "k"); c != nil {
			t.Errorf("picked %s out of none", c.Worker().ID())
		}
	})
}

func TestPickSpreadsWhatItSendsItself(t *testing.T) {
	bubble(t, 4, func(s *stage) {
		t := s.t
		copies := s.fleet.View().Ready(s.digest)
		p := picker()
		for i := range 40 {
			p.Pick(copies, nil, fmt.Sprint(i)).Acquire()
		}
		for _, c := range copies {
			if n := c.InFlight(); n != 10 {
				t.Errorf("%s got %d of 40; want 10", c.Worker().ID(), n)
			}
		}
	})
}

func TestPickIsStickyBetweenEquals(t *testing.T) {
	bubble(t, 4, func(s *stage) {
		t := s.t
		copies := s.fleet.View().Ready(s.digest)
		reversed := []*fleet.Copy{copies[3], copies[2], copies[1], copies[0]}
		counts := make(map[string]int)
		const n = 4000
		for i := range n {
			key := fmt.Sprintf("user:%d", i)
			got := picker().Pick(copies, nil, key)
			if other := picker().Pick(reversed, nil, key); other != got {
				t.Fatalf("key %s: the order of the workers decides", key)
			}
			counts[got.Worker().ID()]++
		}
		for id, c := range counts {
			if share := float64(c) / n; math.Abs(share-0.25) > 0.035 { // five standard deviations
				t.Errorf("%s got a share of %.3f; want 0.25", id, share)
			}
		}
	})
}

func TestPickAmongMany(t *testing.T) {
	bubble(t, 30, func(s *stage) {
		t := s.t
		copies := s.fleet.View().Ready(s.digest)
		p := picker()
		for i := range 3000 {
			p.Pick(copies, nil, fmt.Sprint(i)).Acquire()
		}
		for _, c := range copies {
			if n := c.InFlight(); n < 95 || n > 105 { // one random choice alone spreads from about 70 to 130
				t.Errorf("%s got %d of 3000; want nearly 100", c.Worker().ID(), n)
			}
		}
		// With all but one excluded, that one is found all the same.
		for _, c := range copies[1:] {
			c.Worker().Failed(time.Now())
		}
		for range 20 {
			if got := p.Pick(copies, nil, "k"); got != copies[0] {
				t.Fatalf("picked %s, which could not be reached", got.Worker().ID())
			}
		}
	})
}

func TestRendezvousMovesOnlyWhatItMust(t *testing.T) {
	t.Parallel()
	workers := []string{"worker-1", "worker-2", "worker-3", "worker-4", "worker-5"}
	best := func(key string, among []string) string {
		out := among[0]
		for _, w := range among[1:] {
			if routing.Rendezvous(key, w) > routing.Rendezvous(key, out) {
				out = w
			}
		}
		return out
	}
	counts := make(map[string]int)
	for i := range 10_000 {
		key := fmt.Sprintf("key-%d", i)
		before := best(key, workers)
		counts[before]++
		if after := best(key, workers[:4]); before != "worker-5" && after != before {
			t.Fatalf("%s moved from %s to %s though only worker-5 left", key, before, after)
		}
	}
	for w, n := range counts {
		if n < 1800 || n > 2200 {
			t.Errorf("%s is the best for %d of 10000 keys; want nearly 2000", w, n)
		}
	}
	if routing.Rendezvous("a", "bc") == routing.Rendezvous("ab", "c") {
		t.Error("key and worker run together")
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 4)
		copies := s.fleet.View().Ready(s.digest)
		p := picker()
		if n := testing.AllocsPerRun(100, func() { _ = p.Pick(copies, nil, "key") }); n != 0 {
			t.Errorf("Pick allocates %v times", n)
		}
	})
}
