package batches

import (
	"context"
	"slices"
	"sync"
)

// slots is places for requests in hand. Tenants take turns: one that has many waiting
// gets no more of them than one that has few. It is safe for concurrent use.
type slots struct {
	mu      sync.Mutex
	free    int
	waiting map[string][]chan struct{}
	turns   []string // the tenants that wait, the next one first
}

func newSlots(n int) *slots { return &slots{free: n, waiting: make(map[string][]chan struct{})} }

// acquire waits for a place.
func (s *slots) acquire(ctx context.Context, tenant string) error {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return nil
	}
	place := make(chan struct{})
	if len(s.waiting[tenant]) == 0 {
		s.turns = append(s.turns, tenant)
	}
	s.waiting[tenant] = append(s.waiting[tenant], place)
	s.mu.Unlock()
	select {
	case <-place:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.waiting[tenant], place)
	if i >= 0 {
		s.set(tenant, slices.Delete(s.waiting[tenant], i, i+1))
	}
	s.mu.Unlock()
	if i < 0 { // it was given meanwhile
		s.release()
	}
	return context.Cause(ctx)
}

// release gives a place to the tenant whose turn it is.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.turns) == 0 {
		s.free++
		return
	}
	tenant := s.turns[0]
	list := s.waiting[tenant]
	close(list[0])
	s.turns = s.turns[1:]
	if len(list) > 1 {
		s.turns = append(s.turns, tenant)
	}
	s.set(tenant, list[1:])
}

// set notes who of a tenant waits; mu is held.
func (s *slots) set(tenant string, list []chan struct{}) {
	if len(list) > 0 {
		s.waiting[tenant] = list
		return
	}
	delete(s.waiting, tenant)
	s.turns = slices.DeleteFunc(s.turns, func(t string) bool { return t == tenant })
}
