package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The states of deliveries, as they are stored.
const (
	waiting = registryv1.DeliveryState_DELIVERY_STATE_PENDING
	dead    = registryv1.DeliveryState_DELIVERY_STATE_DEAD
)

// event is the kind's name in events: `alias.set` for "alias set".
func (k kind) event() string { return strings.ReplaceAll(string(k), " ", ".") }

// enqueue notes a change for the webhooks that are told of it, in the change's own
// transaction.
func (s *Store) enqueue(ctx context.Context, c *change) error {
	type hook struct {
		name           string
		events, models []string
		pending        int64
	}
	hooks, err := collect(ctx, c.tx, func(row scanner) (h hook, err error) {
		var events, models string
		if err := row.Scan(&h.name, &events, &models, &h.pending); err != nil {
			return h, err
		}
		return h, errors.Join(json.Unmarshal([]byte(events), &h.events), json.Unmarshal([]byte(models), &h.models))
	}, `SELECT name, events, models, pending FROM registry_webhooks WHERE active = 1 ORDER BY name`)
	if err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	for _, h := range hooks {
		kinds := append([]kind{c.kind}, c.also...)
		at := slices.IndexFunc(kinds, func(k kind) bool { return among(h.events, k.event(), ".*") })
		if at < 0 || !among(h.models, c.model, "*") {
			continue
		}
		if h.pending >= s.opts.MaxPending {
			if err := c.exec(ctx, `UPDATE registry_webhooks SET missed = missed + 1 WHERE name = $1`, h.name); err != nil {
				return err
			}
			continue
		}
		err := c.exec(ctx, `INSERT INTO registry_deliveries (webhook, revision, model, kind, actor, commit_time, state,
			attempts, last_status, last_error, attempt_time, next_time) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, '', 0, $6)`,
			h.name, c.revision, c.model, string(kinds[at]), c.actor, micros(c.now), int(waiting))
		if err != nil {
			return err
		}
		if err := c.exec(ctx, `UPDATE registry_webhooks SET pending = pending + 1 WHERE name = $1`, h.name); err != nil {
			return err
		}
	}
	return nil
}

// among reports whether a list has the name, or one of which all that begin so are
// meant; no list has all names.
func among(list []string, name, wildcard string) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(entry string) bool {
		prefix, many := strings.CutSuffix(entry, wildcard)
		switch {
		case !many:
			return entry == name
		case wildcard == ".*":
			return strings.HasPrefix(name, prefix+".")
		default:
			return strings.HasPrefix(name, prefix)
		}
	})
}

// Message is what a webhook is sent next.
type Message struct {
	Webhook, URL, Secret string
	// ID is the same at every try.
	ID       string
	Revision int64
	Event    string
	Model    string
	Actor    string
	Time     time.Time
	// Attempts is how often it was tried.
	Attempts int
	// Due is when it may be tried.
	Due time.Time
	// generation is the webhook's when the message was read.
	generation int64
}

// deliveryID names a message to receivers.
func deliveryID(webhook string, revision int64) string {
	return "msg_" + webhook + "_" + strconv.FormatInt(revision, 10)
}

// NextMessages returns the first message that waits of every active webhook,
// secrets included.
func (s *Store) NextMessages(ctx context.Context) ([]Message, error) {
	out, err := collect(ctx, s.db.Reader(), func(row scanner) (m Message, err error) {
		var (
			k              kind
			committed, due int64
		)
		err = row.Scan(&m.Webhook, &m.URL, &m.Secret, &m.Revision, &k, &m.Model, &m.Actor, &committed, &m.Attempts, &due, &m.generation)
		m.ID, m.Event, m.Time, m.Due = deliveryID(m.Webhook, m.Revision), k.event(), moment(committed), moment(due)
		return m, err
	}, `SELECT w.name, w.url, w.secret, d.revision, d.kind, d.model, d.actor, d.commit_time, d.attempts, d.next_time, w.generation
		FROM registry_webhooks w JOIN registry_deliveries d ON d.webhook = w.name AND d.revision =
			(SELECT min(revision) FROM registry_deliveries WHERE webhook = w.name AND state = $1)
		WHERE w.active = 1 AND w.pending > 0 ORDER BY w.name`, int(waiting))
	return out, failure(ctx, err, "next messages")
}

// Outcome is what came of a try.
type Outcome struct {
	// State is what becomes of the message.
	State registryv1.DeliveryState
	// Status is what was answered, Error why it failed.
	Status int
	Error  string
	// Next is when it is tried again, for one that waits.
	Next time.Time
	// Gone says that the receiver wants no more messages: the webhook is switched off.
	Gone bool
}

// Tried notes a try of m by the holder of the lease; CONFLICT when somebody else
// holds it by now. A webhook or message that is gone by now is no error, and a
// failure on the address that a webhook had before it was changed counts for
// nothing.
func (s *Store) Tried(ctx context.Context, f Fence, m Message, o Outcome) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// The lease cannot be taken before this is committed.
		err := oneRow(f.Name)(tx.ExecContext(ctx, `UPDATE registry_leases SET token = token WHERE name = $1 AND token = $2`,
			f.Name, f.Token))
		if err != nil {
			return err
		}
		if err := lockWebhook(ctx, tx, m.Webhook); err != nil {
			return err
		}
		now := micros(s.opts.Clock.Now())
		next := int64(0)
		if o.State == waiting {
			next = micros(o.Next)
		}
		result, err := tx.ExecContext(ctx, `UPDATE registry_deliveries SET state = $1, attempts = attempts + 1, last_status = $2,
			last_error = $3, attempt_time = $4, next_time = $5 WHERE webhook = $6 AND revision = $7 AND state = $8
			AND ($1 = 2 OR EXISTS (SELECT 1 FROM registry_webhooks w WHERE w.name = $6 AND w.generation = $9))`,
			int(o.State), o.Status, o.Error, now, next, m.Webhook, m.Revision, int(waiting), m.generation)
		if err != nil {
			return fmt.Errorf("note try: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 || o.State == waiting {
			return err
		}
		if o.Gone {
			_, err = tx.ExecContext(ctx, `UPDATE registry_webhooks SET active = 0, generation = generation + 1,
				update_time = $1, pending = pending - 1 WHERE name = $2`, now, m.Webhook)
		} else {
			_, err = tx.ExecContext(ctx, `UPDATE registry_webhooks SET pending = pending - 1 WHERE name = $1`, m.Webhook)
		}
		if err != nil {
			return fmt.Errorf("count deliveries: %w", err)
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM registry_deliveries WHERE webhook = $1 AND state = $2 AND revision <=
			(SELECT revision FROM registry_deliveries WHERE webhook = $1 AND state = $2 ORDER BY revision DESC LIMIT 1 OFFSET $3)`,
			m.Webhook, int(o.State), s.opts.KeepDeliveries)
		return err
	})
	return failure(ctx, err, "note a try of %s", m.ID)
}

// ListDeliveries returns at most limit messages of a webhook in a state, or in any
// for 0, the newest first, those before the given revision; 0 begins at the newest.
func (s *Store) ListDeliveries(
	ctx context.Context, webhook string, state registryv1.DeliveryState, before int64, limit int,
) ([]*registryv1.Delivery, error) {
	var out []*registryv1.Delivery
	err := s.snapshot(ctx, "list deliveries", func(ctx context.Context, q querier) (err error) {
		if _, err := s.webhook(ctx, q, webhook); err != nil {
			return err
		}
		out, err = collect(ctx, q, func(row scanner) (*registryv1.Delivery, error) {
			var (
				d                     registryv1.Delivery
				k                     kind
				created, tried, again int64
			)
			err := row.Scan(&d.Revision, &k, &d.Model, &d.State, &d.Attempts, &d.LastStatus, &d.LastError, &created, &tried, &again)
			d.Id, d.Event, d.CreateTime = deliveryID(webhook, d.GetRevision()), k.event(), timestamp(created)
			if tried != 0 {
				d.AttemptTime = timestamp(tried)
			}
			if d.GetState() == waiting {
				d.NextAttemptTime = timestamp(again)
			}
			return &d, err
		}, `SELECT revision, kind, model, state, attempts, last_status, last_error, commit_time, attempt_time, next_time
			FROM registry_deliveries WHERE webhook = $1 AND ($2 = 0 OR state = $2) AND ($3 = 0 OR revision < $3)
			ORDER BY revision DESC LIMIT $4`, webhook, int(state), before, limit)
		return err
	})
	return out, err
}

// Redeliver has one message of a webhook sent again, or all that were given up for
// revision 0, and returns how many. One that waits to be tried again is tried at
// once, as soon as its turn comes.
func (s *Store) Redeliver(ctx context.Context, webhook string, revision int64) (int32, error) {
	var count int64
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := lockWebhook(ctx, tx, webhook); err != nil {
			return err
		}
		if _, err := s.webhook(ctx, tx, webhook); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `UPDATE registry_deliveries SET state = $1, attempts = 0, next_time = $2
			WHERE webhook = $3 AND ($4 = 0 AND state = $5 OR revision = $4 AND state <> $1)`,
			int(waiting), micros(s.opts.Clock.Now()), webhook, revision, int(dead))
		if err != nil {
			return fmt.Errorf("redeliver: %w", err)
		}
		if count, err = result.RowsAffected(); err != nil {
			return err
		}
		if revision != 0 && count == 0 {
			count, err = s.hasten(ctx, tx, webhook, revision)
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE registry_webhooks SET pending = pending + $1 WHERE name = $2`, count, webhook)
		return err
	})
	return int32(count), failure(ctx, err, "redeliver to %q", webhook)
}

// hasten has a message that waits tried now: whoever repaired its receiver need not
// wait out a pause that has become long.
func (s *Store) hasten(ctx context.Context, tx *sql.Tx, webhook string, revision int64) (int64, error) {
	result, err := tx.ExecContext(ctx, `UPDATE registry_deliveries SET attempts = 0, next_time = $1
		WHERE webhook = $2 AND revision = $3 AND state = $4`, micros(s.opts.Clock.Now()), webhook, revision, int(waiting))
	if err != nil {
		return 0, fmt.Errorf("hasten: %w", err)
	}
	count, err := result.RowsAffected()
	if err == nil && count == 0 {
		return 0, notFound("delivery", "the webhook %q has no message of revision %d", webhook, revision)
	}
	return count, err
}
