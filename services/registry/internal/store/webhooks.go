package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// MaxWebhooks is how many webhooks a registry may have: every change looks at all
// of them.
const MaxWebhooks = 64

const webhookColumns = `name, url, events, models, active, generation, create_time, update_time, pending, missed,
	(SELECT count(*) FROM registry_deliveries d WHERE d.webhook = registry_webhooks.name AND d.state = 3)`

func scanWebhook(row scanner) (*registryv1.Webhook, error) {
	var (
		w                         registryv1.Webhook
		events, models            string
		active                    int
		generation, created, last int64
	)
	err := row.Scan(&w.Name, &w.Url, &events, &models, &active, &generation, &created, &last, &w.Pending, &w.Missed, &w.Dead)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(json.Unmarshal([]byte(events), &w.Events), json.Unmarshal([]byte(models), &w.Models)); err != nil {
		return nil, fmt.Errorf("filters of the webhook %s: %w", w.GetName(), err)
	}
	w.Active = active != 0
	// The time of creation tells webhooks apart that had one name.
	w.Etag = "w" + strconv.FormatInt(created, 36) + "." + strconv.FormatInt(generation, 10)
	w.CreateTime, w.UpdateTime = timestamp(created), timestamp(last)
	return &w, nil
}

// filters writes what a webhook is told of.
func filters(w *registryv1.Webhook) (events, models string, err error) {
	e, err1 := json.Marshal(append([]string{}, w.GetEvents()...))
	m, err2 := json.Marshal(append([]string{}, w.GetModels()...))
	return string(e), string(m), errors.Join(err1, err2)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

func webhookNotFound(name string) error { return notFound("webhook", "there is no webhook %q", name) }

// CreateWebhook creates a webhook of w's name, URL, filters and activity. Webhooks
// are no part of what serves: they take no revision, and nobody watches them.
func (s *Store) CreateWebhook(ctx context.Context, w *registryv1.Webhook, secret string) (*registryv1.Webhook, error) {
	events, models, err := filters(w)
	if err != nil {
		return nil, fmt.Errorf("filters: %w", err)
	}
	var out *registryv1.Webhook
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var count, same int
		err := tx.QueryRowContext(ctx,
			`SELECT count(*), count(CASE WHEN name = $1 THEN 1 END) FROM registry_webhooks`, w.GetName()).Scan(&count, &same)
		switch {
		case err != nil:
			return fmt.Errorf("count webhooks: %w", err)
		case same > 0:
			return apierr.New(apierr.AlreadyExists, "the webhook %q is there already", w.GetName()).WithField("name")
		case count >= MaxWebhooks:
			return apierr.New(apierr.FailedPrecondition, "the registry has %d webhooks, as many as it may", count)
		}
		now := micros(s.opts.Clock.Now())
		_, err = tx.ExecContext(ctx, `INSERT INTO registry_webhooks
			(name, url, secret, events, models, active, generation, pending, missed, create_time, update_time)
			VALUES ($1, $2, $3, $4, $5, $6, 1, 0, 0, $7, $7)`,
			w.GetName(), w.GetUrl(), secret, events, models, flag(w.GetActive()), now)
		if err != nil {
			return fmt.Errorf("insert webhook: %w", err)
		}
		out, err = s.webhook(ctx, tx, w.GetName())
		return err
	})
	return out, failure(ctx, err, "create the webhook %q", w.GetName())
}

// GetWebhook returns a webhook.
func (s *Store) GetWebhook(ctx context.Context, name string) (*registryv1.Webhook, error) {
	w, err := s.webhook(ctx, s.db.Reader(), name)
	return w, failure(ctx, err, "get the webhook %q", name)
}

func (s *Store) webhook(ctx context.Context, q querier, name string) (*registryv1.Webhook, error) {
	if !names.MatchString(name) {
		return nil, webhookNotFound(name)
	}
	w, err := scanWebhook(q.QueryRowContext(ctx, `SELECT `+webhookColumns+` FROM registry_webhooks WHERE name = $1`, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, webhookNotFound(name)
	}
	return w, err
}

// ListWebhooks returns at most limit webhooks by name, those after the given one.
func (s *Store) ListWebhooks(ctx context.Context, after string, limit int) ([]*registryv1.Webhook, error) {
	out, err := collect(ctx, s.db.Reader(), scanWebhook,
		`SELECT `+webhookColumns+` FROM registry_webhooks WHERE name > $1 ORDER BY name LIMIT $2`, after, limit)
	return out, failure(ctx, err, "list webhooks")
}

// UpdateWebhook replaces the webhook of w's name that has the given etag, or
// AnyEtag. An empty secret keeps the one that is there. What waits is tried at
// once.
func (s *Store) UpdateWebhook(ctx context.Context, w *registryv1.Webhook, secret, etag string) (*registryv1.Webhook, error) {
	events, models, err := filters(w)
	if err != nil {
		return nil, fmt.Errorf("filters: %w", err)
	}
	var out *registryv1.Webhook
	err = s.onWebhook(ctx, w.GetName(), etag, func(ctx context.Context, tx *sql.Tx) error {
		var has string
		if err := tx.QueryRowContext(ctx, `SELECT secret FROM registry_webhooks WHERE name = $1`, w.GetName()).Scan(&has); err != nil {
			return fmt.Errorf("its secret: %w", err)
		}
		if w.GetActive() && has == "" && secret == "" {
			return apierr.New(apierr.FailedPrecondition, "the webhook %q was imported, and an archive has no secrets: give it one to have it send", w.GetName()).
				WithField("secret")
		}
		now := micros(s.opts.Clock.Now())
		_, err := tx.ExecContext(ctx, `UPDATE registry_webhooks SET url = $1, events = $2, models = $3, active = $4,
			secret = CASE WHEN $5 = '' THEN secret ELSE $5 END, generation = generation + 1, update_time = $6 WHERE name = $7`,
			w.GetUrl(), events, models, flag(w.GetActive()), secret, now, w.GetName())
		if err != nil {
			return fmt.Errorf("update webhook: %w", err)
		}
		_, err = tx.ExecContext(ctx, `UPDATE registry_deliveries SET next_time = $1 WHERE webhook = $2 AND state = $3`,
			now, w.GetName(), int(waiting))
		if err != nil {
			return fmt.Errorf("hasten deliveries: %w", err)
		}
		out, err = s.webhook(ctx, tx, w.GetName())
		return err
	})
	return out, failure(ctx, err, "update the webhook %q", w.GetName())
}

// DeleteWebhook removes the webhook that has the given etag, or AnyEtag, with its
// deliveries.
func (s *Store) DeleteWebhook(ctx context.Context, name, etag string) error {
	err := s.onWebhook(ctx, name, etag, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM registry_webhooks WHERE name = $1`, name)
		return err
	})
	return failure(ctx, err, "delete the webhook %q", name)
}

// onWebhook runs fn in a transaction when the webhook has the etag.
func (s *Store) onWebhook(ctx context.Context, name, etag string, fn func(context.Context, *sql.Tx) error) error {
	return s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := lockWebhook(ctx, tx, name); err != nil {
			return err
		}
		there, err := s.webhook(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := compareEtag(fmt.Sprintf("the webhook %q", name), etag, there.GetEtag()); err != nil {
			return err
		}
		return fn(ctx, tx)
	})
}

// lockWebhook begins whatever changes a webhook or what it is sent: two that have
// read one etag come one after the other, and none waits for another in a circle.
func lockWebhook(ctx context.Context, tx *sql.Tx, name string) error {
	if _, err := tx.ExecContext(ctx, `UPDATE registry_webhooks SET pending = pending WHERE name = $1`, name); err != nil {
		return fmt.Errorf("lock webhook: %w", err)
	}
	return nil
}

// ListChanges returns at most limit rows of the record of changes, the newest
// first, those before the given revision; 0 begins at the newest. model "" is all
// of them.
func (s *Store) ListChanges(ctx context.Context, model string, before int64, limit int) ([]*registryv1.Change, error) {
	if model != "" && !names.MatchString(model) {
		return nil, modelNotFound(model)
	}
	out, err := collect(ctx, s.db.Reader(), func(row scanner) (*registryv1.Change, error) {
		var (
			c         registryv1.Change
			k         kind
			committed int64
		)
		err := row.Scan(&c.Revision, &c.Model, &k, &c.Actor, &committed)
		c.Event, c.CommitTime = k.event(), timestamp(committed)
		return &c, err
	}, `SELECT revision, model, kind, actor, commit_time FROM registry_changes
		WHERE ($1 = '' OR model = $1) AND ($2 = 0 OR revision < $2) ORDER BY revision DESC LIMIT $3`, model, before, limit)
	return out, failure(ctx, err, "list changes")
}

// moment reads a stored time; the zero time for 0.
func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}
