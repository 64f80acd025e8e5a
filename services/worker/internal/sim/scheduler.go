package sim

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

var errQueueFull = errors.New("too many requests wait")

// scheduler gives out slots and memory, first come first served: a large
// request at the head is not overtaken by small ones.
type scheduler struct {
	mu         sync.Mutex
	freeSlots  int
	freeTokens int
	slots      int
	tokens     int
	maxWaiting int
	waiting    list.List // of *waiter
}

type waiter struct {
	tokens int
	ready  chan struct{}
}

func newScheduler(slots, tokens, maxWaiting int) *scheduler {
	return &scheduler{freeSlots: slots, freeTokens: tokens, slots: slots, tokens: tokens, maxWaiting: maxWaiting}
}

// acquire waits for a slot and memory for so many tokens. What it gives must be
// given back by release.
func (s *scheduler) acquire(ctx context.Context, tokens int) error {
	s.mu.Lock()
	if s.waiting.Len() == 0 && s.fits(tokens) {
		s.take(tokens)
		s.mu.Unlock()
		return nil
	}
	if s.waiting.Len() >= s.maxWaiting {
		s.mu.Unlock()
		return errQueueFull
	}
	w := &waiter{tokens: tokens, ready: make(chan struct{})}
	place := s.waiting.PushBack(w)
	s.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-w.ready: // both happened: give back what was just given
		s.giveBack(tokens)
	default:
		s.waiting.Remove(place)
		s.admit()
	}
	return context.Cause(ctx)
}

func (s *scheduler) release(tokens int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveBack(tokens)
}

func (s *scheduler) giveBack(tokens int) {
	s.freeSlots++
	s.freeTokens += tokens
	s.admit()
}

func (s *scheduler) admit() {
	for e := s.waiting.Front(); e != nil; e = s.waiting.Front() {
		w, ok := e.Value.(*waiter)
		if !ok || !s.fits(w.tokens) {
			return
		}
		s.take(w.tokens)
		s.waiting.Remove(e)
		close(w.ready)
	}
}

// fits allows a request larger than the whole memory to run alone, since it
// could never run otherwise.
func (s *scheduler) fits(tokens int) bool {
	return s.freeSlots > 0 && (s.freeTokens >= tokens || s.freeSlots == s.slots)
}

func (s *scheduler) take(tokens int) {
	s.freeSlots--
	s.freeTokens -= tokens
}

// usage returns requests running and waiting, and the share of memory taken.
func (s *scheduler) usage() (running, waiting int, memory float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := s.tokens - s.freeTokens
	return s.slots - s.freeSlots, s.waiting.Len(), min(float64(used)/float64(s.tokens), 1)
}
