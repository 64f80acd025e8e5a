package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/archive"
)

const modelImported kind = "model imported"

// Import brings in models as they were exported, in one transaction: all of them or
// none. Each that changes something gets a revision of its own. With dryRun nothing
// is changed. The digests must have been checked.
func (s *Store) Import(
	ctx context.Context, actor string, models []*registryv1.ArchivedModel, conflict registryv1.ImportConflict, dryRun bool,
) (map[string]registryv1.ImportOutcome, error) {
	outcomes, err := s.importAll(ctx, importing{actor: actor, conflict: conflict, dryRun: dryRun}, func(each func(archive.Item) error) error {
		for _, m := range models {
			if err := each(archive.Item{Model: m}); err != nil {
				return err
			}
		}
		return nil
	})
	return outcomes.GetModels(), err
}

// importModel imports a model, and returns its aliases that wait for an approval.
func (s *Store) importModel(
	ctx context.Context, c *change, m *registryv1.ArchivedModel, i importing,
) (outcome registryv1.ImportOutcome, waiting []*registryv1.Alias, err error) {
	if outcome, err = s.takePlace(ctx, c, m, i); err != nil || !changes(outcome) {
		return outcome, nil, err
	}
	if err := c.after(ctx, m.GetAliasHistory(), m.GetSplitHistory()); err != nil {
		return 0, nil, err
	}
	putPointers := func(ctx context.Context, c *change, m *registryv1.ArchivedModel) (err error) {
		waiting, err = s.putPointers(ctx, c, m)
		return err
	}
	for _, put := range []func(context.Context, *change, *registryv1.ArchivedModel) error{
		s.putModel, s.putVersions, putPointers, s.putExperiments, s.putRollouts,
	} {
		if err := put(ctx, c, m); err != nil {
			return 0, nil, err
		}
	}
	if len(m.GetProtected()) > 0 {
		if _, err := s.putProtection(ctx, c, m.GetProtected()); err != nil {
			return 0, nil, err
		}
	}
	if err := s.checkArmPromptsFit(ctx, c); err != nil {
		return 0, nil, err
	}
	return outcome, waiting, s.carry(ctx, c)
}

// takePlace decides what becomes of a model, and removes the one that it replaces.
func (s *Store) takePlace(ctx context.Context, c *change, m *registryv1.ArchivedModel, i importing) (registryv1.ImportOutcome, error) {
	if !names.MatchString(c.model) {
		return 0, apierr.Invalid("models", "%q is not a model's name", c.model)
	}
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
	there, err := s.exportModel(ctx, c.tx, c.model, i.whole)
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
	switch i.conflict {
	case registryv1.ImportConflict_IMPORT_CONFLICT_SKIP:
		return registryv1.ImportOutcome_IMPORT_OUTCOME_SKIPPED, nil
	case registryv1.ImportConflict_IMPORT_CONFLICT_REPLACE:
		if err := s.checkReplaceable(ctx, c, there); err != nil {
			return 0, err
		}
		for _, a := range there.GetAliases() {
			stays := slices.ContainsFunc(m.GetAliases(), func(b *registryv1.Alias) bool { return b.GetName() == a.GetName() })
			if stays {
				continue
			}
			if err := c.recordAlias(ctx, aliasMove{name: a.GetName(), reason: importReason}); err != nil {
				return 0, err
			}
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
	carried(out)
	for _, a := range out.GetAliases() {
		a.Digest = ""
	}
	for _, a := range out.GetSplit().GetArms() {
		a.Digest = ""
	}
	// What was is only added to: it says nothing of what is.
	out.AliasHistory, out.SplitHistory = nil, nil
	for i, r := range out.GetRollouts() {
		out.Rollouts[i] = arrived(r)
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

// putPointers puts aliases and the split, by the rules of SetAlias and SetSplit, and
// returns the aliases that wait for an approval.
func (s *Store) putPointers(ctx context.Context, c *change, a *registryv1.ArchivedModel) ([]*registryv1.Alias, error) {
	put, waiting, err := s.putAliases(ctx, c, a)
	if err != nil {
		return nil, err
	}
	if err := c.importAliasHistory(ctx, c.model, put, a.GetAliasHistory()); err != nil {
		return nil, err
	}
	return waiting, s.putSplitOf(ctx, c, a)
}

// putSplitOf puts the split, by the rules of SetSplit.
func (s *Store) putSplitOf(ctx context.Context, c *change, a *registryv1.ArchivedModel) error {
	sp := a.GetSplit()
	if sp == nil {
		return c.importSplitHistory(ctx, nil, a.GetSplitHistory())
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
	for _, a := range sp.GetArms() {
		if _, err := s.promptArrived(ctx, c, armsOf(c.model, ""), a.GetPrompt()); err != nil {
			return err
		}
	}
	if err := s.putArms(ctx, c, sp.GetArms(), s.opts.May); err != nil {
		return inField(err, "models")
	}
	split, err := s.split(ctx, c.tx, c.model)
	if err != nil {
		return err
	}
	return c.importSplitHistory(ctx, split, a.GetSplitHistory())
}
