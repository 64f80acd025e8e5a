package policy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

type rowQuerier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func state(ctx context.Context, db rowQuerier, tenant string) (State, error) {
	st := State{Tenant: tenant}
	err := db.QueryRowContext(ctx, `SELECT version, dry_run_version, dry_run_percent, etag, revision FROM edge_policies WHERE tenant = $1`, tenant).
		Scan(&st.Version, &st.DryRun, &st.Percent, &st.ETag, &st.Revision)
	if errors.Is(err, sql.ErrNoRows) {
		return st, nil
	}
	return st, err
}

// State returns what a tenant has in force.
func (s *Store) State(ctx context.Context, tenant string) (State, error) {
	st, err := state(ctx, s.db.Reader(), tenant)
	return st, wrap("read the state", err)
}

// Get returns a version; ErrNotFound when there is none.
func (s *Store) Get(ctx context.Context, tenant string, version int64) (Version, error) {
	row := s.db.Reader().QueryRowContext(ctx, `SELECT `+versionColumns+` FROM edge_policy_versions WHERE tenant = $1 AND version = $2`, tenant, version)
	v, err := scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return Version{}, ErrNotFound
	}
	return v, wrap("get", err)
}

// List returns versions without their documents, newest first, from before one;
// 0 begins with the newest.
func (s *Store) List(ctx context.Context, tenant string, before int64, limit int) ([]Version, error) {
	if before == 0 {
		before = maxVersions + 1
	}
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT tenant, version, '', digest, author, message, create_time
		FROM edge_policy_versions WHERE tenant = $1 AND version < $2 ORDER BY version DESC LIMIT $3`, tenant, before, limit)
	if err != nil {
		return nil, wrap("list", err)
	}
	defer rows.Close()
	var out []Version
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, wrap("list", err)
		}
		out = append(out, v)
	}
	return out, wrap("list", rows.Err())
}

func scan(row interface{ Scan(dest ...any) error }) (Version, error) {
	var (
		v      Version
		create int64
	)
	err := row.Scan(&v.Tenant, &v.Version, &v.Text, &v.Digest, &v.Author, &v.Message, &create)
	v.CreateTime = time.UnixMicro(create).UTC()
	return v, err
}

// Revision returns the number of the last change.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	var revision int64
	err := s.db.Reader().QueryRowContext(ctx, `SELECT revision FROM edge_policies_revision WHERE one = 1`).Scan(&revision)
	if err != nil {
		return 0, fmt.Errorf("policy: read the revision: %w", err)
	}
	return revision, nil
}

// Changes returns what is in force for tenants where that changed after a
// revision, in one statement: a state never comes with another one's documents.
func (s *Store) Changes(ctx context.Context, after int64, limit int) ([]Change, error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT p.tenant, p.version, p.dry_run_version, p.dry_run_percent, p.etag, p.revision,
			COALESCE(a.document, ''), COALESCE(d.document, '')
		FROM edge_policies p
		LEFT JOIN edge_policy_versions a ON a.tenant = p.tenant AND a.version = p.version
		LEFT JOIN edge_policy_versions d ON d.tenant = p.tenant AND d.version = p.dry_run_version
		WHERE p.revision > $1 ORDER BY p.revision LIMIT $2`, after, limit)
	if err != nil {
		return nil, wrap("read changes", err)
	}
	defer rows.Close()
	var out []Change
	for rows.Next() {
		var c Change
		if err := rows.Scan(&c.Tenant, &c.Version, &c.DryRun, &c.Percent, &c.ETag, &c.Revision, &c.Text, &c.DryRunText); err != nil {
			return nil, wrap("read changes", err)
		}
		out = append(out, c)
	}
	return out, wrap("read changes", rows.Err())
}
