package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

const modelImported kind = "model imported"

// Import brings in models as they were exported, in one transaction: all of them or
// none. Each that changes something gets a revision of its own. With dryRun nothing
// is changed. The digests must have been checked.
func (s *Store) Import(
	ctx context.Context, actor string, models []*registryv1.ArchivedModel, conflict registryv1.ImportConflict, dryRun bool,
) (map[string]registryv1.ImportOutcome, error) {
	var (
		outcomes map[string]registryv1.ImportOutcome
		commits  []Commit
	)
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		outcomes, commits = make(map[string]registryv1.ImportOutcome, len(models)), nil
		for _, m := range models {
			outcome, done, err := s.importModel(ctx, tx, actor, m, conflict)
			if err != nil {
				return err
			}
			outcomes[m.GetModel().GetName()] = outcome
			commits = append(commits, done...)
		}
		if dryRun || len(commits) == 0 {
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
	return outcomes, nil
}

func (s *Store) importModel(
	ctx context.Context, tx *sql.Tx, actor string, m *registryv1.ArchivedModel, conflict registryv1.ImportConflict,
) (registryv1.ImportOutcome, []Commit, error) {
	name := m.GetModel().GetName()
	if !names.MatchString(name) {
		return 0, nil, apierr.Invalid("models", "%q is not a model's name", name)
	}
	// The row of the revision is locked first, as by every writer.
	c := &change{tx: tx, model: name, kind: modelImported, actor: actor, now: s.opts.Clock.Now().UTC()}
	floor, err := c.next(ctx)
	if err != nil {
		return 0, nil, err
	}
	outcome, err := s.takePlace(ctx, c, m, conflict)
	if err != nil {
		return 0, nil, err
	}
	if outcome == registryv1.ImportOutcome_IMPORT_OUTCOME_UNCHANGED || outcome == registryv1.ImportOutcome_IMPORT_OUTCOME_SKIPPED {
		return outcome, nil, c.giveBack(ctx)
	}
	var protected []*registryv1.Alias
	putAliases := func(ctx context.Context, c *change, m *registryv1.ArchivedModel) (err error) {
		protected, err = s.putAliases(ctx, c, m)
		return err
	}
	for _, put := range []func(context.Context, *change, *registryv1.ArchivedModel) error{s.putModel, s.putVersions, putAliases, s.putSplitOf} {
		if err := put(ctx, c, m); err != nil {
			return 0, nil, err
		}
	}
	if err := s.carry(ctx, c); err != nil {
		return 0, nil, err
	}
	if err := s.record(ctx, c, floor); err != nil {
		return 0, nil, err
	}
	commits := []Commit{{Kind: string(c.kind), Model: name, Revision: c.revision, Actor: actor}}
	for _, alias := range protected {
		asked, err := s.askImported(ctx, tx, actor, name, alias)
		if err != nil {
			return 0, nil, err
		}
		commits = append(commits, asked...)
	}
	return outcome, commits, nil
}

// takePlace decides what becomes of a model, and removes the one that it replaces.
func (s *Store) takePlace(ctx context.Context, c *change, m *registryv1.ArchivedModel, conflict registryv1.ImportConflict) (registryv1.ImportOutcome, error) {
	var all, same int
	err := c.tx.QueryRowContext(ctx, `SELECT count(*), count(CASE WHEN name = $1 THEN 1 END) FROM registry_models`, c.model).Scan(&all, &same)
	switch {
	case err != nil:
		return 0, fmt.Errorf("count models: %w", err)
	case same == 0 && all >= s.opts.MaxModels:
		return 0, apierr.New(apierr.FailedPrecondition, "the registry holds %d models, as many as it may", all)
	case same == 0:
		return registryv1.ImportOutcome_IMPORT_OUTCOME_CREATED, nil
	}
	there, err := s.exportModel(ctx, c.tx, c.model)
	if err != nil {
		return 0, err
	}
	want, err := s.withoutWaiting(ctx, c, there, m)
	if err != nil {
		return 0, err
	}
	if proto.Equal(moved(there), want) {
		return registryv1.ImportOutcome_IMPORT_OUTCOME_UNCHANGED, nil
	}
	//exhaustive:ignore
	switch conflict {
	case registryv1.ImportConflict_IMPORT_CONFLICT_SKIP:
		return registryv1.ImportOutcome_IMPORT_OUTCOME_SKIPPED, nil
	case registryv1.ImportConflict_IMPORT_CONFLICT_REPLACE:
		if err := s.checkReplaceable(ctx, c, there); err != nil {
			return 0, err
		}
		for _, table := range []string{"registry_aliases WHERE model", "registry_splits WHERE model", "registry_models WHERE name"} {
			if err := c.exec(ctx, `DELETE FROM `+table+` = $1`, c.model); err != nil {
				return 0, err
			}
		}
		return registryv1.ImportOutcome_IMPORT_OUTCOME_REPLACED, nil
	default:
		return 0, apierr.New(apierr.AlreadyExists, "the model %q is there already, and is not the archive's: nothing was imported", c.model).
			WithField("models").WithMetadata("model", c.model)
	}
}

// checkReplaceable refuses to replace a model whose experiments or rollout are not
// over, and one with an alias that moves only when another approves.
func (s *Store) checkReplaceable(ctx context.Context, c *change, there *registryv1.ArchivedModel) error {
	needs, err := s.experimentsNeeding(ctx, c.tx, c.model, func(*registryv1.Experiment) bool { return true })
	if err != nil {
		return err
	}
	active, err := s.activeRollout(ctx, c.tx, c.model)
	if err != nil {
		return fmt.Errorf("rollout that is not over: %w", err)
	}
	if active != "" {
		needs = append(needs, `rollout "`+active+`"`)
	}
	own, err := s.protection(ctx, c.tx, c.model)
	if err != nil {
		return err
	}
	if len(own.GetProtected()) > 0 {
		needs = append(needs, "a list of protected aliases, which would go without an approval")
	}
	for _, a := range there.GetAliases() {
		protected, err := s.isProtected(ctx, c.tx, c.model, a.GetName())
		if err != nil {
			return err
		}
		if protected {
			needs = append(needs, `the protected alias "`+a.GetName()+`"`)
		}
	}
	if len(needs) > 0 {
		return apierr.New(apierr.FailedPrecondition, "the model %q cannot be replaced: it still has %s", c.model, strings.Join(needs, ", ")).
			WithField("models").WithMetadata("model", c.model)
	}
	return nil
}

// moved is what of a model an archive carries over, for comparing: etags and the
// times of changes are each registry's own.
func moved(m *registryv1.ArchivedModel) *registryv1.ArchivedModel {
	if m == nil {
		return nil
	}
	out := proto.CloneOf(m)
	out.Model.UpdateTime, out.Model.VersionCount = nil, 0
	for _, a := range out.GetAliases() {
		a.Etag, a.UpdateTime, a.Digest = "", nil, ""
	}
	if out.GetSplit() != nil {
		out.Split.Etag, out.Split.UpdateTime = "", nil
		for _, a := range out.GetSplit().GetArms() {
			a.Digest = ""
		}
	}
	return out
}

func (s *Store) putModel(ctx context.Context, c *change, a *registryv1.ArchivedModel) error {
	m := a.GetModel()
	labels, err := json.Marshal(m.GetLabels())
	if err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	last := a.GetLastVersion()
	for _, v := range a.GetVersions() {
		last = max(last, v.GetNumber())
	}
	if last > maxNumber {
		return apierr.Invalid("models", "the versions of %q have numbers up to %d, and may have some up to %d", c.model, last, maxNumber)
	}
	err = c.exec(ctx, `INSERT INTO registry_models
		(name, display_name, labels, version_count, version_bytes, create_time, update_time, task, owner, tenant, licence, card, last_version)
		VALUES ($1, $2, $3, 0, 0, $4, $5, $6, $7, $8, $9, $10, $11)`,
		c.model, m.GetDisplayName(), string(labels), micros(m.GetCreateTime().AsTime()), micros(c.now), int32(m.GetTask()), m.GetOwner(),
		m.GetTenant(), m.GetLicence(), m.GetCard(), last)
	if err != nil {
		return err
	}
	return c.indexModel(ctx, m)
}

func (s *Store) putVersions(ctx context.Context, c *change, a *registryv1.ArchivedModel) error {
	seen := make(map[string]bool, len(a.GetVersions()))
	for i, v := range a.GetVersions() {
		if v.GetNumber() < 1 || v.GetNumber() > maxNumber || i > 0 && v.GetNumber() <= a.GetVersions()[i-1].GetNumber() || seen[v.GetDigest()] || v.GetModel() != c.model {
			return apierr.Invalid("models", "version %d of %q is not in its place", v.GetNumber(), c.model)
		}
		if len(v.GetMetrics()) > maxMetrics || len(v.GetLabels()) > maxLabels || len(v.GetSignatures()) > maxSignatures {
			return apierr.Invalid("models", "version %d of %q has more labels, metrics or signatures than it may", v.GetNumber(), c.model)
		}
		seen[v.GetDigest()] = true
		spec, err := encode(v.GetSpec())
		if err != nil {
			return err
		}
		meta, err := encodeMeta(v)
		if err != nil {
			return err
		}
		bytes := bytesOf(v, spec)
		err = c.exec(ctx, `INSERT INTO registry_versions (model, number, digest, spec, description, create_time, meta, bytes)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			c.model, v.GetNumber(), v.GetDigest(), spec, v.GetDescription(), micros(v.GetCreateTime().AsTime()), meta, bytes)
		if err != nil {
			return err
		}
		if err := c.inRange(ctx, v.GetNumber(), 1, bytes); err != nil {
			return err
		}
		if err := c.indexVersion(ctx, v); err != nil {
			return err
		}
		if err := c.refer(ctx, v.GetSpec(), v.GetNumber(), ""); err != nil {
			return err
		}
		if err := s.putVariants(ctx, c, v); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) putVariants(ctx context.Context, c *change, version *registryv1.Version) error {
	if n := len(version.GetVariants()); n > MaxVariants {
		return apierr.Invalid("models", "version %d of %q has %d variants, more than %d", version.GetNumber(), c.model, n, MaxVariants)
	}
	seen := map[string]bool{version.GetDigest(): true}
	for _, v := range version.GetVariants() {
		if err := errors.Join(checkVariant(v), checkForm(version.GetSpec(), v.GetSpec())); err != nil {
			return err
		}
		if seen[v.GetDigest()] || seen[v.GetName()] || v.GetVersion() != version.GetNumber() || v.GetModel() != c.model {
			return apierr.Invalid("models", "variant %q of version %d of %q is not in its place", v.GetName(), version.GetNumber(), c.model)
		}
		seen[v.GetDigest()], seen[v.GetName()] = true, true
		spec, err := encode(v.GetSpec())
		if err != nil {
			return err
		}
		quality, err := encodeQuality(v.GetQuality())
		if err != nil {
			return err
		}
		signatures, err := encode(&registryv1.Variant{Signatures: v.GetSignatures()})
		if err != nil {
			return err
		}
		bytes := stateBytes(v)
		if err := c.resize(ctx, version.GetNumber(), bytes); err != nil {
			return err
		}
		err = c.exec(ctx, `INSERT INTO registry_variants (`+variantColumns+`, bytes, signatures) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			c.model, version.GetNumber(), v.GetName(), v.GetDigest(), spec, quality, v.GetDescription(),
			micros(v.GetCreateTime().AsTime()), bytes, signatures)
		if err == nil {
			err = c.refer(ctx, v.GetSpec(), version.GetNumber(), v.GetName())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putSplitOf puts the split, by the rules of SetSplit.
func (s *Store) putSplitOf(ctx context.Context, c *change, a *registryv1.ArchivedModel) error {
	sp := a.GetSplit()
	if sp == nil {
		return nil
	}
	if err := checkArms(sp.GetArms()); err != nil {
		return inField(err, "models")
	}
	if sp.GetSalt() == "" || len(sp.GetSalt()) > 64 || strings.ContainsRune(sp.GetSalt(), 0) {
		return apierr.Invalid("models", "the split of %q has no salt", c.model)
	}
	if err := s.putSplit(ctx, c, sp.GetSalt(), true); err != nil {
		return err
	}
	if err := s.putArms(ctx, c, sp.GetArms(), s.opts.May); err != nil {
		return inField(err, "models")
	}
	split, err := s.split(ctx, c.tx, c.model)
	if err != nil {
		return err
	}
	return c.recordSplit(ctx, split, importReason, 0)
}
