package store

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/allocation"
)

// The states, by shorter names.
const (
	draft     = registryv1.ExperimentState_EXPERIMENT_STATE_DRAFT
	running   = registryv1.ExperimentState_EXPERIMENT_STATE_RUNNING
	stopped   = registryv1.ExperimentState_EXPERIMENT_STATE_STOPPED
	concluded = registryv1.ExperimentState_EXPERIMENT_STATE_CONCLUDED
)

// live runs fn on an experiment that has the given etag, or AnyEtag, and stores
// what it made of it. What changes nothing uses up no revision.
func (s *Store) live(ctx context.Context, actor, model, name, etag string, k kind,
	fn func(ctx context.Context, c *change, e *registryv1.Experiment) error,
) (*registryv1.Experiment, error) {
	var out *registryv1.Experiment
	err := s.change(ctx, actor, model, k, func(ctx context.Context, c *change) error {
		there, err := s.experimentToChange(ctx, c, name, etag)
		if err != nil {
			return err
		}
		out = proto.CloneOf(there)
		if err := fn(ctx, c, out); err != nil {
			return err
		}
		if proto.Equal(there, out) {
			return errUnchanged
		}
		return s.putExperiment(ctx, c, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// StartExperiment has a draft or a stopped experiment run.
func (s *Store) StartExperiment(ctx context.Context, actor, model, name, etag string) (*registryv1.Experiment, error) {
	return s.live(ctx, actor, model, name, etag, experimentStarted, func(ctx context.Context, c *change, e *registryv1.Experiment) error {
		switch e.GetState() {
		case running:
			return nil
		case concluded:
			return wrongState(e, "create another one")
		default:
		}
		others, err := s.otherExperiments(ctx, c, name)
		if err != nil {
			return err
		}
		if n := countRunning(others); n >= maxRunning {
			return apierr.New(apierr.FailedPrecondition, "%d experiments of the model %q run, as many as may", n, model).WithField("experiment")
		}
		if err := s.checkVersions(ctx, c, e); err != nil {
			return err
		}
		if len(e.GetArms()) > 0 {
			if err := place(e, others); err != nil {
				return err
			}
			if len(e.GetArmRanges()) == 0 {
				setArmRanges(e, allocation.New(weights(e)))
			}
		}
		if e.GetStartTime() == nil {
			e.StartTime = c.moment()
		}
		e.State, e.EndTime, e.Reason = running, nil, ""
		return nil
	})
}

func countRunning(list []*registryv1.Experiment) int {
	n := 0
	for _, e := range list {
		if e.GetState() == running {
			n++
		}
	}
	return n
}

// RampExperiment changes arms' weights, by the arms' names, and the share of the
// layer; a share of 0 stays. Of arms that are not named the first one takes the
// difference.
func (s *Store) RampExperiment(ctx context.Context, actor, model, name string, to map[string]int32, share int32, etag string) (*registryv1.Experiment, error) {
	return s.live(ctx, actor, model, name, etag, experimentRamped, func(ctx context.Context, c *change, e *registryv1.Experiment) error {
		switch {
		case e.GetState() != running && e.GetState() != stopped:
			return wrongState(e, "only one that was started and is not over can be ramped")
		case len(e.GetArms()) == 0:
			return apierr.New(apierr.FailedPrecondition, "the experiment %q of %q has no arms", name, model).WithField("experiment")
		}
		if err := reweigh(e, to); err != nil {
			return err
		}
		ranges := allocation.Move(armRanges(e), weights(e))
		if len(ranges) > maxRanges {
			return apierr.New(apierr.FailedPrecondition,
				"the arms of the experiment %q of %q would lie in %d pieces, and may in %d: conclude it and create another", name, model, len(ranges), maxRanges).
				WithField("weights")
		}
		setArmRanges(e, ranges)
		if share == 0 || share == e.GetShare() {
			return nil
		}
		e.Share = share
		if e.GetState() != running {
			return nil // its place in the layer is found when it starts
		}
		others, err := s.otherExperiments(ctx, c, name)
		if err != nil {
			return err
		}
		return place(e, others)
	})
}

// reweigh sets the arms' weights.
func reweigh(e *registryv1.Experiment, to map[string]int32) error {
	if len(to) == 0 {
		return nil
	}
	var sum int64
	var rest *registryv1.ExperimentArm
	known := 0
	for _, a := range e.GetArms() {
		weight, named := to[a.GetName()]
		switch {
		case named && (weight < 0 || weight > allocation.Whole):
			return apierr.Invalid("weights", "weights: the weight of %q must be from 0 to 1000000", a.GetName())
		case named:
			a.Weight = weight
			known++
		case rest == nil:
			rest = a
			continue
		}
		sum += int64(a.GetWeight())
	}
	switch {
	case known < len(to):
		return apierr.Invalid("weights", "weights: the experiment %q has no such arm: %s", e.GetName(), unknownArm(e, to))
	case rest == nil && sum != allocation.Whole:
		return apierr.Invalid("weights", "weights: they must add up to 1000000, not %d", sum)
	case sum > allocation.Whole:
		return apierr.Invalid("weights", "weights: they leave %q less than nothing: those of the others add up to %d", rest.GetName(), sum)
	case rest != nil:
		rest.Weight = int32(allocation.Whole - sum)
	}
	return nil
}

// unknownArm returns the first name, in order, that is no arm's.
func unknownArm(e *registryv1.Experiment, to map[string]int32) string {
	first := ""
	for name := range to {
		if armIndex(e, name) < 0 && (first == "" || name < first) {
			first = name
		}
	}
	return first
}

// StopExperiment has a running experiment decide nothing for the moment.
func (s *Store) StopExperiment(ctx context.Context, actor, model, name, reason, etag string) (*registryv1.Experiment, error) {
	return s.live(ctx, actor, model, name, etag, experimentStopped, func(_ context.Context, c *change, e *registryv1.Experiment) error {
		switch e.GetState() {
		case stopped:
			return nil
		case running:
		default:
			return wrongState(e, "only one that runs can be stopped")
		}
		e.State, e.Reason, e.EndTime = stopped, reason, c.moment()
		return nil
	})
}

// ConcludeExperiment ends an experiment that was started, for good.
func (s *Store) ConcludeExperiment(ctx context.Context, actor, model, name, winner, reason, etag string) (*registryv1.Experiment, error) {
	return s.live(ctx, actor, model, name, etag, experimentConcluded, func(ctx context.Context, c *change, e *registryv1.Experiment) error {
		if winner != "" && armIndex(e, winner) < 0 {
			return apierr.Invalid("winner", "the experiment %q has no arm %q", name, winner)
		}
		switch e.GetState() {
		case running, stopped:
		case concluded:
			if winner == e.GetWinner() && reason == e.GetReason() {
				return nil
			}
			return wrongState(e, "its end cannot be changed")
		default:
			return wrongState(e, "it was never started: delete it")
		}
		e.State, e.Winner, e.Reason, e.EndTime, e.LayerRanges = concluded, winner, reason, c.moment(), nil
		return c.putExperimentVersions(ctx, e)
	})
}
