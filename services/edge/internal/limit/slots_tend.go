package limit

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/lifecycle"
)

// keptAtOnce is how many slots are kept up with one call.
const keptAtOnce = 500

// Components is what keeps slots up, and frees those that nobody uses.
func (s *Slots) Components() []lifecycle.Component {
	if s.o.Scripts == nil {
		return nil
	}
	return []lifecycle.Component{{
		Name: "limits: slots",
		Run: func(ctx context.Context) error {
			kept := s.o.Clock.Now()
			return lifecycle.Every(ctx, s.o.Clock, tendInterval, nil, func(ctx context.Context) error {
				now := s.o.Clock.Now()
				for _, h := range s.idle(now, spareIdle) {
					s.end(ctx, h)
				}
				s.endLate(ctx)
				if now.Sub(kept) >= slotKept {
					s.keep(ctx)
					kept = now
				}
				return nil
			})
		},
		Stop: func(ctx context.Context) error {
			for _, h := range s.idle(s.o.Clock.Now(), 0) {
				s.end(ctx, h)
			}
			s.endLate(ctx)
			return nil
		},
	}}
}

// endLate frees the slots that Redis was not told of in time, as long as it answers.
// After slotAlive they have ended by themselves.
func (s *Slots) endLate(ctx context.Context) {
	if s.o.Away() {
		return
	}
	s.mu.Lock()
	ending := s.ending
	s.ending = nil
	s.mu.Unlock()
	for i, h := range ending {
		if s.o.Clock.Now().Sub(h.since) >= slotAlive {
			continue
		}
		if _, err := s.run(ctx, lookTimeout, h.buckets, "end", h.id, nil); err != nil {
			s.mu.Lock()
			s.ending = append(s.ending, ending[i:]...)
			s.mu.Unlock()
			return
		}
	}
}

// keep keeps up every slot that is held, by bucket.
func (s *Slots) keep(ctx context.Context) {
	if s.o.Away() {
		return
	}
	byBucket := make(map[string][]any)
	s.mu.Lock()
	for id, h := range s.holds {
		for _, b := range h.buckets {
			byBucket[b] = append(byBucket[b], id)
		}
	}
	s.mu.Unlock()
	for b, ids := range byBucket {
		for len(ids) > 0 {
			n := min(len(ids), keptAtOnce)
			some := ids[:n]
			ids = ids[n:]
			args := append([]any{"keep", "", slotAlive.Microseconds()}, some...)
			asking, cancel := context.WithTimeout(ctx, lookTimeout)
			_, err := s.o.Scripts.Run(asking, slotsScript, []string{redisPrefix + "slots:" + b}, args...)
			cancel()
			if err != nil {
				return // tried again; a slot counts for longer than that
			}
			s.endLeft(ctx, b, some)
		}
	}
}

// endLeft frees slots that were left while they were kept up.
func (s *Slots) endLeft(ctx context.Context, bucket string, ids []any) {
	var left []string
	s.mu.Lock()
	for _, id := range ids {
		if id, ok := id.(string); ok && s.holds[id] == nil {
			left = append(left, id)
		}
	}
	s.mu.Unlock()
	for _, id := range left {
		s.end(ctx, &Hold{id: id, buckets: []string{bucket}})
	}
}

// HoldsFor is for how long the slots of a replica that died count.
func HoldsFor() time.Duration { return slotAlive }
