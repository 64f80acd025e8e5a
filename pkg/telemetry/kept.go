package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Kept are things that are made once for each key and read with every request: the series
// of metrics by their labels. Keys must be few, since the table is written anew with each
// new one. The zero value is empty. It is safe for concurrent use.
type Kept[K comparable, V any] struct {
	mu    sync.Mutex
	table atomic.Pointer[map[K]V]
}

// Had returns what is kept for the key, if anything.
func (k *Kept[K, V]) Had(key K) (v V, ok bool) {
	if t := k.table.Load(); t != nil {
		v, ok = (*t)[key]
	}
	return v, ok
}

// Get returns what is kept for the key, and makes it when there is nothing yet.
func (k *Kept[K, V]) Get(key K, create func(K) V) V {
	if v, ok := k.Had(key); ok {
		return v
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	next := map[K]V{}
	if t := k.table.Load(); t != nil {
		if v, ok := (*t)[key]; ok {
			return v
		}
		next = maps.Clone(*t)
	}
	v := create(key)
	next[key] = v
	k.table.Store(&next)
	return v
}
