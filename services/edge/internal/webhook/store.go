package webhook

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/sqldb"
)

// SQLStore keeps webhooks, events and deliveries in SQLite or PostgreSQL, on the
// tables of package schema. It is safe for concurrent use.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

const hookColumns = `tenant, id, uid, url, events, disabled, master, secret, previous_master, previous_secret, previous_until,
	create_time, update_time, updater`

// Get returns a webhook, or ErrNotFound.
func (s *SQLStore) Get(ctx context.Context, tenant, id string) (Hook, error) {
	h, err := scanHook(s.db.Reader().QueryRowContext(ctx, `SELECT `+hookColumns+` FROM edge_webhooks WHERE tenant = $1 AND id = $2`, tenant, id))
	if errors.Is(err, sql.ErrNoRows) {
		return h, ErrNotFound
	}
	if err != nil {
		return h, fmt.Errorf("webhook: read: %w", err)
	}
	return h, nil
}

// List returns a tenant's webhooks, by name.
func (s *SQLStore) List(ctx context.Context, tenant string) (out []Hook, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+hookColumns+` FROM edge_webhooks WHERE tenant = $1 ORDER BY id`, tenant)
	if err != nil {
		return nil, fmt.Errorf("webhook: list: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		h, err := scanHook(rows)
		if err != nil {
			return nil, fmt.Errorf("webhook: list: %w", err)
		}
		out = append(out, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("webhook: list: %w", err)
	}
	return out, nil
}

// Put makes a webhook, or replaces the one of its UID, which is then left alone no longer: nil where the tenant has room,
// ErrFull where it has none, ErrNotFound where another one has taken its name.
func (s *SQLStore) Put(ctx context.Context, h Hook) error {
	events, err := json.Marshal(append([]string{}, h.Events...))
	if err != nil {
		return fmt.Errorf("webhook: encode: %w", err)
	}
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var others, all int
		if err := tx.QueryRowContext(ctx, `SELECT COALESCE(SUM(CASE WHEN id = $1 AND uid <> $2 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN id = $1 THEN 0 ELSE 1 END), 0)
			FROM edge_webhooks WHERE tenant = $3`, h.ID, h.UID, h.Tenant).Scan(&others, &all); err != nil {
			return err
		}
		switch {
		case others > 0:
			return ErrNotFound
		case all >= MaxPerTenant:
			return ErrFull
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO edge_webhooks (`+hookColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
			ON CONFLICT (tenant, id) DO UPDATE SET url = excluded.url, events = excluded.events, disabled = excluded.disabled, master = excluded.master,
				secret = excluded.secret, previous_master = excluded.previous_master, previous_secret = excluded.previous_secret,
				previous_until = excluded.previous_until, update_time = excluded.update_time, updater = excluded.updater,
				wait_until = 0, failures = 0`,
			h.Tenant, h.ID, h.UID, h.URL, string(events), number(h.Disabled), h.Master, h.Secret,
			h.PreviousMaster, h.PreviousSecret, sqldb.Micros(h.PreviousUntil), sqldb.Micros(h.CreateTime), sqldb.Micros(h.UpdateTime), h.Updater)
		return err
	})
	return wrap("keep", err)
}

// Delete removes a webhook and its deliveries.
func (s *SQLStore) Delete(ctx context.Context, tenant, id string) error {
	return wrap("delete", s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var uid string
		err := tx.QueryRowContext(ctx, `DELETE FROM edge_webhooks WHERE tenant = $1 AND id = $2 RETURNING uid`, tenant, id).Scan(&uid)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM edge_webhook_deliveries WHERE webhook = $1`, uid)
		return err
	}))
}

func scanHook(row interface{ Scan(dest ...any) error }) (Hook, error) {
	var h Hook
	var events string
	var disabled int
	var until, created, updated int64
	if err := row.Scan(&h.Tenant, &h.ID, &h.UID, &h.URL, &events, &disabled, &h.Master, &h.Secret,
		&h.PreviousMaster, &h.PreviousSecret, &until, &created, &updated, &h.Updater); err != nil {
		return h, err
	}
	if err := json.Unmarshal([]byte(events), &h.Events); err != nil {
		return h, fmt.Errorf("the events of webhook %s: %w", h.UID, err)
	}
	h.PreviousUntil = sqldb.FromMicros(until)
	h.Disabled, h.CreateTime, h.UpdateTime = disabled != 0, sqldb.FromMicros(created), sqldb.FromMicros(updated)
	return h, nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// wrap adds what was done to an error that is not one of the store's own.
func wrap(what string, err error) error {
	for _, own := range []error{ErrNotFound, ErrNoEvent, ErrFull} {
		if errors.Is(err, own) {
			return own
		}
	}
	if err != nil {
		return fmt.Errorf("webhook: %s: %w", what, err)
	}
	return nil
}
