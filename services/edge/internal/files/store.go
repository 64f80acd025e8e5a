package files

import (
	"context"
	"errors"
	"time"
)

// What a Store cannot do.
var (
	// ErrNotFound is a file that is not there, or not that owner's, or not whole.
	ErrNotFound = errors.New("files: there is no such file")
	// ErrInUse is a file that an unfinished batch reads.
	ErrInUse = errors.New("files: a batch in hand reads it")
	// ErrTooMany and ErrFull are a tenant that has no room left.
	ErrTooMany = errors.New("files: the tenant has as many files as it may")
	ErrFull    = errors.New("files: the tenant has as many bytes as it may")
)

// Owner is whose a file is.
type Owner struct{ Tenant, Subject string }

// File is what is known of a file.
type File struct {
	ID       string
	Owner    Owner
	Filename string
	Purpose  string
	Bytes    int64
	// Chunks is in how many pieces it is kept.
	Chunks int64
	// SHA256 is in hexadecimal.
	SHA256 string
	// Place is where its pieces lie; the store sets it.
	Place      string
	CreateTime time.Time
	// ExpireTime is when it ends; zero: never. That of a file which is being written
	// is when it is given up.
	ExpireTime time.Time
}

// Room is what a tenant may have in all.
type Room struct{ Files, Bytes int64 }

// Query is a page of an owner's files.
type Query struct {
	Owner   Owner
	Purpose string // empty: any
	After   string // an id; empty: from the beginning
	Oldest  bool   // the oldest first
	Limit   int
	Now     time.Time
}

// Store keeps files, their bytes in pieces. It is safe for concurrent use, also by
// several edges.
type Store interface {
	// Begin keeps a file that is to be written, and that nobody sees.
	Begin(ctx context.Context, f File, room Room) error
	// Append adds the next piece to a file that was begun.
	Append(ctx context.Context, f File, seq int64, data []byte, room Room) error
	// Finish has a file be seen.
	Finish(ctx context.Context, f File) error
	// Abandon forgets a file that was begun.
	Abandon(ctx context.Context, id string) error
	// Get returns an owner's file.
	Get(ctx context.Context, o Owner, id string, now time.Time) (File, error)
	// List returns files, and ErrNotFound where there is none to go on after.
	List(ctx context.Context, q Query) ([]File, error)
	// Piece returns a piece of a file that Get or List returned.
	Piece(ctx context.Context, f File, seq int64) ([]byte, error)
	// Delete forgets an owner's file. Where its pieces cannot be removed now, that is an
	// error, nobody sees it any more all the same, and Purge tries again.
	Delete(ctx context.Context, o Owner, id string, now time.Time) error
	// Purge forgets up to limit files that have ended, but for those in use, and
	// returns how many.
	Purge(ctx context.Context, now time.Time, limit int) (int, error)
}
