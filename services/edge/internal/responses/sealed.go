package responses

import (
	"context"
	"fmt"
	"time"

	"github.com/poterne/poterne/services/edge/internal/envelope"
)

// purpose is what keys of responses are bound to, so that no other use of the same
// master key can be put in their place; the others say which of a turn's texts it is.
const (
	purpose       = "response"
	boundInput    = "input"
	boundResponse = "answer"
)

// Sealed is a Store in which nobody can read, without a master key, what was asked and
// answered. Each text has a key of its own, bound to the owner, the turn and which of
// its texts it is. Names, the turn before and times are in the clear. What was kept
// before is read as it is.
type Sealed struct {
	Store
	masters *envelope.Masters
}

// NewSealed returns a store that seals what it has next keep.
func NewSealed(next Store, masters *envelope.Masters) *Sealed { return &Sealed{next, masters} }

func boundTo(t Turn, text string) []string {
	return []string{purpose, t.Owner.Tenant, t.Owner.Subject, t.ID, text}
}

// Put implements Store.
func (s *Sealed) Put(ctx context.Context, t Turn, most int) error {
	input, err := s.masters.SealText(t.Input, boundTo(t, boundInput)...)
	if err != nil {
		return fmt.Errorf("responses: seal: %w", err)
	}
	response, err := s.masters.SealText(t.Response, boundTo(t, boundResponse)...)
	if err != nil {
		return fmt.Errorf("responses: seal: %w", err)
	}
	t.Input, t.Response = input, response
	return s.Store.Put(ctx, t, most)
}

// Chain implements Store.
func (s *Sealed) Chain(ctx context.Context, o Owner, id string, now time.Time, limit int) ([]Turn, error) {
	turns, missing := s.Store.Chain(ctx, o, id, now, limit)
	for i := range turns {
		t := &turns[i]
		input, err := s.masters.OpenText(t.Input, boundTo(*t, boundInput)...)
		if err != nil {
			return nil, fmt.Errorf("responses: open what is sealed: %w", err)
		}
		response, err := s.masters.OpenText(t.Response, boundTo(*t, boundResponse)...)
		if err != nil {
			return nil, fmt.Errorf("responses: open what is sealed: %w", err)
		}
		t.Input, t.Response = input, response
	}
	return turns, missing
}
