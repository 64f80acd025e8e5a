package ban

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// Store keeps bans where every edge sees them. Implementations are safe for
// concurrent use.
type Store interface {
	// Put adds a ban, or replaces the network's.
	Put(ctx context.Context, b Ban) error
	// Delete removes a network's ban, if there is one.
	Delete(ctx context.Context, network netip.Prefix) error
	// Revision changes with every change.
	Revision(ctx context.Context) (int64, error)
	// List returns at most limit bans that expire after a time, the last to expire
	// first, and forgets those that expired before.
	List(ctx context.Context, after time.Time, limit int) ([]Ban, error)
}

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

func (s *SQLStore) change(ctx context.Context, what, query string, args ...any) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE edge_bans_revision SET revision = revision + 1 WHERE one = 1`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("ban: %s: %w", what, err)
	}
	return nil
}

// Put adds or replaces a ban.
func (s *SQLStore) Put(ctx context.Context, b Ban) error {
	return s.change(ctx, "keep", `INSERT INTO edge_bans (network, reason, banned_by, create_time, expire_time, level)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (network) DO UPDATE SET reason = excluded.reason, banned_by = excluded.banned_by,
			create_time = excluded.create_time, expire_time = excluded.expire_time, level = excluded.level`,
		b.Network.String(), b.Reason, b.By, b.Since.UnixMicro(), b.Expire.UnixMicro(), b.Level)
}

// Delete removes a ban.
func (s *SQLStore) Delete(ctx context.Context, network netip.Prefix) error {
	return s.change(ctx, "remove", `DELETE FROM edge_bans WHERE network = $1`, network.String())
}

// Revision is the number of the last change.
func (s *SQLStore) Revision(ctx context.Context) (revision int64, err error) {
	if err = s.db.QueryRowContext(ctx, `SELECT revision FROM edge_bans_revision WHERE one = 1`).Scan(&revision); err != nil {
		return 0, fmt.Errorf("ban: read the revision: %w", err)
	}
	return revision, nil
}

// List returns the bans, and forgets what has expired.
func (s *SQLStore) List(ctx context.Context, after time.Time, limit int) (out []Ban, err error) {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM edge_bans WHERE expire_time <= $1`, after.UnixMicro()); err != nil {
		return nil, fmt.Errorf("ban: forget what has expired: %w", err)
	}
	rows, err := s.db.QueryContext(ctx, `SELECT network, reason, banned_by, create_time, expire_time, level
		FROM edge_bans ORDER BY expire_time DESC LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("ban: list: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var b Ban
		var network string
		var since, expire int64
		if err := rows.Scan(&network, &b.Reason, &b.By, &since, &expire, &b.Level); err != nil {
			return nil, fmt.Errorf("ban: list: %w", err)
		}
		if b.Network, err = netip.ParsePrefix(network); err != nil {
			return nil, fmt.Errorf("ban: list: %w", err)
		}
		b.Since, b.Expire = time.UnixMicro(since).UTC(), time.UnixMicro(expire).UTC()
		out = append(out, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("ban: list: %w", err)
	}
	return out, nil
}
