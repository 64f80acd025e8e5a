package placement

import (
	"math"
	"sync"
	"time"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

const (
	// smoothing is the time constant of the load that replicas are computed from.
	smoothing = 10 * time.Second
	// recent is how long a request that found no copy counts as demand.
	recent = 30 * time.Second
	// noLoad is a smoothed load that is none.
	noLoad = 0.05
)

// asking remembers which versions were asked for while nobody had them. Only
// versions that serve are noted, so it is bounded by the catalog. It is safe for
// concurrent use.
type asking struct {
	mu      sync.Mutex
	entries map[string]*request
}

type request struct {
	at         time.Time
	considered bool // a look has taken it into account
}

func newAsking() *asking { return &asking{entries: make(map[string]*request)} }

// note notes a request, and reports whether no look has considered it yet.
func (a *asking) note(digest string, now time.Time) (fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.entries[digest]
	if r == nil || now.Sub(r.at) > recent {
		r = &request{}
		a.entries[digest] = r
	}
	r.at = now
	return !r.considered
}

// take returns what was asked for of late and nobody has, and marks it as
// considered. Once somebody has it the asking is over: should it be driven out
// again, only a new request brings it back.
func (a *asking) take(now time.Time, have func(digest string) bool) map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make(map[string]bool, len(a.entries))
	for digest, r := range a.entries {
		if now.Sub(r.at) > recent || have(digest) {
			delete(a.entries, digest)
			continue
		}
		r.considered = true
		out[digest] = true
	}
	return out
}

// load is what a version's copies do at one moment.
type load struct {
	copies   int // ready
	slots    int // of all copies
	requests int // running and waiting
	// idle is for how long no copy was used; only known when some copy says so.
	idle      time.Duration
	idleKnown bool
}

// add adds the load of other copies.
func (l *load) add(o load) {
	l.copies, l.slots, l.requests = l.copies+o.copies, l.slots+o.slots, l.requests+o.requests
	if o.idleKnown && (!l.idleKnown || o.idle < l.idle) {
		l.idle, l.idleKnown = o.idle, true
	}
}

// loads reads the workers' reports.
func loads(workers []*fleet.Worker) digestLoads {
	out := make(digestLoads)
	for _, w := range workers {
		if !w.Usable() {
			continue
		}
		state := w.Report().State
		for _, m := range state.GetModels() {
			if m.GetState() != workerv1.ModelState_MODEL_STATE_READY {
				continue
			}
			l := out[m.GetDigest()]
			l.copies++
			l.slots += int(max(m.GetSlots(), 1))
			l.requests += int(m.GetActive() + m.GetQueued())
			if m.GetLastUsedTime() != nil {
				idle := max(state.GetObserveTime().AsTime().Sub(m.GetLastUsedTime().AsTime()), 0)
				if m.GetActive()+m.GetQueued() > 0 {
					idle = 0
				}
				if !l.idleKnown || idle < l.idle {
					l.idle, l.idleKnown = idle, true
				}
			}
			out[m.GetDigest()] = l
		}
	}
	return out
}

// trend is the smoothed load of one version.
type trend struct {
	at       time.Time
	smoothed float64
	// surplus is since when more copies are ready than desired; zero: not so.
	surplus time.Time
	// copies is how many were ready at the last look.
	copies int
}

// desired returns how many workers should have a version. target is which share
// of the slots should be in use.
func (t *trend) desired(now time.Time, l load, asked bool, p Policy, target float64) int {
	if t.at.IsZero() {
		t.smoothed = float64(l.requests)
	} else {
		t.smoothed += (float64(l.requests) - t.smoothed) * -math.Expm1(-now.Sub(t.at).Seconds()/smoothing.Seconds())
	}
	t.at = now
	n := 0
	if t.smoothed > noLoad {
		perCopy := 1.0
		if l.copies > 0 {
			perCopy = float64(l.slots) / float64(l.copies)
		}
		n = int(math.Ceil(t.smoothed/(perCopy*target) - 1e-9))
	}
	if n == 0 && (asked || l.copies > 0 && (!l.idleKnown || l.idle < p.IdleUnload || p.IdleUnload == 0)) {
		n = 1 // it is used now and then
	}
	return min(max(n, p.Min), p.Max)
}

// digestLoads is the load of what is loaded, by digest.
type digestLoads map[string]load

// of adds up the load of several forms of a version.
func (d digestLoads) of(forms []*catalog.Variant) load {
	if len(forms) == 1 {
		return d[forms[0].Digest]
	}
	var sum load
	for _, one := range forms {
		sum.add(d[one.Digest])
	}
	return sum
}
