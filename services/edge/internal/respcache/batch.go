package respcache

import (
	"context"
	"sync"
)

// partKey is one part of an answer in the making, such as the vector of one input.
type partKey struct {
	Key

	hurry string
}

// Batch is parts that one request has made together, for everybody who wants one of
// them. As with a Flight, it does not end with the one who began, but when nobody
// waits any more. It is safe for concurrent use.
type Batch struct {
	// Keys are what it makes, in order.
	Keys []Key

	cache *Cache
	hurry string
	done  chan struct{}

	// Once done is closed, these do not change.
	parts map[Key]*Entry
	err   error

	mu      sync.Mutex
	waiting int
	over    bool
	stop    context.CancelFunc
}

// Joined is who makes the parts that a request wants.
type Joined struct {
	// Mine is what the caller has to begin, by Start or Abandon; nil: nothing.
	Mine *Batch
	// Others are in the making already.
	Others []*Batch
}

// JoinParts has a caller wait for parts in the making, and begin all others. anew
// has it begin all. hurry sets apart those that are not treated alike. keys must
// differ from each other. Leave must be called.
func (c *Cache) JoinParts(keys []Key, hurry string, anew bool) *Joined {
	out := new(Joined)
	joined := make(map[*Batch]bool)
	var mine []Key
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		b := c.batches[partKey{k, hurry}]
		if anew || b == nil || !joined[b] && !b.join() {
			mine = append(mine, k)
			continue
		}
		if !joined[b] {
			joined[b] = true
			out.Others = append(out.Others, b)
		}
	}
	if len(mine) > 0 {
		out.Mine = &Batch{Keys: mine, cache: c, hurry: hurry, done: make(chan struct{}), waiting: 1}
		for _, k := range mine {
			c.batches[partKey{k, hurry}] = out.Mine
		}
	}
	return out
}

// Leave says that the caller waits for none of it any more.
func (j *Joined) Leave() {
	for _, b := range j.Others {
		b.leave()
	}
	if j.Mine != nil {
		j.Mine.leave()
	}
}

// Start has work make the parts, for everybody who waits; ctx gives work its values
// and its deadline, and no more. work has kept what is to be kept when it returns.
func (b *Batch) Start(ctx context.Context, work func(ctx context.Context) (map[Key]*Entry, error)) {
	detached, cancel := b.cache.detach(ctx)
	b.mu.Lock()
	b.stop = cancel
	b.mu.Unlock()
	go func() {
		defer cancel()
		b.finish(work(detached))
	}()
}

// Abandon says that the caller does not begin: others who wait have it made themselves.
func (b *Batch) Abandon() { b.finish(nil, ErrAbandoned) }

func (b *Batch) finish(parts map[Key]*Entry, err error) {
	b.forget()
	b.parts, b.err = parts, err
	close(b.done)
}

// forget has nobody join any more.
func (b *Batch) forget() {
	c := b.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	b.mu.Lock()
	b.over = true
	b.mu.Unlock()
	for _, k := range b.Keys {
		if at := (partKey{k, b.hurry}); c.batches[at] == b {
			delete(c.batches, at)
		}
	}
}

// Wait waits for the parts, until ctx ends. The error is that of the work.
func (b *Batch) Wait(ctx context.Context) (map[Key]*Entry, error) {
	select {
	case <-b.done:
		return b.parts, b.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// join adds somebody who waits; false: it is over.
func (b *Batch) join() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || b.waiting == 0 {
		return false
	}
	b.waiting++
	return true
}

// leave takes somebody away; the last one ends the work.
func (b *Batch) leave() {
	b.mu.Lock()
	b.waiting--
	last, stop := b.waiting == 0, b.stop
	b.mu.Unlock()
	if last {
		b.forget()
		if stop != nil {
			stop()
		}
	}
}
