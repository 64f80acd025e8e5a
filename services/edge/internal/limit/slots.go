package limit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

//go:embed slots.lua
var slotsScript string

const (
	// slotAlive is for how long a slot counts that its replica does not keep up: those
	// of a replica that died are free after that.
	slotAlive = 10 * time.Second
	// slotKept is how often slots are kept up.
	slotKept = 3 * time.Second
	// spareIdle is for how long a slot that was left is kept for the next request.
	spareIdle = 200 * time.Millisecond
	// maxEnding is how many slots are remembered that Redis is to be told of.
	maxEnding = 10_000
	// slotRetry is when to try again: nobody knows when what is in hand ends.
	slotRetry = time.Second
)

// SlotsOptions is what Slots work with.
type SlotsOptions struct {
	Clock clock.Clock
	// Scripts is the Redis that replicas share; nil: this one is alone, and needs
	// nothing of what follows.
	Scripts Scripts
	// Name tells this replica from the others; each start has another.
	Name string
	// Timeout is the longest that a request waits for Redis.
	Timeout time.Duration
	// Edges is how many replicas there are, and Away whether Redis is not to be asked.
	Edges   func() int
	Away    func() bool
	Observe Observer
}

// Slots bound what is in hand at once. They are safe for concurrent use.
type Slots struct {
	o SlotsOptions

	mu     sync.Mutex
	inHand map[string]int   // by bucket, in this replica
	holds  map[string]*Hold // what counts in Redis, by slot
	spares map[string][]*Hold
	ending []*Hold // what Redis was not told in time that it ended
	next   uint64
}

// NewSlots returns slots of which none is taken.
func NewSlots(o SlotsOptions) *Slots {
	return &Slots{o: o, inHand: make(map[string]int), holds: make(map[string]*Hold), spares: make(map[string][]*Hold)}
}

// Hold is slots that a request holds, one in each bucket. A nil Hold is none.
type Hold struct {
	slots   *Slots
	id      string
	buckets []string
	roomy   bool      // in no bucket more than half was taken
	since   time.Time // when it was left, as a spare
	left    bool
}

// Take takes a slot in the bucket of each ask, whose Limit.Amount is how many it has,
// or none when one is full: the first such is returned, or None.
func (s *Slots) Take(ctx context.Context, asks []Ask, out []Decision) (refused int, hold *Hold, err error) {
	if err := checkAll(asks); err != nil {
		return None, nil, err
	}
	h := &Hold{slots: s, buckets: make([]string, len(asks))}
	if s.o.Scripts != nil {
		h.id = s.name()
	}
	for i, a := range asks {
		h.buckets[i] = a.Bucket
	}
	if s.o.Scripts == nil {
		refused = s.takeHere(asks, out, 1)
	} else if spare := s.spare(h.buckets, asks, out); spare != nil {
		return None, spare, nil
	} else if refused, err = s.takeShared(ctx, h, asks, out); err != nil {
		s.o.Observe.Local(ctx, err)
		refused = s.takeHere(asks, out, max(s.o.Edges(), 1))
		for i := range out {
			out[i].Local = true
		}
		if refused == None {
			s.mu.Lock()
			s.holds[h.id] = h // Redis learns of it when it is back
			s.mu.Unlock()
		}
	}
	if refused != None {
		if err != nil { // Redis may have given it all the same
			s.later(h)
		}
		return refused, nil, nil
	}
	return None, h, nil
}

// takeHere counts in this replica, whose share is an nth part.
func (s *Slots) takeHere(asks []Ask, out []Decision, n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := None
	for i, a := range asks {
		most := max(a.Limit.Amount/n, 1)
		used := s.inHand[a.Bucket]
		if n > 1 && a.Away == AwayAllow {
			used = min(used, most-1)
		}
		out[i] = slotDecision(a.Limit, most-used)
		if n > 1 && a.Away == AwayRefuse {
			out[i] = slotDecision(a.Limit, 0)
		}
		if !out[i].Allowed && refused == None {
			refused = i
		}
	}
	if refused != None {
		return refused
	}
	for i, a := range asks {
		s.inHand[a.Bucket]++
		out[i].Remaining--
	}
	return None
}

// name returns one that no other slot has.
func (s *Slots) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.o.Name + ":" + strconv.FormatUint(s.next, 36)
}

func slotDecision(l Limit, left int) Decision {
	d := Decision{Allowed: left > 0, Limit: l, Remaining: max(left, 0)}
	if !d.Allowed {
		d.RetryAfter = slotRetry
	}
	return d
}

var errSlotsAway = errors.New("limit: Redis is away")

// takeShared asks Redis.
func (s *Slots) takeShared(ctx context.Context, h *Hold, asks []Ask, out []Decision) (int, error) {
	if s.o.Away() {
		return None, errSlotsAway
	}
	s.o.Observe.Asked(ctx)
	counts, err := s.run(ctx, s.o.Timeout, h.buckets, "take", h.id, asks)
	if err != nil {
		return None, err
	}
	refused := int(counts[0]) - 1
	h.roomy = true
	for i, a := range asks {
		count := int(counts[i+1])
		out[i] = slotDecision(a.Limit, a.Limit.Amount-count)
		if i != refused {
			out[i].Allowed, out[i].RetryAfter = true, 0
		}
		h.roomy = h.roomy && 2*count <= a.Limit.Amount
	}
	if refused != None {
		return refused, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds[h.id] = h
	for _, b := range h.buckets {
		s.inHand[b]++
	}
	return None, nil
}

func (s *Slots) run(ctx context.Context, most time.Duration, buckets []string, mode, id string, asks []Ask) ([]int64, error) {
	keys, args := make([]string, len(buckets)), []any{mode, id, slotAlive.Microseconds()}
	for i, b := range buckets {
		keys[i] = redisPrefix + "slots:" + b
	}
	for _, a := range asks {
		args = append(args, a.Limit.Amount)
	}
	// What Redis did is as good when the caller has gone away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
	defer cancel()
	out, err := s.o.Scripts.Run(ctx, slotsScript, keys, args...)
	if err != nil {
		return nil, fmt.Errorf("limit: ask Redis: %w", err)
	}
	if mode != "end" && len(out) != 1+len(buckets) {
		return nil, errors.New("limit: Redis answered something else than counts")
	}
	return out, nil
}

// spare returns a slot that another request has just left.
func (s *Slots) spare(buckets []string, asks []Ask, out []Decision) *Hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.Join(buckets, "\x00")
	list := s.spares[name]
	if len(list) == 0 {
		return nil
	}
	old := list[len(list)-1]
	s.spares[name] = list[:len(list)-1]
	// A hold of its own: whoever left the old one may leave it again.
	h := &Hold{slots: s, id: old.id, buckets: old.buckets, roomy: old.roomy}
	s.holds[h.id] = h
	for i, a := range asks {
		s.inHand[a.Bucket]++
		out[i] = slotDecision(a.Limit, a.Limit.Amount-s.inHand[a.Bucket])
		out[i].Allowed, out[i].RetryAfter = true, 0
	}
	return h
}

// Release frees the slots. It may be called more than once.
func (h *Hold) Release(ctx context.Context) {
	if h == nil {
		return
	}
	s := h.slots
	s.mu.Lock()
	if h.left {
		s.mu.Unlock()
		return
	}
	h.left = true
	for _, b := range h.buckets {
		if s.inHand[b]--; s.inHand[b] <= 0 {
			delete(s.inHand, b)
		}
	}
	if h.id == "" || s.o.Scripts == nil {
		s.mu.Unlock()
		return
	}
	if h.roomy {
		h.since = s.o.Clock.Now()
		name := strings.Join(h.buckets, "\x00")
		s.spares[name] = append(s.spares[name], h)
		s.mu.Unlock()
		return
	}
	delete(s.holds, h.id)
	s.mu.Unlock()
	s.end(ctx, h)
}

// end frees a slot in Redis, or soon, when that does not answer in time.
func (s *Slots) end(ctx context.Context, h *Hold) {
	if s.o.Away() {
		s.later(h)
	} else if _, err := s.run(ctx, s.o.Timeout, h.buckets, "end", h.id, nil); err != nil {
		s.later(h)
	}
}

// later has a slot freed later. Of very many, some end by themselves.
func (s *Slots) later(h *Hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ending) < maxEnding {
		h.since = s.o.Clock.Now()
		s.ending = append(s.ending, h)
	}
}

// Look tells how many slots the buckets have left.
func (s *Slots) Look(ctx context.Context, asks []Ask, out []Decision) error {
	if len(asks) == 0 {
		return nil
	}
	if s.o.Scripts == nil || s.o.Away() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, a := range asks {
			out[i] = slotDecision(a.Limit, a.Limit.Amount-s.inHand[a.Bucket])
			out[i].Local = s.o.Scripts != nil
		}
		return nil
	}
	buckets := make([]string, len(asks))
	for i, a := range asks {
		buckets[i] = a.Bucket
	}
	counts, err := s.run(ctx, lookTimeout, buckets, "look", "", asks)
	if err != nil {
		return err
	}
	for i, a := range asks {
		out[i] = slotDecision(a.Limit, a.Limit.Amount-int(counts[i+1]))
	}
	return nil
}

// idle takes the spares that nobody has wanted for a time; all of them when none may
// stay.
func (s *Slots) idle(now time.Time, stay time.Duration) (out []*Hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, list := range s.spares {
		list = slices.DeleteFunc(list, func(h *Hold) bool {
			if now.Sub(h.since) < stay {
				return false
			}
			out = append(out, h)
			delete(s.holds, h.id)
			return true
		})
		if s.spares[name] = list; len(list) == 0 {
			delete(s.spares, name)
		}
	}
	return out
}
