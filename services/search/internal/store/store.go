// Package store keeps collections, documents, their chunks and vectors in SQL:
// the truth of search, from which every index can be made again. A write is one
// transaction with the collection's next generation, so a document is there
// whole or not at all. Start reading at Store; it knows no model and no index.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
)

//go:embed migrations
var migrations embed.FS

// Store is the truth. It is safe for concurrent use, also by several processes
// on one PostgreSQL.
type Store struct {
	db    *sqldb.DB
	clock clock.Clock
	// often asks what every search asks.
	often *prepared
}

// New brings the database's schema up to date and returns a store on it. The
// caller closes the database.
func New(ctx context.Context, db *sqldb.DB, c clock.Clock, log *slog.Logger) (*Store, error) {
	fsys, err := migrationsFS()
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, fsys, log, sqldb.WithTable("search_migrations")); err != nil {
		return nil, fmt.Errorf("search store: %w", err)
	}
	return &Store{db: db, clock: c, often: newPrepared(db.Reader())}, nil
}

// errors that callers of the API see.
func noCollection(id string) error {
	return apierr.New(apierr.NotFound, "there is no collection %q", id).WithField("collection")
}

func noDocument(id string) error {
	return apierr.New(apierr.NotFound, "there is no document %q", id).WithField("document")
}

// ErrModelChanged says that the vectors to be written were made by another
// version of the model than the collection's: embed again with the
// collection's.
var ErrModelChanged = errors.New("search store: the vectors are another model version's")

func (s *Store) now() int64 { return s.clock.Now().UnixNano() }

func fromNanos(n int64) time.Time { return time.Unix(0, n).UTC() }
