package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// WholeSplit is what the weights of a split's arms add up to.
const WholeSplit = 1_000_000

const splitQuery = `SELECT s.model, s.salt, s.revision, s.update_time, a.name, a.version, a.weight, v.digest,
		COALESCE(p.prompt, ''), COALESCE(p.version, 0), COALESCE(p.alias, ''), COALESCE(pv.digest, '')
	FROM registry_splits s
	JOIN registry_arms a ON a.model = s.model
	JOIN registry_versions v ON v.model = a.model AND v.number = a.version
	LEFT JOIN registry_arm_prompts p ON p.model = a.model AND p.experiment = '' AND p.arm = a.name
	LEFT JOIN registry_prompt_versions pv ON pv.prompt = p.prompt AND pv.number = p.version `

// scanSplit reads one row: a split with one of its arms.
func scanSplit(row scanner) (*registryv1.Split, error) {
	var (
		sp                registryv1.Split
		arm               registryv1.Arm
		prompt            registryv1.PromptReference
		revision, updated int64
	)
	err := row.Scan(&sp.Model, &sp.Salt, &revision, &updated, &arm.Name, &arm.Version, &arm.Weight, &arm.Digest,
		&prompt.Prompt, &prompt.Version, &prompt.Alias, &prompt.Digest)
	if err != nil {
		return nil, err
	}
	if prompt.GetPrompt() != "" {
		arm.Prompt = &prompt
	}
	sp.Etag, sp.UpdateTime = etagOf(revision), timestamp(updated)
	sp.Arms = []*registryv1.Arm{&arm}
	return &sp, nil
}

// merge puts the arms of neighbours of one model together.
func merge(rows []*registryv1.Split) []*registryv1.Split {
	var out []*registryv1.Split
	for _, r := range rows {
		if n := len(out); n > 0 && out[n-1].GetModel() == r.GetModel() {
			out[n-1].Arms = append(out[n-1].Arms, r.GetArms()...)
			continue
		}
		out = append(out, r)
	}
	return out
}

// split returns a model's split, or nil when it has none. A model that is not
// there is an error.
func (s *Store) split(ctx context.Context, q querier, model string) (*registryv1.Split, error) {
	if err := hasModel(ctx, q, model); err != nil {
		return nil, err
	}
	rows, err := collect(ctx, q, scanSplit, splitQuery+`WHERE s.model = $1 ORDER BY a.position`, model)
	if err != nil {
		return nil, fmt.Errorf("split: %w", err)
	}
	for _, sp := range merge(rows) {
		return sp, nil
	}
	return nil, nil //nolint:nilnil // what is not there is no error here
}

// SetSplit is ChangeSplit for who gives no reason.
func (s *Store) SetSplit(ctx context.Context, actor, model string, arms []*registryv1.Arm, etag string) (*registryv1.Split, error) {
	return s.ChangeSplit(ctx, actor, SplitWish{Model: model, Arms: arms, Etag: etag})
}

// SplitWish is the split that somebody wants a model to have.
type SplitWish struct {
	Model string
	Arms  []*registryv1.Arm
	// Etag is that of what is there: "" for nothing, AnyEtag for whatever is.
	Etag string
	// Reason is why, for people.
	Reason string
}

// ChangeSplit sets a model's split when what is there has the given etag: "" for
// nothing there, AnyEtag for whatever is. The salt is made with the split and
// kept while it stands. A split that has these arms already stays as it is.
// Where production is protected, it may name no other version.
// An arm's digest may be left out; one that is not its version's is refused,
// for then the caller meant another version.
func (s *Store) ChangeSplit(ctx context.Context, actor string, w SplitWish) (*registryv1.Split, error) {
	model, arms := w.Model, w.Arms
	if err := checkArms(arms); err != nil {
		return nil, err
	}
	salt, err := s.newSalt(splitSalt)
	if err != nil {
		return nil, err
	}
	var out *registryv1.Split
	err = s.change(ctx, actor, model, splitSet, func(ctx context.Context, c *change) (err error) {
		out, err = s.split(ctx, c.tx, model)
		if err != nil {
			return err
		}
		if err := compareEtag(fmt.Sprintf("the split of %q", model), w.Etag, out.GetEtag()); err != nil {
			return err
		}
		if err := checkDigests(ctx, c, arms); err != nil {
			return err
		}
		if err := s.checkPrompts(ctx, c, arms); err != nil {
			return err
		}
		if out != nil && slices.EqualFunc(out.GetArms(), arms, sameArm) {
			return errUnchanged
		}
		if err := s.checkSplit(ctx, c, arms); err != nil {
			return err
		}
		if err := s.putSplit(ctx, c, salt, out == nil); err != nil {
			return err
		}
		if err := s.putArms(ctx, c, arms, s.opts.May); err != nil {
			return err
		}
		if out, err = s.split(ctx, c.tx, model); err != nil {
			return err
		}
		return c.recordSplit(ctx, out, w.Reason, 0)
	})
	return out, err
}

func sameArm(a, b *registryv1.Arm) bool {
	return a.GetName() == b.GetName() && a.GetVersion() == b.GetVersion() && a.GetWeight() == b.GetWeight() &&
		samePrompt(a.GetPrompt(), b.GetPrompt())
}

// checkArms returns everything that is wrong with the arms by themselves.
func checkArms(arms []*registryv1.Arm) error {
	var (
		bad  []apierr.Violation
		sum  int64
		seen = make(map[string]bool, len(arms))
	)
	for i, a := range arms {
		sum += int64(a.GetWeight())
		field := fmt.Sprintf("arms[%d].", i)
		if !names.MatchString(a.GetName()) {
			bad = append(bad, apierr.Violation{Field: field + "name", Description: "is not a name"})
		}
		if seen[a.GetName()] {
			bad = append(bad, apierr.Violation{Field: field + "name", Description: "is the name of an arm before it"})
		}
		seen[a.GetName()] = true
		if a.GetWeight() < 0 || a.GetWeight() > WholeSplit {
			bad = append(bad, apierr.Violation{Field: field + "weight", Description: "must be from 0 to 1000000"})
		}
		if why := checkPromptForm(a.GetPrompt()); why != "" {
			bad = append(bad, apierr.Violation{Field: field + "prompt", Description: why})
		}
	}
	if sum != WholeSplit {
		bad = append(bad, apierr.Violation{
			Field: "arms", Description: fmt.Sprintf("the weights must add up to 1000000, not %d", sum),
		})
	}
	return invalid(bad)
}

// checkDigests returns every arm whose digest is not that of its version. A
// version that is not there is left to putArms.
func checkDigests(ctx context.Context, c *change, arms []*registryv1.Arm) error {
	var bad []apierr.Violation
	for i, a := range arms {
		if a.GetDigest() == "" {
			continue
		}
		var digest string
		err := c.tx.QueryRowContext(ctx, `SELECT digest FROM registry_versions WHERE model = $1 AND number = $2`,
			c.model, a.GetVersion()).Scan(&digest)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return fmt.Errorf("digest of version %d: %w", a.GetVersion(), err)
		case digest != a.GetDigest():
			bad = append(bad, apierr.Violation{
				Field:       fmt.Sprintf("arms[%d].digest", i),
				Description: fmt.Sprintf("is not the digest of version %d, which is %s", a.GetVersion(), digest),
			})
		}
	}
	return invalid(bad)
}

// checkPrompts checks that the prompts which arms name are there.
func (s *Store) checkPrompts(ctx context.Context, c *change, arms []*registryv1.Arm) error {
	for i, a := range arms {
		if _, err := s.promptNamed(ctx, c, fmt.Sprintf("arms[%d].prompt.", i), a.GetPrompt()); err != nil {
			return err
		}
	}
	return nil
}

// invalid returns the violations as one error; nil when there are none.
func invalid(bad []apierr.Violation) error {
	if len(bad) == 0 {
		return nil
	}
	return apierr.New(apierr.InvalidArgument, "%s: %s", bad[0].Field, bad[0].Description).WithViolations(bad...)
}

func (s *Store) putSplit(ctx context.Context, c *change, salt string, isNew bool) error {
	if err := c.touch(ctx); err != nil {
		return err
	}
	if isNew {
		return c.exec(ctx, `INSERT INTO registry_splits (model, salt, revision, update_time) VALUES ($1, $2, $3, $4)`,
			c.model, salt, c.revision, micros(c.now))
	}
	return c.exec(ctx, `UPDATE registry_splits SET revision = $1, update_time = $2 WHERE model = $3`,
		c.revision, micros(c.now), c.model)
}

// putArms writes the arms, of which may has a say about each version.
func (s *Store) putArms(ctx context.Context, c *change, arms []*registryv1.Arm, may func(*registryv1.Version) error) error {
	if err := c.exec(ctx, `DELETE FROM registry_arms WHERE model = $1`, c.model); err != nil {
		return err
	}
	if err := s.checkPrompts(ctx, c, arms); err != nil {
		return err
	}
	prompts := make(map[string]*registryv1.PromptReference, len(arms))
	for i, a := range arms {
		prompts[a.GetName()] = a.GetPrompt()
		v, err := s.version(ctx, c.tx, c.model, VersionKey{Number: a.GetVersion()})
		if err == nil {
			err = may(v)
		}
		if err != nil {
			return inField(err, fmt.Sprintf("arms[%d].version", i))
		}
		err = c.exec(ctx, `INSERT INTO registry_arms (model, position, name, version, weight) VALUES ($1, $2, $3, $4, $5)`,
			c.model, i, a.GetName(), a.GetVersion(), a.GetWeight())
		if err != nil {
			return err
		}
	}
	return c.putArmPrompts(ctx, "", prompts)
}

// GetSplit returns a model's split.
func (s *Store) GetSplit(ctx context.Context, model string) (*registryv1.Split, error) {
	var out *registryv1.Split
	err := s.snapshot(ctx, "get split", func(ctx context.Context, q querier) (err error) {
		out, err = s.split(ctx, q, model)
		if err == nil && out == nil {
			err = splitNotFound(model)
		}
		return err
	})
	return out, err
}

func splitNotFound(model string) error {
	return notFound("model", "the model %q has no split", model)
}

// DeleteSplit is RemoveSplit for who gives no reason.
func (s *Store) DeleteSplit(ctx context.Context, actor, model, etag string) error {
	return s.RemoveSplit(ctx, actor, model, etag, "")
}

// RemoveSplit removes a split that has the given etag, or AnyEtag.
func (s *Store) RemoveSplit(ctx context.Context, actor, model, etag, reason string) error {
	return s.change(ctx, actor, model, splitDeleted, func(ctx context.Context, c *change) error {
		there, err := s.split(ctx, c.tx, model)
		if err != nil {
			return err
		}
		if there == nil {
			return splitNotFound(model)
		}
		if err := compareEtag(fmt.Sprintf("the split of %q", model), etag, there.GetEtag()); err != nil {
			return err
		}
		return c.removeSplit(ctx, reason, 0)
	})
}
