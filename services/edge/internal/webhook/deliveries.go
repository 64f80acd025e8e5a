package webhook

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// Deliveries lists a webhook's, the newest first; of one state, or of all (empty).
func (s *SQLStore) Deliveries(ctx context.Context, uid, state string, most int) (out []Delivery, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT d.event, e.type, d.state, d.attempts, d.status, d.problem, d.create_time,
			CASE WHEN d.state = 'pending' AND w.wait_until > d.next_time THEN w.wait_until ELSE d.next_time END
		FROM edge_webhook_deliveries d JOIN edge_webhook_events e ON e.id = d.event JOIN edge_webhooks w ON w.uid = d.webhook
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

// Redeliver has an event be told again, from the first attempt, and at once: the webhook is
// left alone no longer.
func (s *SQLStore) Redeliver(ctx context.Context, uid, event string, now time.Time) error {
	return wrap("deliver again", s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE edge_webhooks SET wait_until = 0, failures = 0 WHERE uid = $1`, uid); err != nil {
			return err
		}
		err := changed(tx.ExecContext(ctx, `UPDATE edge_webhook_deliveries SET state = 'pending', attempts = 0, next_time = $1 WHERE webhook = $2 AND event = $3`,
			sqldb.Micros(now), uid, event))
		if errors.Is(err, errTaken) {
			err = ErrNoEvent
		}
		return err
	}))
}

// tooOld is the problem of a delivery that was never carried out in all its time.
const tooOld = "it waited for too long behind others"

// Prune forgets deliveries that ended, and events that no delivery is of, from before
// a time; events whose key is still to be known stay. What waits since before then ends.
func (s *SQLStore) Prune(ctx context.Context, before, now time.Time) error {
	return wrap("prune", s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM edge_webhook_deliveries WHERE create_time < $1 AND state <> 'pending'`, sqldb.Micros(before)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE edge_webhook_deliveries SET state = 'dead', problem = $1 WHERE create_time < $2 AND state = 'pending' AND next_time < $3`,
			tooOld, sqldb.Micros(before), sqldb.Micros(now)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM edge_webhook_events WHERE keep_until > 0 AND keep_until < $1
			AND NOT EXISTS (SELECT 1 FROM edge_webhook_deliveries d WHERE d.event = edge_webhook_events.id)`, sqldb.Micros(now))
		return err
	}))
}
