package respcache

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/poterne/poterne/pkg/sqldb"
)

// SQLStore is a PurgeStore in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

// maxPurges bounds the rows of a tenant: one more purges everything of the tenant.
const maxPurges = 256

// Add implements PurgeStore. Where a tenant has purged too many things by their
// names, all that it has is purged.
func (s *SQLStore) Add(ctx context.Context, p Purge) (Purge, error) {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `UPDATE edge_cache_revision SET revision = revision + 1 WHERE one = 1 RETURNING revision`).Scan(&p.Revision)
		if err != nil {
			return err
		}
		var known int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM edge_cache_purges WHERE tenant = $1`, p.Tenant).Scan(&known); err != nil {
			return err
		}
		if known >= maxPurges {
			p.Model, p.Collection = "", ""
		}
		if p.Model == "" && p.Collection == "" {
			if _, err := tx.ExecContext(ctx, `DELETE FROM edge_cache_purges WHERE tenant = $1`, p.Tenant); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_cache_purges (tenant, model, collection, revision) VALUES ($1, $2, $3, $4)
			ON CONFLICT (tenant, model, collection) DO UPDATE SET revision = excluded.revision`, p.Tenant, p.Model, p.Collection, p.Revision)
		return err
	})
	if err != nil {
		return p, fmt.Errorf("respcache: keep a purge: %w", err)
	}
	return p, nil
}

// Revision implements PurgeStore.
func (s *SQLStore) Revision(ctx context.Context) (n int64, err error) {
	if err = s.db.QueryRowContext(ctx, `SELECT revision FROM edge_cache_revision WHERE one = 1`).Scan(&n); err != nil {
		return 0, fmt.Errorf("respcache: read the revision: %w", err)
	}
	return n, nil
}

// After implements PurgeStore.
func (s *SQLStore) After(ctx context.Context, revision int64, limit int) (out []Purge, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT tenant, model, collection, revision FROM edge_cache_purges
		WHERE revision > $1 ORDER BY revision LIMIT $2`, revision, limit)
	if err != nil {
		return nil, fmt.Errorf("respcache: read the purges: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p Purge
		if err := rows.Scan(&p.Tenant, &p.Model, &p.Collection, &p.Revision); err != nil {
			return nil, fmt.Errorf("respcache: read the purges: %w", err)
		}
		out = append(out, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("respcache: read the purges: %w", err)
	}
	return out, nil
}
