package placement

import (
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// settleTime is how long an admitted load may take to appear in the worker's
// state before the worker is asked again.
const settleTime = 5 * time.Second

// asked remembers what workers were asked and what they said. It is safe for
// concurrent use.
type asked struct {
	backoff backoff.Policy

	mu      sync.Mutex
	entries map[*fleet.Worker]map[string]*question // by digest
}

// question is one version asked of one worker, during one connection: a worker
// that came back may be asked again at once.
type question struct {
	since    time.Time // Report.Since of that connection
	inFlight bool
	refused  bool
	evict    bool   // it was asked with leave to unload others
	message  string // of the refusal, for people
	failures int
	until    time.Time // not before
	room     int64     // bytes that were free when it was asked
	at       time.Time // when it refused
}

func newAsked(b backoff.Policy) *asked {
	return &asked{backoff: b, entries: make(map[*fleet.Worker]map[string]*question)}
}

// begin notes that a question is on its way.
func (a *asked) begin(w *fleet.Worker, digest string, evict bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	byDigest := a.entries[w]
	if byDigest == nil {
		byDigest = make(map[string]*question)
		a.entries[w] = byDigest
	}
	since := w.Report().Since
	q := byDigest[digest]
	if q == nil || !q.since.Equal(since) {
		q = &question{since: since}
		byDigest[digest] = q
	}
	if evict && !q.evict {
		q.failures = 0 // it is another question
	}
	q.inFlight, q.refused, q.evict, q.room = true, false, evict, roomOf(w)
}

// end notes the answer and returns when the worker may be asked again.
func (a *asked) end(w *fleet.Worker, digest string, now time.Time, err error) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.entries[w][digest]
	if q == nil {
		return 0
	}
	q.inFlight, q.refused, q.message = false, err != nil, ""
	wait := settleTime
	if err != nil {
		q.at = now
		q.message = apierr.From(err).Message // and not whose: tenants see it, and workers are all tenants'
		q.failures++
		wait = a.backoff.Wait(q.failures)
	}
	q.until = now.Add(wait)
	return wait
}

// blocked reports whether the worker must not be asked for the version now, and
// hopeful whether it is about to load it. A worker that refused may be asked
// again at once with leave to unload others.
func (q *question) blocked(since, now time.Time, evict bool) (blocked, hopeful bool) {
	switch {
	case q == nil || (!q.inFlight && !q.since.Equal(since)):
		return false, false
	case q.inFlight:
		return true, true
	case q.refused && evict && !q.evict:
		return false, false
	case now.Before(q.until):
		return true, !q.refused
	default:
		return false, false
	}
}

// Refusals say something of a variant that would be better than what is there for
// a while, and while the worker has not much more room.
const (
	staleRefusal = 10 * time.Minute
	muchMore     = 8 // an eighth more
)

// blocked reports whether the worker must not be asked for the version now.
func (a *asked) blocked(w *fleet.Worker, digest string, now time.Time, evict bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	blocked, _ := a.entries[w][digest].blocked(w.Report().Since, now, evict)
	return blocked
}

// standing is how a worker stands to a version that it was asked for.
type standing struct {
	digest string
	// blocked and hopeful are as of question.blocked; refused says that it refused
	// when it had about as much room as now.
	blocked, hopeful, refused bool
}

// standings returns how a worker stands to those of the wanted versions that it
// was asked for; wanted says which may drive others out.
func (a *asked) standings(w *fleet.Worker, now time.Time, wanted map[string]bool) []standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []standing
	since, room := w.Report().Since, roomOf(w)
	for digest, q := range a.entries[w] {
		evict, ok := wanted[digest]
		if !ok {
			continue
		}
		one := standing{digest: digest}
		one.blocked, one.hopeful = q.blocked(since, now, evict)
		one.refused = q.refused && q.since.Equal(since) && now.Sub(q.at) < staleRefusal && room <= q.room+q.room/muchMore
		out = append(out, one)
	}
	return out
}

func roomOf(w *fleet.Worker) int64 {
	var f Facts
	f.readMemory(w.Report().State.GetMemory())
	return f.FreeBytes
}

// problem returns what a worker said that refused the version, the least of their words
// so that they do not change with each look, or "".
func (a *asked) problem(digest string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := ""
	for _, byDigest := range a.entries {
		if q := byDigest[digest]; q != nil && q.refused && (out == "" || q.message < out) {
			out = q.message
		}
	}
	return out
}

// keep forgets the workers that are gone and the versions of which there is
// nothing more to ask.
func (a *asked) keep(workers []*fleet.Worker, wanted func(digest string) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	present := make(map[*fleet.Worker]bool, len(workers))
	for _, w := range workers {
		present[w] = true
	}
	for w, byDigest := range a.entries {
		for digest, q := range byDigest {
			if !q.inFlight && (!present[w] || !wanted(digest)) {
				delete(byDigest, digest)
			}
		}
		if len(byDigest) == 0 {
			delete(a.entries, w)
		}
	}
}
