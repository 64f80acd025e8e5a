package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The bounds of what is kept of rollouts.
const (
	// keepRollouts is how many of a model are kept: the oldest ones that are over go.
	keepRollouts = 200
	// maxRolloutEvents is how many events somebody may cause; those that end a
	// rollout are always noted.
	maxRolloutEvents = 1000
)

// productionAlias is the one that a model's bare name follows without a split.
const productionAlias = "production"

const lastActiveState = registryv1.RolloutState_ROLLOUT_STATE_PAUSED

const rolloutColumns = `model, name, rollout, revision`

func scanRollout(row scanner) (*registryv1.Rollout, error) {
	var (
		model, name string
		raw         []byte
		revision    int64
		r           registryv1.Rollout
	)
	if err := row.Scan(&model, &name, &raw, &revision); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("rollout %s of %s: %w", name, model, err)
	}
	r.Etag = etagOf(revision)
	return &r, nil
}

// RolloutOver reports whether a rollout has come to its end.
func RolloutOver(r *registryv1.Rollout) bool { return r.GetState() > lastActiveState }

func (s *Store) rollout(ctx context.Context, q querier, model, name string) (*registryv1.Rollout, error) {
	if err := hasModel(ctx, q, model); err != nil {
		return nil, err
	}
	if names.MatchString(name) {
		r, err := scanRollout(q.QueryRowContext(ctx, `SELECT `+rolloutColumns+` FROM registry_rollouts
			WHERE model = $1 AND name = $2`, model, name))
		if !errors.Is(err, sql.ErrNoRows) {
			return r, err
		}
	}
	return nil, notFound("rollout", "the model %q has no rollout %q", model, name)
}

// GetRollout returns a rollout.
func (s *Store) GetRollout(ctx context.Context, model, name string) (*registryv1.Rollout, error) {
	r, err := s.rollout(ctx, s.db.Reader(), model, name)
	return r, failure(ctx, err, "get rollout %q of %q", name, model)
}

// ListRollouts returns at most limit rollouts of a model by name, those after the
// given one.
func (s *Store) ListRollouts(ctx context.Context, model, after string, limit int) ([]*registryv1.Rollout, error) {
	var out []*registryv1.Rollout
	err := s.snapshot(ctx, "list rollouts", func(ctx context.Context, q querier) (err error) {
		if err := hasModel(ctx, q, model); err != nil {
			return err
		}
		out, err = collect(ctx, q, scanRollout, `SELECT `+rolloutColumns+` FROM registry_rollouts
			WHERE model = $1 AND name > $2 ORDER BY name LIMIT $3`, model, after, limit)
		return err
	})
	return out, err
}

// ActiveRollouts returns the rollouts of all models that are not over. A model has
// at most one.
func (s *Store) ActiveRollouts(ctx context.Context) ([]*registryv1.Rollout, error) {
	out, err := collect(ctx, s.db.Reader(), scanRollout, `SELECT `+rolloutColumns+` FROM registry_rollouts
		WHERE state <= 3 ORDER BY model`)
	return out, failure(ctx, err, "rollouts that are not over")
}

// ListRolloutEvents returns at most limit events of a rollout, those after the
// given number.
func (s *Store) ListRolloutEvents(ctx context.Context, model, name string, after int32, limit int) ([]*registryv1.RolloutEvent, error) {
	var out []*registryv1.RolloutEvent
	err := s.snapshot(ctx, "list events of a rollout", func(ctx context.Context, q querier) (err error) {
		if _, err := s.rollout(ctx, q, model, name); err != nil {
			return err
		}
		out, err = s.rolloutEvents(ctx, q, model, name, after, limit)
		return err
	})
	return out, err
}

func (s *Store) rolloutEvents(ctx context.Context, q querier, model, name string, after int32, limit int) ([]*registryv1.RolloutEvent, error) {
	out, err := collect(ctx, q, func(row scanner) (*registryv1.RolloutEvent, error) {
		var raw []byte
		if err := row.Scan(&raw); err != nil {
			return nil, err
		}
		e := new(registryv1.RolloutEvent)
		return e, proto.Unmarshal(raw, e)
	}, `SELECT event FROM registry_rollout_events WHERE model = $1 AND rollout = $2 AND number > $3
			ORDER BY number LIMIT $4`, model, name, after, limit)
	if err != nil {
		return nil, fmt.Errorf("events of rollout %s: %w", name, err)
	}
	return out, nil
}

// addRollouts adds the rollout that changed last to every model.
func (s *Store) addRollouts(ctx context.Context, q querier, states map[string]*registryv1.ModelState, first, last string) error {
	list, err := collect(ctx, q, scanRollout, `SELECT `+rolloutColumns+` FROM registry_rollouts r
		WHERE model >= $1 AND model <= $2
		AND revision = (SELECT max(revision) FROM registry_rollouts WHERE model = r.model)`, first, last)
	if err != nil {
		return fmt.Errorf("rollouts: %w", err)
	}
	for _, r := range list {
		states[r.GetModel()].Rollout = r
	}
	return nil
}

// rolloutNeeding names the rollout that is not over when it is about a version, or
// with version 0 in any case.
func (s *Store) rolloutNeeding(ctx context.Context, q querier, model string, version int32) ([]string, error) {
	name, err := s.activeRollout(ctx, q, model)
	if err != nil || name == "" {
		return nil, err
	}
	if version != 0 {
		r, err := s.rollout(ctx, q, model, name)
		if err != nil {
			return nil, err
		}
		if version != r.GetCandidate() && version != r.GetBaseline() {
			return nil, nil
		}
	}
	return []string{`rollout "` + name + `"`}, nil
}

// activeRollout names the rollout of a model that is not over; "" when there is none.
func (s *Store) activeRollout(ctx context.Context, q querier, model string) (string, error) {
	var name string
	err := q.QueryRowContext(ctx, `SELECT name FROM registry_rollouts WHERE model = $1 AND state <= 3`, model).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return name, err
}

// putRollout writes a rollout with one more event. Both are this change's.
func (c *change) putRollout(ctx context.Context, r *registryv1.Rollout, e *registryv1.RolloutEvent, isNew bool) error {
	now := timestamp(micros(c.now))
	r.UpdateTime, r.EventCount, r.LastEvent, r.Progress = now, r.GetEventCount()+1, e, nil
	e.Number, e.Time, e.State, e.Step = r.GetEventCount(), now, r.GetState(), r.GetStep()
	r.Etag = "" // what is stored has none: the revision is a column
	raw, err := proto.Marshal(r)
	if err != nil {
		return fmt.Errorf("rollout: %w", err)
	}
	event, err := proto.Marshal(e)
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	r.Etag = etagOf(c.revision)
	if isNew {
		err = c.exec(ctx, `INSERT INTO registry_rollouts (model, name, state, rollout, revision, create_time)
			VALUES ($1, $2, $3, $4, $5, $6)`, r.GetModel(), r.GetName(), int32(r.GetState()), raw, c.revision, micros(c.now))
	} else {
		err = c.exec(ctx, `UPDATE registry_rollouts SET state = $1, rollout = $2, revision = $3
			WHERE model = $4 AND name = $5`, int32(r.GetState()), raw, c.revision, r.GetModel(), r.GetName())
	}
	if err != nil {
		return err
	}
	return c.exec(ctx, `INSERT INTO registry_rollout_events (model, rollout, number, event) VALUES ($1, $2, $3, $4)`,
		r.GetModel(), r.GetName(), e.GetNumber(), event)
}

// errTooManyEvents keeps somebody from filling the store by pausing and resuming.
func errTooManyEvents(r *registryv1.Rollout) error {
	return apierr.New(apierr.FailedPrecondition, "the rollout %q has %d events, as many as it may: it can only be aborted",
		r.GetName(), r.GetEventCount()).WithField("rollout")
}

// rolloutKinds names the changes that events are.
func rolloutKinds() map[registryv1.RolloutEventKind]kind {
	return map[registryv1.RolloutEventKind]kind{
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_STARTED:     rolloutStarted,
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ADVANCED:    rolloutAdvanced,
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_PAUSED:      rolloutPaused,
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_RESUMED:     rolloutResumed,
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_FORCED:      rolloutForced,
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_SUCCEEDED:   rolloutSucceeded,
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ROLLED_BACK: rolloutRolledBack,
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ABORTED:     rolloutAborted,
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_FAILED:      rolloutFailed,
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_APPROVED:    rolloutApproved,
	}
}
