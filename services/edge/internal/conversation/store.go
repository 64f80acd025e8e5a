package conversation

import (
	"context"
	"errors"
	"time"
)

// Errors of a Store.
var (
	// ErrNotFound is for what is not there, or not the asker's.
	ErrNotFound = errors.New("conversation: there is no such conversation")
	// ErrConflict is for what somebody else changed first.
	ErrConflict = errors.New("conversation: it was changed meanwhile")
)

// Owner is whose a conversation is.
type Owner struct{ Tenant, Subject string }

// Record is a conversation as it is kept.
type Record struct {
	ID string
	// Version changes with every change, and is never that of another conversation which
	// had this id before.
	Version                            int64
	CreateTime, UpdateTime, ExpireTime time.Time
	// Body is the conversation as JSON; empty in lists.
	Body string
	// Turns is how many there have been, Summarized how many of them a summary stands for.
	Turns, Summarized int64
}

// Store keeps conversations. Only an owner finds their own, and nobody finds what has
// expired. Implementations are safe for concurrent use.
type Store interface {
	// Read returns one; ErrNotFound.
	Read(ctx context.Context, o Owner, id string, now time.Time) (Record, error)
	// Write keeps a record in place of the one that has the version before, 0 for a new
	// one; ErrConflict. With a new one the owner's that rest longest are forgotten beyond
	// most.
	Write(ctx context.Context, o Owner, r Record, before int64, most int) error
	// List returns those after an id, by their ids, at most limit of them.
	List(ctx context.Context, o Owner, after string, limit int, now time.Time) ([]Record, error)
	// Delete forgets one; ErrNotFound.
	Delete(ctx context.Context, o Owner, id string, now time.Time) error
	// DeleteAll forgets all of a tenant, or of one subject, and says how many.
	DeleteAll(ctx context.Context, tenant, subject string) (int, error)
	// Purge forgets what expired by now, at most limit of it, and says how much.
	Purge(ctx context.Context, now time.Time, limit int) (int, error)
	// Close gives back what Open took.
	Close() error
}
