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
	// waited is until when the webhook had to be left alone, and failures how many
	// attempts in a row have failed, of whatever event.
	waited   int64
	failures int
	// taken is until when the delivery and its webhook are this edge's.
	taken int64
}

// due has the first delivery that is due of each webhook that need not be left alone, of
// each tenant those that are due the longest. Where nothing is due it looks at no webhook.
const due = `WITH first AS (
		SELECT w.uid, w.tenant, (SELECT p.event FROM edge_webhook_deliveries p
			WHERE p.webhook = w.uid AND p.state = 'pending' AND p.next_time <= $1 ORDER BY p.next_time, p.event LIMIT 1) AS event
		FROM edge_webhooks w WHERE w.disabled = 0 AND w.wait_until <= $1
			AND EXISTS (SELECT 1 FROM edge_webhook_deliveries WHERE state = 'pending' AND next_time <= $1)
	), ranked AS (
		SELECT d.webhook, d.event, d.attempts, d.next_time, ROW_NUMBER() OVER (PARTITION BY f.tenant ORDER BY d.next_time, d.event, d.webhook) AS turn
		FROM first f JOIN edge_webhook_deliveries d ON d.webhook = f.uid AND d.event = f.event
	)
	SELECT w.tenant, w.id, w.uid, w.url, w.master, w.secret, w.previous_master, w.previous_secret, w.previous_until,
		r.event, e.body, r.attempts, r.next_time, w.wait_until, w.failures
	FROM ranked r JOIN edge_webhooks w ON w.uid = r.webhook JOIN edge_webhook_events e ON e.id = r.event
	WHERE r.turn <= $2 ORDER BY r.turn, r.next_time, r.event, r.webhook LIMIT $3`

// Due returns deliveries that are due at a time: one of a webhook, some of a tenant, and
// most at all. All tenants' first ones come first, and of these what is due the longest.
func (s *SQLStore) Due(ctx context.Context, now time.Time, ofTenant, most int) (out []DueDelivery, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, due, sqldb.Micros(now), ofTenant, most)
	if err != nil {
		return nil, fmt.Errorf("webhook: look for what is due: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var d DueDelivery
		var until int64
		if err := rows.Scan(&d.hook.Tenant, &d.hook.ID, &d.hook.UID, &d.hook.URL, &d.hook.Master, &d.hook.Secret,
			&d.hook.PreviousMaster, &d.hook.PreviousSecret, &until, &d.event, &d.body, &d.attempts, &d.next, &d.waited, &d.failures); err != nil {
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

// errTaken rolls a transaction back in which another edge was first.
var errTaken = errors.New("another edge was first")

// take has a delivery and its webhook be this edge's until a time, and counts an attempt.
// It reports whether no other edge was first.
func (s *SQLStore) take(ctx context.Context, d *DueDelivery, until time.Time) (bool, error) {
	d.taken = sqldb.Micros(until)
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := changed(tx.ExecContext(ctx, `UPDATE edge_webhooks SET wait_until = $1 WHERE uid = $2 AND wait_until = $3 AND disabled = 0`,
			d.taken, d.hook.UID, d.waited)); err != nil {
			return err
		}
		return changed(tx.ExecContext(ctx, `UPDATE edge_webhook_deliveries SET attempts = attempts + 1, next_time = $1
			WHERE webhook = $2 AND event = $3 AND state = 'pending' AND attempts = $4 AND next_time = $5`,
			d.taken, d.hook.UID, d.event, d.attempts, d.next))
	})
	if errors.Is(err, errTaken) {
		return false, nil
	}
	return err == nil, wrap("take a delivery", err)
}

// changed returns errTaken unless a row was changed.
func changed(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n != 1 {
		err = errTaken
	}
	return err
}

// outcome is what came of an attempt.
type outcome struct {
	state string
	// next is when the delivery is tried again.
	next time.Time
	// wait is until when the webhook is left alone, after failures in a row.
	wait     time.Time
	failures int
	result   Result
}

// finish notes what came of the attempt that took d, unless somebody has gone on from
// there.
func (s *SQLStore) finish(ctx context.Context, d *DueDelivery, o outcome) error {
	return wrap("note an attempt", s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE edge_webhooks SET wait_until = $1, failures = $2 WHERE uid = $3 AND wait_until = $4`,
			sqldb.Micros(o.wait), o.failures, d.hook.UID, d.taken); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE edge_webhook_deliveries SET state = $1, next_time = $2, status = $3, problem = $4
			WHERE webhook = $5 AND event = $6 AND state = 'pending' AND attempts = $7`,
			o.state, sqldb.Micros(o.next), o.result.Status, o.result.Problem, d.hook.UID, d.event, d.attempts+1)
		return err
	}))
}
