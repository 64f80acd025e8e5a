// Package watched holds a value that one writer replaces and many readers wait
// on. Start reading at Value.
package watched

import (
	"sync"
	"sync/atomic"
)

// Value is a value that is replaced as a whole. Reading takes no lock. It must
// be made by New.
type Value[T any] struct {
	mu  sync.Mutex // held by writers
	now atomic.Pointer[version[T]]
}

type version[T any] struct {
	value    T
	replaced chan struct{}
}

// New returns a Value that holds v.
func New[T any](v T) *Value[T] {
	w := new(Value[T])
	w.now.Store(&version[T]{value: v, replaced: make(chan struct{})})
	return w
}

// Get returns the value.
func (w *Value[T]) Get() T { return w.now.Load().value }

// Watch returns the value and a channel that is closed once it is replaced.
func (w *Value[T]) Watch() (T, <-chan struct{}) {
	v := w.now.Load()
	return v.value, v.replaced
}

// Set replaces the value and wakes everyone who waits for that.
func (w *Value[T]) Set(v T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.now.Swap(&version[T]{value: v, replaced: make(chan struct{})})
	close(old.replaced)
}
