package audit

import "sync"

// InHand is the entries of the requests that are in hand. It is safe for concurrent
// use, and a nil one holds nothing.
type InHand struct {
	mu   sync.Mutex
	last *Entry
}

// Add takes an entry; Remove must follow.
func (h *InHand) Add(e *Entry) {
	if h == nil || e == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.before = h.last; e.before != nil {
		e.before.after = e
	}
	h.last = e
}

// Remove forgets an entry.
func (h *InHand) Remove(e *Entry) {
	if h == nil || e == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.before != nil {
		e.before.after = e.after
	}
	if e.after != nil {
		e.after.before = e.before
	}
	if h.last == e {
		h.last = e.before
	}
	e.before, e.after = nil, nil
}

// Find returns the youngest request in hand that match selects, with what was decided
// of it so far. match must not ask for anything here.
func (h *InHand) Find(match func(*Record) bool) (Record, bool) {
	if h == nil {
		return Record{}, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := h.last; e != nil; e = e.before {
		if rec := e.Record(); match(&rec) {
			rec.Decisions = e.decided()
			return rec, true
		}
	}
	return Record{}, false
}
