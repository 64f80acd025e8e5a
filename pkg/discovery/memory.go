package discovery

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Memory is a Source and a Registrar within this process: for instances that
// the configuration names, for the all-in-one, and for tests. It is safe for
// concurrent use.
type Memory struct {
	mu       sync.Mutex
	sets     map[string][]Instance
	watchers map[string][]chan []Instance
}

// NewMemory returns a source that knows nothing yet.
func NewMemory() *Memory {
	return &Memory{sets: make(map[string][]Instance), watchers: make(map[string][]chan []Instance)}
}

// NewStatic returns a source that knows the given addresses by service.
func NewStatic(addrs map[string][]string) *Memory {
	m := NewMemory()
	for service, list := range addrs {
		set := make([]Instance, 0, len(list))
		for i, addr := range list {
			set = append(set, Instance{ID: fmt.Sprintf("%s-%d", service, i+1), Service: service, Addr: addr})
		}
		m.Set(service, set)
	}
	return m
}

// Watch delivers the set that there is and then every change.
func (m *Memory) Watch(ctx context.Context, service string) <-chan []Instance {
	ch := make(chan []Instance, 1)
	m.mu.Lock()
	m.watchers[service] = append(m.watchers[service], ch)
	ch <- slices.Clone(m.sets[service])
	m.mu.Unlock()
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.watchers[service] = slices.DeleteFunc(m.watchers[service], func(c chan []Instance) bool { return c == ch })
		close(ch)
	})
	return ch
}

// Set replaces the instances of a service.
func (m *Memory) Set(service string, set []Instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(service, Sort(slices.Clone(set)))
}

func (m *Memory) set(service string, set []Instance) {
	if old, ok := m.sets[service]; ok && Equal(old, set) {
		return
	}
	m.sets[service] = set
	for _, ch := range m.watchers[service] {
		Deliver(ch, slices.Clone(set))
	}
}

// Register adds the instance, in place of one with the same ID.
func (m *Memory) Register(_ context.Context, r Registration) error {
	if err := r.Validate(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(r.Service, Sort(append(m.without(r.Service, r.ID), r.Instance)))
	return nil
}

// Deregister removes the instance.
func (m *Memory) Deregister(_ context.Context, service, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(service, m.without(service, id))
	return nil
}

func (m *Memory) without(service, id string) []Instance {
	return slices.DeleteFunc(slices.Clone(m.sets[service]), func(i Instance) bool { return i.ID == id })
}
