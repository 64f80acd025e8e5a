package policy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// The errors of a store.
var (
	ErrNotFound = errors.New("policy: there is no such version")
	// ErrChanged says that what is in force is no longer what the caller saw.
	ErrChanged = errors.New("policy: what is in force has changed")
	// ErrFull says that a tenant has as many versions as are kept.
	ErrFull = errors.New("policy: there are too many versions")
)

// maxVersions bounds the versions of one tenant.
const maxVersions = 10_000

// Version is a version of a tenant's policy. It never changes.
type Version struct {
	Tenant     string
	Version    int64
	Text       string // the document, as encode makes it
	Digest     string
	Author     string
	Message    string
	CreateTime time.Time
}

// State is what a tenant has in force.
type State struct {
	Tenant string
	// Version is in force, and DryRun tried beside it on Percent of the requests; 0
	// is none.
	Version, DryRun int64
	Percent         int32
	// ETag changes with Version, Revision with anything; both are 0 when there was
	// never anything.
	ETag, Revision int64
}

// Change is a state with its documents; they are empty where there are none.
type Change struct {
	State

	Text, DryRunText string
}

// Store keeps policies in SQLite or PostgreSQL, on the tables of package schema.
// It is safe for concurrent use, also with other processes.
type Store struct{ db *sqldb.DB }

// NewStore returns a store on db, which stays the caller's to close.
func NewStore(db *sqldb.DB) *Store { return &Store{db: db} }

const versionColumns = `tenant, version, document, digest, author, message, create_time`

// Create keeps a version as the tenant's next. The number is set by the store.
func (s *Store) Create(ctx context.Context, v Version) (Version, error) {
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, _ int64) error {
		var err error
		v, err = insert(ctx, tx, v)
		return err
	})
	if err != nil {
		return Version{}, wrap("create", err)
	}
	return v, nil
}

// CreateActive keeps a version and puts it into force, or does neither.
func (s *Store) CreateActive(ctx context.Context, v Version, etag int64) (Version, State, error) {
	var st State
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		var err error
		if v, err = insert(ctx, tx, v); err != nil {
			return err
		}
		st, err = activate(ctx, tx, v.Tenant, v.Version, etag, revision)
		return err
	})
	if err != nil {
		return Version{}, State{}, wrap("create", err)
	}
	return v, st, nil
}

func insert(ctx context.Context, tx *sql.Tx, v Version) (Version, error) {
	var last int64
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM edge_policy_versions WHERE tenant = $1`, v.Tenant).Scan(&last); err != nil {
		return v, err
	}
	if last >= maxVersions {
		return v, ErrFull
	}
	v.Version = last + 1
	_, err := tx.ExecContext(ctx, `INSERT INTO edge_policy_versions (`+versionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		v.Tenant, v.Version, v.Text, v.Digest, v.Author, v.Message, v.CreateTime.UnixMicro())
	return v, err
}

// AnyETag stands for whatever is in force.
const AnyETag = -1

// Activate puts a version into force when what is in force has the etag; version
// 0 leaves none in force.
func (s *Store) Activate(ctx context.Context, tenant string, version, etag int64) (State, error) {
	var st State
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		var err error
		st, err = activate(ctx, tx, tenant, version, etag, revision)
		return err
	})
	if err != nil {
		return State{}, wrap("activate", err)
	}
	return st, nil
}

func activate(ctx context.Context, tx *sql.Tx, tenant string, version, etag, revision int64) (State, error) {
	st, err := state(ctx, tx, tenant)
	if err != nil {
		return st, err
	}
	if etag != AnyETag && etag != st.ETag {
		return st, ErrChanged
	}
	if err := exists(ctx, tx, tenant, version); err != nil {
		return st, err
	}
	// Counted by tenant: the revision would tell how much others change.
	st.Version, st.ETag, st.Revision = version, st.ETag+1, revision
	return st, put(ctx, tx, st)
}

// Try has a version judge requests beside what is in force; 0 ends it.
func (s *Store) Try(ctx context.Context, tenant string, version int64, percent int32) error {
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		st, err := state(ctx, tx, tenant)
		if err != nil {
			return err
		}
		if err := exists(ctx, tx, tenant, version); err != nil {
			return err
		}
		st.DryRun, st.Percent, st.Revision = version, percent, revision
		if err := forget(ctx, tx, tenant); err != nil {
			return err
		}
		return put(ctx, tx, st)
	})
	return wrap("try", err)
}

func exists(ctx context.Context, tx *sql.Tx, tenant string, version int64) error {
	if version == 0 {
		return nil
	}
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM edge_policy_versions WHERE tenant = $1 AND version = $2`, tenant, version).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

func put(ctx context.Context, tx *sql.Tx, st State) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO edge_policies (tenant, version, dry_run_version, dry_run_percent, etag, revision)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (tenant) DO UPDATE SET version = excluded.version, dry_run_version = excluded.dry_run_version,
			dry_run_percent = excluded.dry_run_percent, etag = excluded.etag, revision = excluded.revision`,
		st.Tenant, st.Version, st.DryRun, st.Percent, st.ETag, st.Revision)
	return err
}

// change runs fn with the revision of its change, after all changes before it.
func (s *Store) change(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx, revision int64) error) error {
	return s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var revision int64
		err := tx.QueryRowContext(ctx, `UPDATE edge_policies_revision SET revision = revision + 1 WHERE one = 1 RETURNING revision`).Scan(&revision)
		if err != nil {
			return fmt.Errorf("take a revision: %w", err)
		}
		return fn(ctx, tx, revision)
	})
}

func wrap(what string, err error) error {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrChanged) || errors.Is(err, ErrFull) {
		return err
	}
	return fmt.Errorf("policy: %s: %w", what, err)
}
