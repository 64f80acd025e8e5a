package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/sqldb"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// querier is what reading needs of a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// kind says what a change did, for people who read the table of changes.
type kind string

const (
	modelCreated    kind = "model created"
	modelUpdated    kind = "model updated"
	modelDeleted    kind = "model deleted"
	modelRestored   kind = "model restored"
	modelPurged     kind = "model purged"
	versionCreated  kind = "version created"
	versionUpdated  kind = "version updated"
	versionSigned   kind = "version signed"
	versionDeleted  kind = "version deleted"
	versionRestored kind = "version restored"
	versionPurged   kind = "version purged"
	variantCreated  kind = "variant created"
	variantMeasured kind = "variant measured"
	variantDeleted  kind = "variant deleted"
	aliasSet        kind = "alias set"
	aliasDeleted    kind = "alias deleted"
	splitSet        kind = "split set"
	splitDeleted    kind = "split deleted"

	experimentCreated   kind = "experiment created"
	experimentUpdated   kind = "experiment updated"
	experimentDeleted   kind = "experiment deleted"
	experimentStarted   kind = "experiment started"
	experimentRamped    kind = "experiment ramped"
	experimentStopped   kind = "experiment stopped"
	experimentConcluded kind = "experiment concluded"
	aliasChangeAsked    kind = "alias change asked for"
	aliasChangeApproved kind = "alias change approved"
	aliasChangeRejected kind = "alias change rejected"
	aliasProtectionSet  kind = "alias protection set"
	aliasRolledBack     kind = "alias rolled back"
	splitRolledBack     kind = "split rolled back"

	rolloutCreated    kind = "rollout created"
	rolloutStarted    kind = "rollout started"
	rolloutAdvanced   kind = "rollout advanced"
	rolloutPaused     kind = "rollout paused"
	rolloutResumed    kind = "rollout resumed"
	rolloutForced     kind = "rollout forced"
	rolloutSucceeded  kind = "rollout succeeded"
	rolloutRolledBack kind = "rollout rolled back"
	rolloutAborted    kind = "rollout aborted"
	rolloutFailed     kind = "rollout failed"
	rolloutApproved   kind = "rollout approved"
)

// change is one transaction that is about to get a revision.
type change struct {
	tx       *sql.Tx
	model    string
	kind     kind   // what is recorded; the transaction may find that it does something else
	also     []kind // what it does besides, for webhooks that ask for no more than that
	actor    string
	revision int64
	now      time.Time
	// prompts are what became of the prompts of the archive that the change imports.
	prompts map[string]registryv1.ImportOutcome
}

// errUnchanged makes a transaction roll back that found nothing to do, so that
// it uses up no revision.
var errUnchanged = errors.New("nothing to change")

// change runs fn in a transaction and commits it with the next revision, unless
// fn fails or returns errUnchanged. fn may be called more than once. The first
// statement locks the row of the revision until the commit: changes happen one
// after the other, whoever makes them, and their revisions become visible in
// order.
func (s *Store) change(ctx context.Context, actor, model string, k kind, fn func(ctx context.Context, c *change) error) error {
	var c *change
	actor = strings.ToValidUTF8(strings.ReplaceAll(actor, "\x00", ""), "")
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		c = &change{tx: tx, model: model, kind: k, actor: actor, now: s.opts.Clock.Now().UTC()}
		floor, err := c.next(ctx)
		if err != nil {
			return err
		}
		if err := fn(ctx, c); err != nil {
			return err
		}
		if err := s.carry(ctx, c); err != nil {
			return err
		}
		return s.record(ctx, c, floor)
	})
	switch {
	case errors.Is(err, errUnchanged):
		return nil
	case err != nil:
		return failure(ctx, err, "%s %q", k, model)
	}
	s.opts.Committed(Commit{Kind: string(c.kind), Model: model, Revision: c.revision, Actor: actor})
	return nil
}

// lockChanges keeps everything that has revisions from changing until tx ends: every
// change begins with this row.
func lockChanges(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `UPDATE registry_state SET revision = revision WHERE id = 1`); err != nil {
		return fmt.Errorf("take turns: %w", err)
	}
	return nil
}

// record notes the change, forgets the oldest one, and wakes the other
// replicas once the transaction commits. The change of the floor itself is kept, by
// which who resumes from it is told from somebody of another history.
func (s *Store) record(ctx context.Context, c *change, floor int64) error {
	err := c.exec(ctx, `INSERT INTO registry_changes (revision, model, kind, actor, commit_time) VALUES ($1, $2, $3, $4, $5)`,
		c.revision, c.model, string(c.kind), c.actor, micros(c.now))
	if err != nil {
		return err
	}
	if err := s.enqueue(ctx, c); err != nil {
		return err
	}
	if oldest := c.revision - s.opts.KeepChanges; oldest > floor {
		if err := c.exec(ctx, `DELETE FROM registry_changes WHERE revision < $1`, oldest); err != nil {
			return err
		}
		if err := c.exec(ctx, `UPDATE registry_state SET floor = $1 WHERE id = 1`, oldest); err != nil {
			return err
		}
	}
	if s.db.Dialect == sqldb.Postgres {
		return c.exec(ctx, `SELECT pg_notify($1, '')`, notifyChannel)
	}
	return nil
}

// next takes the next revision, whose row is locked until the commit, and returns
// the oldest change that is kept.
func (c *change) next(ctx context.Context) (floor int64, err error) {
	err = c.tx.QueryRowContext(ctx, `UPDATE registry_state SET revision = revision + 1 WHERE id = 1 RETURNING revision, floor`).
		Scan(&c.revision, &floor)
	if err != nil {
		return 0, fmt.Errorf("next revision: %w", err)
	}
	return floor, nil
}

func (c *change) exec(ctx context.Context, query string, args ...any) error {
	if _, err := c.tx.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("%s: %w", firstWords(query), err)
	}
	return nil
}

// firstWords names a statement in an error without its values.
func firstWords(query string) string {
	words := strings.Fields(query)
	return strings.Join(words[:min(len(words), 3)], " ")
}

// snapshot runs fn in a read-only transaction that sees one state of the store.
func (s *Store) snapshot(ctx context.Context, what string, fn func(ctx context.Context, q querier) error) error {
	err := s.db.InSnapshot(ctx, func(ctx context.Context, tx *sql.Tx) error { return fn(ctx, tx) })
	return failure(ctx, err, "%s", what)
}

// failure keeps what the caller is to see and what says that the caller left,
// and makes the rest UNAVAILABLE: a database that fails is a reason to try
// again or elsewhere.
func failure(ctx context.Context, err error, format string, args ...any) error {
	var known *apierr.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil: // drivers report it in words of their own
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ctx.Err())
	default:
		return apierr.Wrap(apierr.Unavailable, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err),
			"the registry's store does not answer; try again")
	}
}
