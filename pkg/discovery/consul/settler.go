//go:build !embedded

package consul

import (
	"time"

	"github.com/poterne/poterne/pkg/discovery"
)

// settler decides which set to believe. A Consul that was away may have
// forgotten everybody, so for a grace period after that, and whenever everybody
// vanishes at once, the instances that are missing are kept; they are back
// before the grace ends, or gone after it. It is used by one goroutine.
type settler struct {
	grace time.Duration

	known    []discovery.Instance // what was delivered last
	found    []discovery.Instance // what Consul said last
	started  bool
	outage   bool      // the last query failed
	doubtful time.Time // until when missing instances are kept
}

// away notes that Consul did not answer, or has lost its state.
func (s *settler) away() { s.outage = true }

// seen notes what Consul answered and returns the set to believe.
func (s *settler) seen(now time.Time, found []discovery.Instance) []discovery.Instance {
	back := s.outage && s.started
	s.outage = false
	emptied := s.started && len(found) == 0 && len(s.known) > 0 && len(s.found) > 0
	if (back || emptied) && s.grace > 0 {
		s.doubtful = now.Add(s.grace)
	}
	s.started, s.found = true, found
	return s.settle(now)
}

// settle returns the set to believe at the given instant.
func (s *settler) settle(now time.Time) []discovery.Instance {
	if s.outage {
		return s.known // the grace begins when Consul is back
	}
	if !now.Before(s.doubtful) {
		s.known = s.found
		return s.known
	}
	s.known = union(s.found, s.known)
	return s.known
}

// pending returns how long it takes until settle may answer differently; 0 for
// never.
func (s *settler) pending(now time.Time) time.Duration {
	if s.outage || !now.Before(s.doubtful) || discovery.Equal(s.known, s.found) {
		return 0
	}
	return s.doubtful.Sub(now)
}

// union adds to found what only known has. An old instance at an address that a
// new one has taken is not kept.
func union(found, known []discovery.Instance) []discovery.Instance {
	ids := make(map[string]bool, len(found))
	addrs := make(map[string]bool, len(found))
	out := make([]discovery.Instance, 0, len(found)+len(known))
	for _, i := range found {
		ids[i.ID], addrs[i.Addr] = true, true
		out = append(out, i)
	}
	for _, i := range known {
		if !ids[i.ID] && !addrs[i.Addr] {
			out = append(out, i)
		}
	}
	return discovery.Sort(out)
}
