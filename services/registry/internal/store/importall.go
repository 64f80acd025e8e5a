package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/archive"
)

const promptImported kind = "prompt imported"

// importing is how things are imported.
type importing struct {
	actor    string
	conflict registryv1.ImportConflict
	dryRun   bool
	// whole says that the archive has all of a model, its experiments too.
	whole bool
	// prompts are what became of the archive's prompts.
	prompts map[string]registryv1.ImportOutcome
}

// Items hands on the things of an archive, from its beginning whenever it is called.
type Items func(each func(archive.Item) error) error

// ImportAll brings in everything of an archive as Import does models. The archive
// must have been checked: that it is whole, and its digests.
func (s *Store) ImportAll(
	ctx context.Context, actor string, items Items, conflict registryv1.ImportConflict, dryRun bool,
) (*registryv1.ImportArchiveResponse, error) {
	return s.importAll(ctx, importing{actor: actor, conflict: conflict, dryRun: dryRun, whole: true}, items)
}

func (s *Store) importAll(ctx context.Context, i importing, items Items) (*registryv1.ImportArchiveResponse, error) {
	var (
		out     *registryv1.ImportArchiveResponse
		commits []Commit
	)
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		commits = nil
		out = &registryv1.ImportArchiveResponse{
			Models: map[string]registryv1.ImportOutcome{}, Prompts: map[string]registryv1.ImportOutcome{}, Webhooks: map[string]registryv1.ImportOutcome{},
		}
		i.prompts = out.GetPrompts()
		webhooks := 0
		// Prompts come first, wherever they stand: arms name them.
		for _, prompts := range []bool{true, false} {
			err := items(func(item archive.Item) error {
				if (item.Prompt != nil) != prompts {
					return nil
				}
				made, err := s.importItem(ctx, tx, i, item, out)
				commits = append(commits, made...)
				return err
			})
			if err != nil {
				return err
			}
		}
		for _, outcome := range out.GetWebhooks() {
			if changes(outcome) {
				webhooks++
			}
		}
		if i.dryRun || len(commits)+webhooks == 0 {
			return errUnchanged
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return nil, failure(ctx, err, "import")
	}
	if err == nil {
		for _, c := range commits {
			s.opts.Committed(c)
		}
	}
	return out, nil
}

// importItem imports one thing, and returns the commits that it makes when it changes
// something that has revisions: a model, and each of its aliases that waits for an
// approval.
func (s *Store) importItem(ctx context.Context, tx *sql.Tx, i importing, item archive.Item, out *registryv1.ImportArchiveResponse) ([]Commit, error) {
	switch {
	case item.Webhook != nil:
		outcome, err := s.importWebhook(ctx, tx, item.Webhook, i.conflict)
		return nil, noted(out.GetWebhooks(), "webhook", item.Webhook.GetName(), outcome, err)
	case item.Prompt != nil:
		name := item.Prompt.GetPrompt().GetName()
		return s.importChange(ctx, tx, i, promptPrefix+name, promptImported, func(c *change) (registryv1.ImportOutcome, error) {
			outcome, err := s.importPrompt(ctx, c, item.Prompt, i.conflict)
			return outcome, noted(out.GetPrompts(), "prompt", name, outcome, err)
		})
	}
	name := item.Model.GetModel().GetName()
	var waiting []*registryv1.Alias
	commits, err := s.importChange(ctx, tx, i, name, modelImported, func(c *change) (registryv1.ImportOutcome, error) {
		outcome, aliases, err := s.importModel(ctx, c, item.Model, i)
		waiting = aliases
		return outcome, noted(out.GetModels(), "model", name, outcome, err)
	})
	for _, alias := range waiting {
		if err != nil {
			break
		}
		var asked []Commit
		asked, err = s.askImported(ctx, tx, i.actor, name, alias)
		commits = append(commits, asked...)
	}
	return commits, err
}

// noted keeps an outcome, and refuses a second thing of one name.
func noted(outcomes map[string]registryv1.ImportOutcome, what, name string, outcome registryv1.ImportOutcome, err error) error {
	if _, twice := outcomes[name]; twice && err == nil {
		err = apierr.Invalid("models", "the %s %q comes twice", what, name)
	}
	outcomes[name] = outcome
	return err
}

// changes reports whether an outcome is a change.
func changes(o registryv1.ImportOutcome) bool {
	return o == registryv1.ImportOutcome_IMPORT_OUTCOME_CREATED || o == registryv1.ImportOutcome_IMPORT_OUTCOME_REPLACED
}

// importChange runs fn as a change of its own in the import's transaction. What it
// leaves as it was takes no revision.
func (s *Store) importChange(
	ctx context.Context, tx *sql.Tx, i importing, name string, k kind, fn func(*change) (registryv1.ImportOutcome, error),
) ([]Commit, error) {
	// The row of the revision is locked first, as by every writer.
	c := &change{tx: tx, model: name, kind: k, actor: i.actor, now: s.opts.Clock.Now().UTC(), prompts: i.prompts}
	floor, err := c.next(ctx)
	if err != nil {
		return nil, err
	}
	outcome, err := fn(c)
	if err != nil {
		return nil, err
	}
	if !changes(outcome) {
		return nil, c.giveBack(ctx)
	}
	if err := s.record(ctx, c, floor); err != nil {
		return nil, err
	}
	return []Commit{{Kind: string(k), Model: name, Revision: c.revision, Actor: i.actor}}, nil
}

// after has the change take a revision after those of a history that it brings, so
// that what comes next comes after it.
func (c *change) after(ctx context.Context, aliases []*registryv1.AliasState, splits []*registryv1.SplitState) error {
	last := int64(0)
	for _, st := range aliases {
		last = max(last, st.GetRevision())
	}
	for _, st := range splits {
		last = max(last, st.GetRevision())
	}
	if last > maxImportedRevision {
		return apierr.Invalid("models", "%q: the revision %d is larger than any", c.model, last)
	}
	if last < c.revision {
		return nil
	}
	c.revision = last + 1
	return c.exec(ctx, `UPDATE registry_state SET revision = $1 WHERE id = 1`, c.revision)
}

// maxImportedRevision keeps an archive from using up the revisions.
const maxImportedRevision = 1 << 52

// importAliasHistory brings the history of aliases whose name has none here. Where
// there is one, what the alias names now is one more state of it.
func (c *change) importAliasHistory(ctx context.Context, owner string, aliases []*registryv1.Alias, states []*registryv1.AliasState) error {
	byAlias := map[string][]*registryv1.AliasState{}
	for _, st := range states {
		list := byAlias[st.GetAlias()]
		if n := len(list); !names.MatchString(st.GetAlias()) || st.GetRevision() < 1 || n > 0 && st.GetRevision() <= list[n-1].GetRevision() {
			return apierr.Invalid("models", "%q: a state of the alias %q is not in its place", owner, st.GetAlias())
		}
		byAlias[st.GetAlias()] = append(list, st)
	}
	present := map[string]*registryv1.Alias{}
	for _, a := range aliases {
		present[a.GetName()] = a
		if byAlias[a.GetName()] == nil {
			byAlias[a.GetName()] = []*registryv1.AliasState{}
		}
	}
	for name, list := range byAlias {
		if err := c.importStates(ctx, owner, name, present[name], list); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) importStates(ctx context.Context, owner, name string, now *registryv1.Alias, states []*registryv1.AliasState) error {
	last := &registryv1.AliasState{}
	here, err := collect(ctx, c.tx, scanAliasState, aliasStateQuery+`ORDER BY revision DESC LIMIT 1`, c.model, name)
	if err != nil {
		return fmt.Errorf("history of alias %s of %s: %w", name, owner, err)
	}
	if len(here) > 0 {
		last = here[0]
	} else {
		for _, st := range states {
			last = st
			err := c.exec(ctx, `INSERT INTO registry_alias_history
				(model, alias, revision, version, digest, actor, requested_by, reason, change_id, rollback_to, commit_time)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10)`,
				c.model, name, st.GetRevision(), st.GetVersion(), st.GetDigest(), st.GetActor(), st.GetRequestedBy(), st.GetReason(),
				st.GetRollbackTo(), micros(st.GetCreateTime().AsTime()))
			if err != nil {
				return err
			}
		}
	}
	if last.GetVersion() == now.GetVersion() && (now == nil || last.GetDigest() == now.GetDigest()) {
		return nil
	}
	return c.recordAlias(ctx, aliasMove{name: name, version: now.GetVersion(), digest: now.GetDigest(), reason: importReason})
}

// importSplitHistory is importAliasHistory for a model's split; now is nil when there
// is none.
func (c *change) importSplitHistory(ctx context.Context, now *registryv1.Split, states []*registryv1.SplitState) error {
	here, err := collect(ctx, c.tx, scanSplitState, splitStateQuery+`ORDER BY revision DESC LIMIT 1`, c.model)
	if err != nil {
		return fmt.Errorf("history of the split of %s: %w", c.model, err)
	}
	last := &registryv1.SplitState{}
	if len(here) > 0 {
		last = here[0]
	} else {
		for _, st := range states {
			if st.GetRevision() < 1 || st.GetRevision() <= last.GetRevision() {
				return apierr.Invalid("models", "%q: a state of the split is not in its place", c.model)
			}
			last = st
			past := *c
			past.revision, past.actor, past.now = st.GetRevision(), st.GetActor(), st.GetCreateTime().AsTime()
			err := past.recordSplit(ctx, &registryv1.Split{Arms: st.GetArms(), Salt: st.GetSalt()}, st.GetReason(), st.GetRollbackTo())
			if err != nil {
				return err
			}
		}
	}
	if len(now.GetArms()) == 0 && len(last.GetArms()) == 0 ||
		now.GetSalt() == last.GetSalt() && slices.EqualFunc(now.GetArms(), last.GetArms(), func(a, b *registryv1.Arm) bool { return proto.Equal(a, b) }) {
		return nil
	}
	return c.recordSplit(ctx, now, importReason, 0)
}
