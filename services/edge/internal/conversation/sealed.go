package conversation

import (
	"context"
	"fmt"
	"time"

	"github.com/poterne/poterne/services/edge/internal/envelope"
)

// purpose is what keys of conversations are bound to, so that no other use of the same
// master key can be put in their place.
const purpose = "conversation"

// Sealed is a Store in which nobody can read, without a master key, what was said. Each
// writing has a key of its own, bound to the owner and the name. Names, times and counts
// are in the clear. What was kept before is read as it is, and sealed when it is next
// written.
type Sealed struct {
	Store
	masters *envelope.Masters
}

// NewSealed returns a store that seals what it has next keep.
func NewSealed(next Store, masters *envelope.Masters) *Sealed { return &Sealed{next, masters} }

func boundTo(o Owner, id string) []string { return []string{purpose, o.Tenant, o.Subject, id} }

// Write implements Store.
func (s *Sealed) Write(ctx context.Context, o Owner, r Record, before int64, most int) error {
	body, err := s.masters.SealText(r.Body, boundTo(o, r.ID)...)
	if err != nil {
		return fmt.Errorf("conversation: seal: %w", err)
	}
	r.Body = body
	return s.Store.Write(ctx, o, r, before, most)
}

// Read implements Store.
func (s *Sealed) Read(ctx context.Context, o Owner, id string, now time.Time) (Record, error) {
	r, err := s.Store.Read(ctx, o, id, now)
	if err != nil {
		return r, err
	}
	if r.Body, err = s.masters.OpenText(r.Body, boundTo(o, r.ID)...); err != nil {
		return Record{}, fmt.Errorf("conversation: open what is sealed: %w", err)
	}
	return r, nil
}
