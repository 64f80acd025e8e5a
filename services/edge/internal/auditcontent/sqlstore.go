package auditcontent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

const (
	tenantColumns = `tenant, enabled, key_id, master, wrapped, update_time, erase_time, revision`
	keyColumns    = `id, tenant, subject, tenant_key, wrapped, create_time, erase_time, revision`
)

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

// change runs fn with the revision of its change, after all changes before it. An
// error undoes it.
func (s *SQLStore) change(ctx context.Context, what string, fn func(ctx context.Context, tx *sql.Tx, revision int64) error) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var revision int64
		err := tx.QueryRowContext(ctx,
			`UPDATE edge_audit_content_revision SET revision = revision + 1 WHERE one = 1 RETURNING revision`).Scan(&revision)
		if err != nil {
			return fmt.Errorf("take a revision: %w", err)
		}
		return fn(ctx, tx, revision)
	})
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, errOther) {
		return err
	}
	return fmt.Errorf("auditcontent: %s: %w", what, err)
}

// errOther undoes a change to what is no longer as it was.
var errOther = errors.New("auditcontent: it has changed")

// Tenant returns a tenant.
func (s *SQLStore) Tenant(ctx context.Context, tenant string) (Tenant, error) {
	found, err := s.tenants(ctx, `WHERE tenant = $1`, tenant)
	if err != nil {
		return Tenant{}, err
	}
	if len(found) == 0 {
		return Tenant{}, ErrNotFound
	}
	return found[0], nil
}

// SetTenant puts t in the place of what was there at its revision.
func (s *SQLStore) SetTenant(ctx context.Context, t Tenant) (bool, error) {
	err := s.change(ctx, "change a tenant", func(ctx context.Context, tx *sql.Tx, revision int64) error {
		var before int64
		err := tx.QueryRowContext(ctx, `SELECT revision FROM edge_audit_content_tenants WHERE tenant = $1`, t.Tenant).Scan(&before)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if before != t.Revision {
			return errOther
		}
		if err := s.wipe(ctx, tx); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_audit_content_tenants (`+tenantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (tenant) DO UPDATE SET enabled = excluded.enabled, key_id = excluded.key_id, master = excluded.master,
			wrapped = excluded.wrapped, update_time = excluded.update_time, erase_time = excluded.erase_time, revision = excluded.revision`,
			t.Tenant, number(t.Enabled), t.KeyID, t.Master, t.Wrapped, sqldb.Micros(t.UpdateTime), sqldb.Micros(t.EraseTime), revision)
		return err
	})
	if errors.Is(err, errOther) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, s.forget(ctx) // the master key that it was wrapped by may be given up
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Tenants returns every tenant.
func (s *SQLStore) Tenants(ctx context.Context) ([]Tenant, error) {
	return s.tenants(ctx, `ORDER BY tenant`)
}

// Key returns a person's key.
func (s *SQLStore) Key(ctx context.Context, tenant, subject string) (DataKey, error) {
	return s.key(ctx, `WHERE tenant = $1 AND subject = $2 AND erase_time = 0`, tenant, subject)
}

// KeyByID returns a key.
func (s *SQLStore) KeyByID(ctx context.Context, id string) (DataKey, error) {
	return s.key(ctx, `WHERE id = $1`, id)
}

func (s *SQLStore) key(ctx context.Context, where string, args ...any) (DataKey, error) {
	found, err := s.keys(ctx, where, args...)
	if err != nil {
		return DataKey{}, err
	}
	if len(found) == 0 {
		return DataKey{}, ErrNotFound
	}
	return found[0], nil
}

// AddKey keeps a person's first key.
func (s *SQLStore) AddKey(ctx context.Context, k DataKey) (DataKey, error) {
	err := s.change(ctx, "add a key", func(ctx context.Context, tx *sql.Tx, revision int64) error {
		k.Revision = revision
		res, err := tx.ExecContext(ctx, `INSERT INTO edge_audit_content_keys (`+keyColumns+`)
			SELECT $1, $2, $3, $4, $5, $6, 0, $7 WHERE EXISTS (
				SELECT 1 FROM edge_audit_content_tenants WHERE tenant = $8 AND key_id = $9) ON CONFLICT DO NOTHING`,
			k.ID, k.Tenant, k.Subject, k.TenantKey, k.Wrapped, sqldb.Micros(k.CreateTime), revision, k.Tenant, k.TenantKey)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return ErrNotFound
	})
	return k, err
}

// Erased returns when a person's last key was destroyed after t.
func (s *SQLStore) Erased(ctx context.Context, tenant, subject string, t time.Time) (time.Time, error) {
	var at int64
	err := s.db.Reader().QueryRowContext(ctx, `SELECT coalesce(max(erase_time), 0) FROM edge_audit_content_keys
		WHERE tenant = $1 AND subject = $2 AND erase_time >= $3`, tenant, subject, sqldb.Micros(t)).Scan(&at)
	if err != nil {
		return time.Time{}, fmt.Errorf("auditcontent: read a key: %w", err)
	}
	return sqldb.FromMicros(at), nil
}

// EraseSubject destroys a person's key.
func (s *SQLStore) EraseSubject(ctx context.Context, tenant, subject string, now time.Time) (n int64, err error) {
	err = s.change(ctx, "erase a person's content", func(ctx context.Context, tx *sql.Tx, revision int64) error {
		n, err = s.destroy(ctx, tx, revision, now, `tenant = $3 AND subject = $4`, tenant, subject)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, s.forget(ctx)
}

// EraseTenant destroys a tenant's keys.
func (s *SQLStore) EraseTenant(ctx context.Context, tenant string, now time.Time) (n int64, err error) {
	err = s.change(ctx, "erase a tenant's content", func(ctx context.Context, tx *sql.Tx, revision int64) error {
		if n, err = s.destroy(ctx, tx, revision, now, `tenant = $3`, tenant); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE edge_audit_content_tenants SET enabled = 0, key_id = '', master = '', wrapped = '',
			update_time = $1, erase_time = $1, revision = $2 WHERE tenant = $3`, sqldb.Micros(now), revision, tenant)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, s.forget(ctx)
}

// destroy overwrites keys. SQLite is told to leave nothing of them in its pages.
func (s *SQLStore) destroy(ctx context.Context, tx *sql.Tx, revision int64, now time.Time, where string, args ...any) (int64, error) {
	if err := s.wipe(ctx, tx); err != nil {
		return 0, err
	}
	res, err := tx.ExecContext(ctx, fmt.Sprintf(`UPDATE edge_audit_content_keys SET wrapped = '', erase_time = $1, revision = $2
		WHERE erase_time = 0 AND %s`, where), append([]any{sqldb.Micros(now), revision}, args...)...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// wipe has SQLite overwrite what this change takes out of its pages.
func (s *SQLStore) wipe(ctx context.Context, tx *sql.Tx) error {
	if s.db.Dialect != sqldb.SQLite {
		return nil
	}
	_, err := tx.ExecContext(ctx, `PRAGMA secure_delete = ON`)
	return err
}

// Revision returns the number of the last change.
func (s *SQLStore) Revision(ctx context.Context) (int64, error) {
	var revision int64
	err := s.db.Reader().QueryRowContext(ctx, `SELECT revision FROM edge_audit_content_revision WHERE one = 1`).Scan(&revision)
	if err != nil {
		return 0, fmt.Errorf("auditcontent: read the revision: %w", err)
	}
	return revision, nil
}

// TenantChanges returns tenants that changed after a revision.
func (s *SQLStore) TenantChanges(ctx context.Context, after int64, limit int) ([]Tenant, error) {
	return s.tenants(ctx, `WHERE revision > $1 ORDER BY revision LIMIT $2`, after, limit) // each change is of one
}

// KeyChanges returns keys that changed after a revision. One change may be to many,
// so that more than limit may be returned: a revision is never cut.
func (s *SQLStore) KeyChanges(ctx context.Context, after int64, limit int) ([]DataKey, error) {
	return s.keys(ctx, `WHERE revision > $1 AND revision <= COALESCE(
		(SELECT revision FROM edge_audit_content_keys WHERE revision > $1 ORDER BY revision LIMIT 1 OFFSET $2), $3) ORDER BY revision`,
		after, limit-1, int64(1)<<62)
}

func (s *SQLStore) tenants(ctx context.Context, rest string, args ...any) (out []Tenant, err error) {
	err = s.query(ctx, `SELECT `+tenantColumns+` FROM edge_audit_content_tenants `+rest, args, func(scan func(...any) error) error {
		var t Tenant
		var enabled int
		var updated, erased int64
		err := scan(&t.Tenant, &enabled, &t.KeyID, &t.Master, &t.Wrapped, &updated, &erased, &t.Revision)
		t.Enabled, t.UpdateTime, t.EraseTime = enabled != 0, sqldb.FromMicros(updated), sqldb.FromMicros(erased)
		out = append(out, t)
		return err
	})
	return out, err
}

func (s *SQLStore) keys(ctx context.Context, rest string, args ...any) (out []DataKey, err error) {
	err = s.query(ctx, `SELECT `+keyColumns+` FROM edge_audit_content_keys `+rest, args, func(scan func(...any) error) error {
		var k DataKey
		var created, erased int64
		err := scan(&k.ID, &k.Tenant, &k.Subject, &k.TenantKey, &k.Wrapped, &created, &erased, &k.Revision)
		k.CreateTime, k.EraseTime = sqldb.FromMicros(created), sqldb.FromMicros(erased)
		out = append(out, k)
		return err
	})
	return out, err
}

func (s *SQLStore) query(ctx context.Context, query string, args []any, row func(scan func(...any) error) error) (err error) {
	rows, err := s.db.Reader().QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("auditcontent: read: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return fmt.Errorf("auditcontent: read: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("auditcontent: read: %w", err)
	}
	return nil
}

// forget has SQLite leave nothing of what was overwritten: it is in the file's free
// space and in the write-ahead log until these are written anew. PostgreSQL does so in
// its own time, by vacuum.
func (s *SQLStore) forget(ctx context.Context) error {
	if s.db.Dialect != sqldb.SQLite {
		return nil
	}
	var busy, inLog, moved int
	_, err := s.db.ExecContext(ctx, `PRAGMA secure_delete = OFF`)
	if err == nil {
		err = s.db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &inLog, &moved)
	}
	if err != nil {
		return fmt.Errorf("auditcontent: empty the log: %w", err)
	}
	return nil
}
