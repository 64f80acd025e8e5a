package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The bounds on a model's experiments.
const (
	// maxExperiments bounds those of a model, in whatever state they are.
	maxExperiments = 256
	// maxRunning bounds those that run: each request for the model looks at them.
	maxRunning = 16
	// maxExperimentBytes bounds one, encoded and without its ranges.
	maxExperimentBytes = 64 << 10
	// maxRanges bounds the pieces that an experiment's arms, or its part of a layer,
	// may lie in; far above what ramps lead to.
	maxRanges = 256
	// rangesBytes is set aside for them with each experiment, so that a ramp, or a
	// way back, never fails because the model is full.
	rangesBytes = 2 * maxRanges * 16
)

const experimentColumns = `model, name, state, body, revision, create_time, update_time`

func scanExperiment(row scanner) (*registryv1.Experiment, error) {
	var (
		e                          registryv1.Experiment
		model, name                string
		state                      int32
		body                       []byte
		revision, created, updated int64
	)
	if err := row.Scan(&model, &name, &state, &body, &revision, &created, &updated); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("experiment %s of %s: %w", name, model, err)
	}
	e.Model, e.Name, e.State = model, name, registryv1.ExperimentState(state)
	e.Etag, e.CreateTime, e.UpdateTime = etagOf(revision), timestamp(created), timestamp(updated)
	return &e, nil
}

// bodyOf is what of an experiment has no column of its own.
func bodyOf(e *registryv1.Experiment) ([]byte, error) {
	e = proto.CloneOf(e)
	e.Model, e.Name, e.State, e.Etag, e.CreateTime, e.UpdateTime = "", "", 0, "", nil, nil
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("experiment: %w", err)
	}
	return body, nil
}

// experiment returns an experiment. A model or an experiment that is not there is
// an error.
func (s *Store) experiment(ctx context.Context, q querier, model, name string) (*registryv1.Experiment, error) {
	if err := hasModel(ctx, q, model); err != nil {
		return nil, err
	}
	if !names.MatchString(name) {
		return nil, experimentNotFound(model, name)
	}
	e, err := scanExperiment(q.QueryRowContext(ctx,
		`SELECT `+experimentColumns+` FROM registry_experiments WHERE model = $1 AND name = $2`, model, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, experimentNotFound(model, name)
	}
	return e, err
}

func experimentNotFound(model, name string) error {
	return notFound("experiment", "the model %q has no experiment %q", model, name)
}

// GetExperiment returns an experiment.
func (s *Store) GetExperiment(ctx context.Context, model, name string) (*registryv1.Experiment, error) {
	var out *registryv1.Experiment
	err := s.snapshot(ctx, "get experiment", func(ctx context.Context, q querier) (err error) {
		out, err = s.experiment(ctx, q, model, name)
		return err
	})
	return out, err
}

// ListExperiments returns at most limit experiments by name, those after the given
// one.
func (s *Store) ListExperiments(ctx context.Context, model, after string, limit int) ([]*registryv1.Experiment, error) {
	var out []*registryv1.Experiment
	err := s.snapshot(ctx, "list experiments", func(ctx context.Context, q querier) (err error) {
		if err := hasModel(ctx, q, model); err != nil {
			return err
		}
		out, err = collect(ctx, q, scanExperiment, `SELECT `+experimentColumns+` FROM registry_experiments
			WHERE model = $1 AND name > $2 ORDER BY name LIMIT $3`, model, after, limit)
		return err
	})
	return out, err
}

// DeleteExperiment removes an experiment that does not run and has the given etag,
// or AnyEtag.
func (s *Store) DeleteExperiment(ctx context.Context, actor, model, name, etag string) error {
	return s.change(ctx, actor, model, experimentDeleted, func(ctx context.Context, c *change) error {
		e, err := s.experimentToChange(ctx, c, name, etag)
		if err != nil {
			return err
		}
		if e.GetState() == running {
			return wrongState(e, "stop it before it is deleted")
		}
		if err := c.touch(ctx); err != nil {
			return err
		}
		if err := c.putArmPrompts(ctx, name, nil); err != nil {
			return err
		}
		return c.exec(ctx, `DELETE FROM registry_experiments WHERE model = $1 AND name = $2`, model, name)
	})
}

// experimentToChange returns an experiment that has the etag which was read.
func (s *Store) experimentToChange(ctx context.Context, c *change, name, etag string) (*registryv1.Experiment, error) {
	e, err := s.experiment(ctx, c.tx, c.model, name)
	if err != nil {
		return nil, err
	}
	return e, compareEtag(fmt.Sprintf("the experiment %q of %q", name, c.model), etag, e.GetEtag())
}

func wrongState(e *registryv1.Experiment, what string) error {
	return apierr.New(apierr.FailedPrecondition, "the experiment %q of %q is %s: %s",
		e.GetName(), e.GetModel(), stateName(e.GetState()), what).
		WithField("experiment").WithMetadata(metaState, stateName(e.GetState())).WithMetadata(metaEtag, e.GetEtag())
}

func stateName(s registryv1.ExperimentState) string {
	switch s {
	case draft:
		return "a draft"
	case running:
		return "running"
	case stopped:
		return "stopped"
	case concluded:
		return "concluded"
	case registryv1.ExperimentState_EXPERIMENT_STATE_UNSPECIFIED:
	}
	return "in no known state"
}

// putExperiment stores an experiment that is there already, and sets its etag and
// its time.
func (s *Store) putExperiment(ctx context.Context, c *change, e *registryv1.Experiment) error {
	body, err := bodyOf(e)
	if err != nil {
		return err
	}
	if err := c.touch(ctx); err != nil {
		return err
	}
	err = c.exec(ctx, `UPDATE registry_experiments SET state = $1, layer = $2, body = $3, revision = $4, update_time = $5
		WHERE model = $6 AND name = $7`,
		int32(e.GetState()), e.GetLayer(), body, c.revision, micros(c.now), c.model, e.GetName())
	e.Etag, e.UpdateTime = etagOf(c.revision), timestamp(micros(c.now))
	return err
}

// putExperimentVersions notes which versions and prompts the experiment holds on to.
func (c *change) putExperimentVersions(ctx context.Context, e *registryv1.Experiment) error {
	err := c.exec(ctx, `DELETE FROM registry_experiment_versions WHERE model = $1 AND experiment = $2`, c.model, e.GetName())
	if err != nil {
		return err
	}
	prompts := make(map[string]*registryv1.PromptReference, len(e.GetArms()))
	if e.GetState() != concluded {
		for _, a := range e.GetArms() {
			prompts[a.GetName()] = a.GetPrompt()
		}
	}
	if err := c.putArmPrompts(ctx, e.GetName(), prompts); err != nil || e.GetState() == concluded {
		return err
	}
	held := map[int32]bool{0: true}
	for _, version := range append(armVersions(e), e.GetShadow().GetVersion()) {
		if held[version] {
			continue
		}
		held[version] = true
		err := c.exec(ctx, `INSERT INTO registry_experiment_versions (model, experiment, version) VALUES ($1, $2, $3)`,
			c.model, e.GetName(), version)
		if err != nil {
			return err
		}
	}
	return nil
}

func armVersions(e *registryv1.Experiment) []int32 {
	out := make([]int32, len(e.GetArms()))
	for i, a := range e.GetArms() {
		out[i] = a.GetVersion()
	}
	return out
}

// moment is the time of a change as an experiment has it.
func (c *change) moment() *timestamppb.Timestamp { return timestamp(micros(c.now)) }
