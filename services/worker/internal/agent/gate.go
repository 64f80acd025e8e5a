package agent

import (
	"sync"
	"time"
)

// gate bounds the requests in flight on one model. What does not fit is refused
// at once: waiting belongs to the engine, which can batch what waits.
type gate struct {
	mu      sync.Mutex
	slots   int
	limit   int
	n       int
	of      map[string]int // by replica
	closed  bool
	held    bool          // it is to be closed, unless that is taken back
	empty   chan struct{} // closed when the gate is closed and nothing is in flight
	emptied bool          // empty is closed
	average time.Duration // of what a request took
}

func newGate(slots, limit int) *gate {
	return &gate{slots: slots, limit: max(limit, slots), of: make(map[string]int), empty: make(chan struct{})}
}

type admission int

const (
	admitted admission = iota
	full
	shut
)

// enter takes a place for a replica, which leave gives back.
func (g *gate) enter(replica string) admission {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed, g.held:
		return shut
	case g.n >= g.limit:
		return full
	}
	g.n++
	g.of[replica]++
	return admitted
}

// averageShare is the weight of the newest request in the average.
const averageShare = 8

func (g *gate) leave(replica string, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.of[replica]--; g.of[replica] == 0 {
		delete(g.of, replica)
	}
	if g.average == 0 {
		g.average = took
	}
	g.average += (took - g.average) / averageShare
	if g.closed && g.n == 0 && !g.emptied {
		g.emptied = true
		close(g.empty)
	}
}

// shutDown admits no more; the channel is closed once nothing is in flight.
func (g *gate) shutDown() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.n == 0 && !g.emptied {
		g.emptied = true
		close(g.empty)
	}
	return g.empty
}

func (g *gate) inFlight() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

// idle reports whether nothing is in flight.
func (g *gate) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n == 0
}

// closeIfIdle admits no more if nothing is in flight, and reports whether it
// was so; reopen takes that back.
func (g *gate) closeIfIdle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n > 0 || g.closed || g.held {
		return false
	}
	g.held = true
	return true
}

func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = false // one that was shut down meanwhile stays so
}

// resize notes how many slots the engine says it has.
func (g *gate) resize(slots int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if slots > 0 {
		g.limit = max(g.limit+slots-g.slots, slots)
		g.slots = slots
	}
}

// allow sets the bounds, once they are known.
func (g *gate) allow(slots, limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slots, g.limit = slots, max(limit, slots)
}

// load returns the slots, the requests that run and those that wait, and of both
// together a replica's.
func (g *gate) load(replica string) (slots, active, queued, own int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	active = min(g.n, g.slots)
	return g.slots, active, g.n - active, g.of[replica]
}

const (
	minRetryAfter = time.Second
	maxRetryAfter = 30 * time.Second
)

// retryAfter is about when a place will be free.
func (g *gate) retryAfter() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := max(g.n-g.slots, 0) + 1
	d := g.average * time.Duration(waiting) / time.Duration(max(g.slots, 1))
	return min(max(d.Round(time.Second), minRetryAfter), maxRetryAfter)
}
