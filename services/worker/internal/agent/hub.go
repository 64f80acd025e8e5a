package agent

import "sync"

// hub wakes the watchers of the state. A change of what is served is urgent;
// a change of load alone may wait a little.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

type watcher struct {
	urgent chan struct{}
	load   chan struct{}
}

func newHub() *hub { return &hub{watchers: make(map[*watcher]struct{})} }

func (h *hub) add() *watcher {
	w := &watcher{urgent: make(chan struct{}, 1), load: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = struct{}{}
	return w
}

func (h *hub) remove(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

func (h *hub) changed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		wake(w.urgent)
	}
}

func (h *hub) loadChanged() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		wake(w.load)
	}
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// settled forgets the changes that the next message tells anyway.
func (w *watcher) settled() {
	for _, ch := range []chan struct{}{w.urgent, w.load} {
		select {
		case <-ch:
		default:
		}
	}
}
