package apikey

import (
	"context"
	"errors"
	"time"
)

// What a store answers.
var (
	ErrNotFound = errors.New("apikey: there is no such key")
	ErrExists   = errors.New("apikey: there is such a key already")
)

// Record is what is kept of a key.
type Record struct {
	ID      string
	Name    string
	Tenant  string
	Subject string
	Roles   []string
	Groups  []string
	// Hash is what Hasher made of the key.
	Hash string
	// The times are exact to the microsecond; the zero time is none.
	CreateTime, ExpireTime, RevokeTime time.Time
	// RequestsPerMinute is 0 for the gateway's default.
	RequestsPerMinute int32
	// Revision numbers the last change; set by the store.
	Revision int64
}

// Filter restricts a list of keys.
type Filter struct {
	// Tenant restricts to one tenant; empty: all.
	Tenant string
	// After is the last id of the page before.
	After string
	// Limit is the most keys returned; positive.
	Limit int
}

// Store keeps keys. Implementations are safe for concurrent use, and changes
// have revisions that are committed in their order.
type Store interface {
	// Create adds a key; ErrExists when its id is taken.
	Create(ctx context.Context, r Record) (Record, error)
	// CreateFirst adds a key if there has never been one, and reports whether it
	// did. before is called when it will, inside the transaction: when it fails,
	// or the process ends, no key was added. It may be called again.
	CreateFirst(ctx context.Context, r Record, before func() error) (bool, error)
	// Get returns a key; ErrNotFound when there is none.
	Get(ctx context.Context, id string) (Record, error)
	// List returns keys by id.
	List(ctx context.Context, f Filter) ([]Record, error)
	// Revoke ends a key at t, if it had not ended so before.
	Revoke(ctx context.Context, id string, t time.Time) (Record, error)
	// Revision returns the number of the last change.
	Revision(ctx context.Context) (int64, error)
	// Changes returns keys that changed after a revision, in the changes' order.
	Changes(ctx context.Context, after int64, limit int) ([]Record, error)
}
