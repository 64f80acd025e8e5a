package possession

import (
	"crypto/sha256"
	"sync"
	"time"
)

// ownerShare is which part of the memory one caller may fill: others still come in.
const ownerShare = 16

// proofID names a proof: its key and its jti.
type proofID [16]byte

func idOf(thumbprint, jti string) (id proofID) {
	sum := sha256.Sum256([]byte(thumbprint + "\x00" + jti))
	copy(id[:], sum[:])
	return id
}

// replay remembers proofs for as long as they could be shown again. Its memory is
// bounded, and what could be shown again is never forgotten for that: it rather
// takes no more. It is safe for concurrent use.
type replay struct {
	keep time.Duration
	most int

	mu     sync.Mutex
	seen   map[proofID]struct{}
	owners map[string]int
	queue  []shown // in the order of their ends, from head on
	head   int
}

type shown struct {
	id    proofID
	owner string
	until time.Time
}

// outcome is what became of a proof.
type outcome int

const (
	fresh outcome = iota
	repeated
	tooMany // the owner's
	full
)

func newReplay(keep time.Duration, most int) *replay {
	return &replay{keep: keep, most: most, seen: make(map[proofID]struct{}), owners: make(map[string]int)}
}

// show notes that the owner showed a proof.
func (r *replay) show(owner string, id proofID, now time.Time) outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	if _, ok := r.seen[id]; ok {
		return repeated
	}
	switch {
	case r.owners[owner] >= max(r.most/ownerShare, 1):
		return tooMany
	case len(r.seen) >= r.most:
		return full
	}
	r.seen[id] = struct{}{}
	r.owners[owner]++
	r.queue = append(r.queue, shown{id, owner, now.Add(r.keep)})
	return fresh
}

// forget drops what can no longer be shown. r.mu is held.
func (r *replay) forget(now time.Time) {
	for r.head < len(r.queue) && r.queue[r.head].until.Before(now) {
		old := r.queue[r.head]
		r.queue[r.head] = shown{}
		r.head++
		delete(r.seen, old.id)
		if r.owners[old.owner]--; r.owners[old.owner] == 0 {
			delete(r.owners, old.owner)
		}
	}
	if r.head == len(r.queue) {
		r.queue, r.head = r.queue[:0], 0
	} else if r.head > len(r.queue)/2 {
		n := copy(r.queue, r.queue[r.head:])
		clear(r.queue[n:])
		r.queue, r.head = r.queue[:n], 0
	}
}
