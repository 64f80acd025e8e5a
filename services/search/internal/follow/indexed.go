package follow

import "github.com/poterne/poterne/services/search/internal/store"

// Indexed reports whether there is an index of c's embedding generation that
// answers, and whether the last attempt to make or follow it failed. It makes none.
func (f *Follower) Indexed(c store.Collection) (indexed, failing bool) {
	f.mu.Lock()
	h := f.handles[c.IndexName()]
	f.mu.Unlock()
	if h == nil {
		return false, false
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.collection != nil && h.collection.Sequence() > 0, h.failing
}
