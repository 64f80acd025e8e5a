package store

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The bounds on what is read at once for a watcher. One model may be larger
// than the bytes, but not than Options.MaxModelBytes and its aliases.
const (
	maxBatchChanges = 256
	maxBatchBytes   = 1 << 20
)

// outOfRange says that the changes after a revision cannot be given.
func outOfRange(from, floor, newest int64) error {
	return apierr.New(apierr.OutOfRange,
		"the changes after revision %d are not known: those after %d to %d are; begin again from 0", from, floor, newest).
		WithField("from_revision")
}

// Change is what happened to one model.
type Change struct {
	// Revision is that of the model's last change.
	Revision int64
	// Model is the model's name.
	Model string
	// State is the whole model after that change; nil when it was removed.
	State *registryv1.ModelState
}

// Batch is changes in the order of their revisions. It is not changed once
// returned, and may be shared.
type Batch struct {
	// From is the revision after which the batch begins, To the one that who has
	// applied it has.
	From, To int64
	// Changes hold each model once: of several changes, the last.
	Changes []Change
	// Prompts are those that changed, each once.
	Prompts []*registryv1.PromptState
	// More says that To is not the newest revision.
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

// Changes returns what changed after the revision from: the first part of it,
// when it is much. A revision after which changes are no longer kept, or that
// was not given yet, is OUT_OF_RANGE. The state of each model is the one that it had at the
// revision given with it, because a batch holds only the last change of each
// model and is read from one snapshot.
func (s *Store) Changes(ctx context.Context, from int64) (*Batch, error) {
	out := &Batch{From: from, To: from}
	err := s.snapshot(ctx, "changes", func(ctx context.Context, q querier) error {
		newest, floor, err := s.revision(ctx, q)
		if err != nil {
			return err
		}
		if from < floor || from > newest {
			return outOfRange(from, floor, newest)
		}
		if from == newest {
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
	last, err := collect(ctx, q, func(row scanner) (c Change, err error) {
		err = row.Scan(&c.Model, &c.Revision)
		return c, err
	}, `SELECT model, max(revision) FROM registry_changes WHERE revision > $1
		GROUP BY model ORDER BY max(revision) LIMIT $2`, out.From, maxBatchChanges)
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
			out.To = c.Revision
			if out.Bytes >= maxBatchBytes {
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
		out.To = c.Revision
		if out.Bytes >= maxBatchBytes {
			break
		}
	}
	out.More = out.To < newest
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
