package webhook

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// note keeps an event, with a delivery for each webhook that wants it, unless there is
// one of its key.
func note(ctx context.Context, tx *sql.Tx, e Event) error {
	made, err := tx.ExecContext(ctx, `INSERT INTO edge_webhook_events (id, event_key, tenant, type, body, create_time, keep_until)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (event_key) DO NOTHING`,
		e.ID, e.Key, e.Tenant, e.Type, e.Body, sqldb.Micros(e.Time), sqldb.Micros(e.KeepUntil))
	if err != nil {
		return err
	}
	if n, err := made.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO edge_webhook_deliveries (webhook, event, state, attempts, next_time, status, problem, create_time)
		SELECT uid, $1, 'pending', 0, $2, 0, '', $2 FROM edge_webhooks
		WHERE tenant = $3 AND disabled = 0 AND create_time <= $2 AND (events = '[]' OR events LIKE $4)`,
		e.ID, sqldb.Micros(e.Time), e.Tenant, `%"`+e.Type+`"%`)
	return err
}

// DueDelivery is one that is to be carried out.
type DueDelivery struct {
	hook     Hook
	event    string
	body     string
	attempts int
	next     int64
}

// Due returns deliveries that are due at a time, the longest due first.
func (s *SQLStore) Due(ctx context.Context, now time.Time, most int) (out []DueDelivery, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT w.tenant, w.id, w.uid, w.url, w.master, w.secret, w.previous_master, w.previous_secret, w.previous_until,
			d.event, e.body, d.attempts, d.next_time
		FROM edge_webhook_deliveries d JOIN edge_webhooks w ON w.uid = d.webhook JOIN edge_webhook_events e ON e.id = d.event
		WHERE d.state = 'pending' AND d.next_time <= $1 AND w.disabled = 0 ORDER BY d.next_time, d.event LIMIT $2`, sqldb.Micros(now), most)
	if err != nil {
		return nil, fmt.Errorf("webhook: look for what is due: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var d DueDelivery
		var until int64
		if err := rows.Scan(&d.hook.Tenant, &d.hook.ID, &d.hook.UID, &d.hook.URL, &d.hook.Master, &d.hook.Secret,
			&d.hook.PreviousMaster, &d.hook.PreviousSecret, &until, &d.event, &d.body, &d.attempts, &d.next); err != nil {
			return nil, fmt.Errorf("webhook: look for what is due: %w", err)
		}
		d.hook.PreviousUntil = sqldb.FromMicros(until)
		out = append(out, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("webhook: look for what is due: %w", err)
	}
	return out, nil
}

// take has a delivery be this edge's until a time, and counts an attempt. It reports
// whether no other edge was first.
func (s *SQLStore) take(ctx context.Context, d DueDelivery, until time.Time) (bool, error) {
	r, err := s.db.ExecContext(ctx, `UPDATE edge_webhook_deliveries SET attempts = attempts + 1, next_time = $1
		WHERE webhook = $2 AND event = $3 AND state = 'pending' AND attempts = $4 AND next_time = $5`,
		sqldb.Micros(until), d.hook.UID, d.event, d.attempts, d.next)
	if err != nil {
		return false, fmt.Errorf("webhook: take a delivery: %w", err)
	}
	n, err := r.RowsAffected()
	return n == 1, err
}

// finish notes what came of the attempt after those of d, unless somebody has gone on
// from there.
func (s *SQLStore) finish(ctx context.Context, d DueDelivery, state string, next time.Time, r Result) error {
	_, err := s.db.ExecContext(ctx, `UPDATE edge_webhook_deliveries SET state = $1, next_time = $2, status = $3, problem = $4
		WHERE webhook = $5 AND event = $6 AND state = 'pending' AND attempts = $7`,
		state, sqldb.Micros(next), r.Status, r.Problem, d.hook.UID, d.event, d.attempts+1)
	return wrap("note an attempt", err)
}

// Deliveries lists a webhook's, the newest first; of one state, or of all (empty).
func (s *SQLStore) Deliveries(ctx context.Context, uid, state string, most int) (out []Delivery, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT d.event, e.type, d.state, d.attempts, d.status, d.problem, d.create_time, d.next_time
		FROM edge_webhook_deliveries d JOIN edge_webhook_events e ON e.id = d.event
		WHERE d.webhook = $1 AND ($2 = '' OR d.state = $2) ORDER BY d.create_time DESC, d.event LIMIT $3`, uid, state, most)
	if err != nil {
		return nil, fmt.Errorf("webhook: list deliveries: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var d Delivery
		var created, next int64
		if err := rows.Scan(&d.Event, &d.Type, &d.State, &d.Attempts, &d.Status, &d.Problem, &created, &next); err != nil {
			return nil, fmt.Errorf("webhook: list deliveries: %w", err)
		}
		d.CreateTime, d.NextTime = sqldb.FromMicros(created), sqldb.FromMicros(next)
		out = append(out, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("webhook: list deliveries: %w", err)
	}
	return out, nil
}

// Redeliver has an event be told again, from the first attempt.
func (s *SQLStore) Redeliver(ctx context.Context, uid, event string, now time.Time) error {
	r, err := s.db.ExecContext(ctx, `UPDATE edge_webhook_deliveries SET state = 'pending', attempts = 0, next_time = $1 WHERE webhook = $2 AND event = $3`,
		sqldb.Micros(now), uid, event)
	if err != nil {
		return fmt.Errorf("webhook: deliver again: %w", err)
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		err = ErrNoEvent
	}
	return wrap("deliver again", err)
}

// Prune forgets deliveries that ended, and events that no delivery is of, from before
// a time; events whose key is still to be known stay.
func (s *SQLStore) Prune(ctx context.Context, before, now time.Time) error {
	return wrap("prune", s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM edge_webhook_deliveries WHERE create_time < $1 AND state <> 'pending'`, sqldb.Micros(before)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM edge_webhook_events WHERE keep_until > 0 AND keep_until < $1
			AND NOT EXISTS (SELECT 1 FROM edge_webhook_deliveries d WHERE d.event = edge_webhook_events.id)`, sqldb.Micros(now))
		return err
	}))
}
