package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The bounds on what is read at once for a watcher. One model may be larger
// than the bytes, but not than Options.MaxModelBytes and its aliases. The time keeps
// a database that is far away from being taken for one that does not answer.
const (
	maxBatchChanges = 256
	maxBatchBytes   = 1 << 20
	maxBatchTime    = time.Second
)

// outOfRange says that the changes after a revision cannot be given.
func outOfRange(from, floor, newest int64) error {
	return apierr.New(apierr.OutOfRange,
		"the changes after revision %d are not known: those after %d to %d are; begin again from 0", from, floor, newest).
		WithField("from_revision")
}

// otherHistory says that a revision is not what the caller takes it for.
func otherHistory(revision int64) error {
	return apierr.New(apierr.OutOfRange, "revision %d is that of another history: begin again from 0", revision).WithField("from_etag")
}

// Position is a place in the registry's history. Revisions alone do not tell: a
// database that is restored from a backup gives them anew.
type Position struct {
	Revision int64
	// Etag tells the revision from the same number in another history; "" is not
	// known, and fits any.
	Etag string
}

// Change is what happened to one model.
type Change struct {
	// Position is that of the model's last change.
	Position
	// Model is the model's name.
	Model string
	// State is the whole model after that change; nil when it was removed.
	State *registryv1.ModelState
}

// Batch is changes in the order of their revisions. It is not changed once
// returned, and may be shared.
type Batch struct {
	// From is the position after which the batch begins, To the one that who has
	// applied it has.
	From, To Position
	// Changes hold each model once: of several changes, the last.
	Changes []Change
	// Prompts are those that changed, each once.
	Prompts []*registryv1.PromptState
	// More says that To is not the newest position.
	More bool
	// Bytes is about how much memory the batch takes.
	Bytes int
}

// Revision returns the newest revision.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	revision, _, err := s.revision(ctx, s.db.Reader())
	return revision, failure(ctx, err, "revision")
}

func (s *Store) revision(ctx context.Context, q querier) (revision, floor int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT revision, floor FROM registry_state WHERE id = 1`).Scan(&revision, &floor)
	return revision, floor, err
}

// Position returns the newest one.
func (s *Store) Position(ctx context.Context) (Position, error) {
	var out Position
	err := s.snapshot(ctx, "position", func(ctx context.Context, q querier) (err error) {
		if out.Revision, _, err = s.revision(ctx, q); err != nil {
			return err
		}
		out, err = position(ctx, q, out.Revision)
		return err
	})
	return out, err
}

// position returns a revision with its etag, as far as its change is still kept.
func position(ctx context.Context, q querier, revision int64) (Position, error) {
	c, err := scanChange(q.QueryRowContext(ctx, `SELECT `+changeColumns+` FROM registry_changes c WHERE c.revision = $1`, revision))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Position{Revision: revision}, nil
	case err != nil:
		return Position{}, fmt.Errorf("change at %d: %w", revision, err)
	}
	return c.Position, nil
}

const changeColumns = `c.revision, c.model, c.kind, c.actor, c.commit_time`

// scanChange reads a change without the model's state. What is recorded of a change,
// to the microsecond, is the same in no two histories.
func scanChange(row scanner) (c Change, err error) {
	var (
		kind, actor string
		committed   int64
	)
	if err := row.Scan(&c.Revision, &c.Model, &kind, &actor, &committed); err != nil {
		return c, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s\x00%s\x00%d", c.Revision, c.Model, kind, actor, committed))
	c.Etag = hex.EncodeToString(sum[:etagBytes])
	return c, nil
}

// etagBytes is how much of the hash tells positions apart.
const etagBytes = 8

// Changes returns what changed after a position: the first part of it, when it is
// much. A revision after which changes are no longer kept, that was not given yet, or
// that is another history's is OUT_OF_RANGE. The state of each model is the one that
// it had at the revision given with it, because a batch holds only the last change of
// each model and is read from one snapshot.
func (s *Store) Changes(ctx context.Context, from Position) (*Batch, error) {
	var out *Batch
	err := s.snapshot(ctx, "changes", func(ctx context.Context, q querier) error {
		newest, floor, err := s.revision(ctx, q)
		if err != nil {
			return err
		}
		if from.Revision < floor || from.Revision > newest {
			return outOfRange(from.Revision, floor, newest)
		}
		there, err := position(ctx, q, from.Revision)
		if err != nil {
			return err
		}
		if from.Etag != "" && there.Etag != "" && from.Etag != there.Etag {
			return otherHistory(from.Revision)
		}
		out = &Batch{From: there, To: there}
		if from.Revision == newest {
			return nil
		}
		return s.fill(ctx, q, out, newest)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Store) fill(ctx context.Context, q querier, out *Batch, newest int64) error {
	began := s.opts.Clock.Now()
	last, err := collect(ctx, q, scanChange, `SELECT `+changeColumns+` FROM
		(SELECT max(revision) AS revision FROM registry_changes WHERE revision > $1
			GROUP BY model ORDER BY max(revision) LIMIT $2) l
		JOIN registry_changes c ON c.revision = l.revision ORDER BY c.revision`, out.From.Revision, maxBatchChanges)
	if err != nil {
		return fmt.Errorf("last changes: %w", err)
	}
	for _, c := range last {
		if name, ok := strings.CutPrefix(c.Model, promptPrefix); ok {
			states, err := s.promptStates(ctx, q, name, name)
			if err != nil {
				return err
			}
			out.Prompts = append(out.Prompts, states...)
			for _, st := range states {
				out.Bytes += proto.Size(st)
			}
			out.To = c.Position
			if out.Bytes >= maxBatchBytes || s.opts.Clock.Now().Sub(began) >= maxBatchTime {
				break
			}
			continue
		}
		states, err := s.states(ctx, q, c.Model, c.Model)
		if err != nil {
			return err
		}
		if len(states) > 0 {
			c.State = states[0]
			out.Bytes += proto.Size(c.State)
		}
		out.Changes = append(out.Changes, c)
		out.To = c.Position
		if out.Bytes >= maxBatchBytes || s.opts.Clock.Now().Sub(began) >= maxBatchTime {
			break
		}
	}
	out.More = out.To.Revision < newest
	return nil
}

// Page is some of the models, by name.
type Page struct {
	Models []*registryv1.ModelState
	// After is where the next page goes on.
	After string
	// Last says that there is no next page.
	Last bool
}

// Page returns the whole state of the models after the given name, as many as
// make a message. Pages are read one by one: a model that changes meanwhile is
// among the changes after the revision that was read before the first page.
func (s *Store) Page(ctx context.Context, after string) (*Page, error) {
	out := &Page{After: after}
	err := s.snapshot(ctx, "page of models", func(ctx context.Context, q querier) error {
		*out = Page{After: after}
		type entry struct {
			name  string
			bytes int64
		}
		list, err := collect(ctx, q, func(row scanner) (e entry, err error) {
			err = row.Scan(&e.name, &e.bytes)
			return e, err
		}, `SELECT name, version_bytes FROM registry_models WHERE name > $1 AND delete_time = 0 ORDER BY name LIMIT $2`, after, maxBatchChanges)
		if err != nil {
			return fmt.Errorf("names of models: %w", err)
		}
		out.Last = len(list) < maxBatchChanges
		// What a model takes besides its versions is small, but not nothing.
		const besides = 1 << 10
		var total int64
		for i, e := range list {
			total += e.bytes + besides
			if total > maxBatchBytes && i > 0 {
				out.Last = false
				break
			}
			out.After = e.name
		}
		if len(list) == 0 {
			return nil
		}
		out.Models, err = s.states(ctx, q, list[0].name, out.After)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
