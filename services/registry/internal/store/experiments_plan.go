package store

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/allocation"
)

// CreateExperiment creates a draft from what is given of its model, its name and
// its plan: description, arms, targeting, layer, share, priority, stickiness,
// overrides and shadow. The rest is the store's.
func (s *Store) CreateExperiment(ctx context.Context, actor string, plan *registryv1.Experiment) (*registryv1.Experiment, error) {
	if err := checkPlan(plan); err != nil {
		return nil, err
	}
	salt, err := s.newSalt(experimentSalt)
	if err != nil {
		return nil, err
	}
	layerSalt, err := s.newSalt(experimentSalt)
	if err != nil {
		return nil, err
	}
	var out *registryv1.Experiment
	err = s.change(ctx, actor, plan.GetModel(), experimentCreated, func(ctx context.Context, c *change) error {
		others, err := s.otherExperiments(ctx, c, plan.GetName())
		if err != nil {
			return err
		}
		out = planned(&registryv1.Experiment{
			Model: plan.GetModel(), Name: plan.GetName(), State: draft, Salt: salt,
		}, plan)
		if err := s.settle(ctx, c, out, others, layerSalt); err != nil {
			return err
		}
		return s.insertExperiment(ctx, c, out, len(others))
	})
	return out, err
}

func (s *Store) insertExperiment(ctx context.Context, c *change, e *registryv1.Experiment, others int) error {
	var same int
	err := c.tx.QueryRowContext(ctx, `SELECT count(*) FROM registry_experiments WHERE model = $1 AND name = $2`,
		c.model, e.GetName()).Scan(&same)
	switch {
	case err != nil:
		return fmt.Errorf("experiments of that name: %w", err)
	case same > 0:
		return apierr.New(apierr.AlreadyExists, "the model %q has an experiment %q already", c.model, e.GetName()).WithField("name")
	case others >= maxExperiments:
		return apierr.New(apierr.FailedPrecondition, "the model %q has %d experiments, as many as it may: delete one that is concluded",
			c.model, others).WithField("name")
	}
	bytes, err := experimentBytes(e)
	if err != nil {
		return err
	}
	if err := c.touch(ctx); err != nil {
		return err
	}
	body, err := bodyOf(e)
	if err != nil {
		return err
	}
	err = c.exec(ctx, `INSERT INTO registry_experiments
		(model, name, state, layer, body, bytes, revision, create_time, update_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)`,
		c.model, e.GetName(), int32(e.GetState()), e.GetLayer(), body, bytes, c.revision, micros(c.now))
	if err != nil {
		return err
	}
	e.Etag, e.CreateTime, e.UpdateTime = etagOf(c.revision), c.moment(), c.moment()
	return c.putExperimentVersions(ctx, e)
}

// experimentBytes is what an experiment counts for in its model, room for its
// ranges included.
func experimentBytes(e *registryv1.Experiment) (int64, error) {
	e = proto.CloneOf(e)
	e.ArmRanges, e.LayerRanges, e.Reason = nil, nil, ""
	size := proto.Size(e)
	if size > maxExperimentBytes {
		return 0, apierr.New(apierr.InvalidArgument, "the experiment takes %d bytes, and may take %d", size, maxExperimentBytes)
	}
	return int64(size) + rangesBytes, nil
}

// UpdateExperiment makes the experiment that has the given etag, or AnyEtag, what
// the plan says; of one that was started only what does not change who meets which
// arm.
func (s *Store) UpdateExperiment(ctx context.Context, actor string, plan *registryv1.Experiment, etag string) (*registryv1.Experiment, error) {
	if err := checkPlan(plan); err != nil {
		return nil, err
	}
	layerSalt, err := s.newSalt(experimentSalt)
	if err != nil {
		return nil, err
	}
	var out *registryv1.Experiment
	err = s.change(ctx, actor, plan.GetModel(), experimentUpdated, func(ctx context.Context, c *change) error {
		there, err := s.experimentToChange(ctx, c, plan.GetName(), etag)
		if err != nil {
			return err
		}
		others, err := s.otherExperiments(ctx, c, plan.GetName())
		if err != nil {
			return err
		}
		out = planned(there, plan)
		if err := checkFrozen(there, out); err != nil {
			return err
		}
		if there.GetState() != concluded {
			if err := s.settle(ctx, c, out, others, layerSalt); err != nil {
				return err
			}
		}
		if proto.Equal(there, out) {
			return errUnchanged
		}
		return s.replaceExperiment(ctx, c, out)
	})
	return out, err
}

func (s *Store) replaceExperiment(ctx context.Context, c *change, e *registryv1.Experiment) error {
	bytes, err := experimentBytes(e)
	if err != nil {
		return err
	}
	if err := c.touch(ctx); err != nil {
		return err
	}
	err = c.exec(ctx, `UPDATE registry_experiments SET bytes = $1 WHERE model = $2 AND name = $3`, bytes, c.model, e.GetName())
	if err != nil {
		return err
	}
	if err := s.putExperiment(ctx, c, e); err != nil {
		return err
	}
	return c.putExperimentVersions(ctx, e)
}

// planned returns a copy of an experiment with another plan.
func planned(e, plan *registryv1.Experiment) *registryv1.Experiment {
	out, plan := proto.CloneOf(e), proto.CloneOf(plan)
	if out.GetLayer() != plan.GetLayer() {
		out.LayerSalt = "" // another layer has another one
	}
	out.Description, out.Arms, out.Targeting = plan.GetDescription(), plan.GetArms(), plan.GetTargeting()
	out.Layer, out.Share, out.Priority = plan.GetLayer(), plan.GetShare(), plan.GetPriority()
	out.StickyBy, out.Overrides, out.Shadow = plan.GetStickyBy(), plan.GetOverrides(), plan.GetShadow()
	if out.GetShare() == 0 {
		out.Share = allocation.Whole
	}
	if out.GetStickyBy() == registryv1.StickyBy_STICKY_BY_UNSPECIFIED {
		out.StickyBy = registryv1.StickyBy_STICKY_BY_USER
	}
	if len(out.GetTargeting().GetConditions()) == 0 {
		out.Targeting = nil
	}
	return out
}

// otherExperiments returns the model's experiments but the one of that name.
func (s *Store) otherExperiments(ctx context.Context, c *change, name string) ([]*registryv1.Experiment, error) {
	if err := hasModel(ctx, c.tx, c.model); err != nil {
		return nil, err
	}
	out, err := collect(ctx, c.tx, scanExperiment, `SELECT `+experimentColumns+` FROM registry_experiments
		WHERE model = $1 AND name <> $2 ORDER BY name`, c.model, name)
	if err != nil {
		return nil, fmt.Errorf("experiments: %w", err)
	}
	return out, nil
}

// settle checks a plan against the model and the other experiments, and fills what
// follows from them: digests and the layer's salt.
func (s *Store) settle(ctx context.Context, c *change, e *registryv1.Experiment, others []*registryv1.Experiment, layerSalt string) error {
	if err := s.checkVersions(ctx, c, e); err != nil {
		return err
	}
	if e.GetLayerSalt() == "" {
		e.LayerSalt = layerSalt
	}
	for _, o := range others {
		if e.GetLayer() == "" || o.GetLayer() != e.GetLayer() {
			continue
		}
		if o.GetState() != concluded && o.GetStickyBy() != e.GetStickyBy() {
			return apierr.New(apierr.FailedPrecondition,
				"experiments of one layer must stick to the same: %q of the layer %q does to something else", o.GetName(), e.GetLayer()).
				WithField("sticky_by")
		}
		e.LayerSalt = o.GetLayerSalt()
	}
	return nil
}
