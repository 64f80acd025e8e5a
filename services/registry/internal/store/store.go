// Package store keeps the registry on SQLite or PostgreSQL: models, their
// immutable versions and their variants, aliases and splits, and one revision
// for every change.
// It knows nothing of gRPC or of who watches; its errors are those of package
// apierr, ready for a caller. Start reading at Store, and at tx.go for how a
// change commits.
package store

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Options tune a Store. Zero values take the defaults.
type Options struct {
	// Clock tells when things changed; the machine's by default.
	Clock clock.Clock
	// Random gives the splits' salts; crypto/rand by default.
	Random io.Reader
	// KeepChanges is how many changes a watcher may be behind; 10,000 by default.
	KeepChanges int64
	// MaxModels bounds the models; 10,000 by default.
	MaxModels int
	// MaxAliases bounds the aliases of one model; 256 by default.
	MaxAliases int
	// MaxModelBytes bounds the versions of one model that watchers are sent, with
	// their variants, encoded, so that its state fits in one message; 3 MiB by
	// default.
	MaxModelBytes int64
	// KeepDeleted is for how long what was deleted can be restored; 30 days by
	// default, below 0 not at all.
	KeepDeleted time.Duration
	// May refuses versions that must not serve, before an alias or a split names
	// them; nil refuses none.
	May func(v *registryv1.Version) error
	// Committed is called after every commit of this process; it must not block.
	Committed func(Commit)
}

// Commit is a change that this process has committed.
type Commit struct {
	// Kind says what was done, in one of a few words.
	Kind string
	// Model is the model's name.
	Model    string
	Revision int64
	// Actor is who did it, as given with the change.
	Actor string
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.KeepChanges <= 0 {
		o.KeepChanges = 10_000
	}
	if o.MaxModels <= 0 {
		o.MaxModels = 10_000
	}
	if o.MaxAliases <= 0 {
		o.MaxAliases = 256
	}
	if o.MaxModelBytes <= 0 {
		o.MaxModelBytes = 3 << 20
	}
	if o.KeepDeleted == 0 {
		o.KeepDeleted = 30 * 24 * time.Hour
	}
	if o.May == nil {
		o.May = func(*registryv1.Version) error { return nil }
	}
	if o.Committed == nil {
		o.Committed = func(Commit) {}
	}
	return o
}

// Store is the registry's truth. It is safe for concurrent use, also by
// several processes on one PostgreSQL database. The messages it returns belong
// to the caller.
type Store struct {
	db   *sqldb.DB
	opts Options
}

//go:embed migrations
var migrations embed.FS

// migrationsTable notes which migrations the database has had. Every name that
// the registry uses begins alike, so that it can share a database.
const migrationsTable = "registry_migrations"

// Open opens the database that cfg names and brings its schema up to date.
// Close it when done.
func Open(ctx context.Context, cfg sqldb.Config, log *slog.Logger, opts Options) (*Store, error) {
	db, err := sqldb.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("registry store: %w", err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err == nil {
		err = db.Migrate(ctx, files, log, sqldb.WithTable(migrationsTable))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("registry store: %w", err), db.Close())
	}
	s := &Store{db: db, opts: opts.withDefaults()}
	if err := s.index(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("registry store: %w", err), db.Close())
	}
	return s, nil
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// The random bytes of salts. With those of an experiment a key of up to 38 bytes,
// such as a UUID, is hashed in one step.
const (
	splitSalt      = 16
	experimentSalt = 8
)

// newSalt returns n random bytes in hexadecimal digits.
func (s *Store) newSalt(n int) (string, error) {
	raw := make([]byte, n)
	if _, err := io.ReadFull(s.opts.Random, raw); err != nil {
		return "", fmt.Errorf("make a salt: %w", err)
	}
	return hex.EncodeToString(raw), nil
}

// micros and timestamp are how times are stored and given back.
func micros(t time.Time) int64 { return t.UnixMicro() }

func timestamp(us int64) *timestamppb.Timestamp { return timestamppb.New(time.UnixMicro(us)) }

// since is timestamp for a time that may not be there.
func since(us int64) *timestamppb.Timestamp {
	if us == 0 {
		return nil
	}
	return timestamp(us)
}
