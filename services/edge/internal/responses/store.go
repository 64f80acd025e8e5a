package responses

import (
	"context"
	"errors"
	"time"
)

// Errors of a Store.
var (
	// ErrNotFound is for what is not there, or not the asker's.
	ErrNotFound = errors.New("responses: there is no such response")
	// ErrBroken is for a conversation of which an earlier response is gone.
	ErrBroken = errors.New("responses: an earlier response is not there any more")
	// ErrTooLong is for a conversation of more turns than are read.
	ErrTooLong = errors.New("responses: the conversation has too many turns")
)

// Owner is whose a response is.
type Owner struct{ Tenant, Subject string }

// Turn is a response as it is kept.
type Turn struct {
	ID       string
	Owner    Owner
	Previous string // the turn before; empty: none
	// Input is the items that were asked and Response the answer, as JSON.
	Input, Response        string
	CreateTime, ExpireTime time.Time
}

// Store keeps turns. Only an owner finds their own. Implementations are safe for
// concurrent use.
type Store interface {
	// Put keeps a turn, and forgets the owner's oldest beyond most.
	Put(ctx context.Context, t Turn, most int) error
	// Chain returns a turn and those before it, the first one first, at most limit of
	// them; ErrNotFound, ErrBroken or ErrTooLong.
	Chain(ctx context.Context, o Owner, id string, now time.Time, limit int) ([]Turn, error)
	// Delete forgets a turn; ErrNotFound.
	Delete(ctx context.Context, o Owner, id string, now time.Time) error
	// Purge forgets what expired by now, at most limit of it, and says how much.
	Purge(ctx context.Context, now time.Time, limit int) (int, error)
}
