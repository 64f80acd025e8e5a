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
	"github.com/poterne/poterne/services/registry/internal/allocation"
)

// putExperiments puts experiments as they were, in the state that they had: who
// met which arm meets it again.
func (s *Store) putExperiments(ctx context.Context, c *change, m *registryv1.ArchivedModel) error {
	if n := len(m.GetExperiments()); n > maxExperiments {
		return apierr.New(apierr.FailedPrecondition, "the model %q would have %d experiments, and may have %d", c.model, n, maxExperiments).WithField("models")
	}
	if err := checkTogether(c.model, m.GetExperiments()); err != nil {
		return err
	}
	for i, e := range m.GetExperiments() {
		if i > 0 && e.GetName() <= m.GetExperiments()[i-1].GetName() || e.GetModel() != c.model {
			return apierr.Invalid("models", "the experiment %q of %q is not in its place", e.GetName(), c.model)
		}
		if err := errors.Join(inField(checkPlan(e), "models"), checkAllocation(e)); err != nil {
			return err
		}
		if err := s.checkServed(ctx, c, e); err != nil {
			return err
		}
		bytes, err := experimentBytes(e)
		if err != nil {
			return inField(err, "models")
		}
		body, err := bodyOf(e)
		if err != nil {
			return err
		}
		err = c.exec(ctx, `INSERT INTO registry_experiments
			(model, name, state, layer, body, bytes, revision, create_time, update_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			c.model, e.GetName(), int32(e.GetState()), e.GetLayer(), body, bytes, c.revision,
			micros(e.GetCreateTime().AsTime()), micros(e.GetUpdateTime().AsTime()))
		if err == nil {
			err = c.putExperimentVersions(ctx, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// promptArrived is promptNamed for arms of an archive, and tells whose they are.
func (s *Store) promptArrived(ctx context.Context, c *change, arms string, ref *registryv1.PromptReference) (string, error) {
	digest, err := s.promptNamed(ctx, c, "prompt.", ref)
	if known, ok := errors.AsType[*apierr.Error](err); ok {
		err = apierr.New(known.Reason, "%s: %s", arms, known.Message).
			WithField("models").WithMetadata("model", c.model)
	}
	return digest, err
}

// checkArmPromptsFit is checkPromptFits for the prompts that a model's arms name.
func (s *Store) checkArmPromptsFit(ctx context.Context, c *change) error {
	named, err := collect(ctx, c.tx, scanText, `SELECT DISTINCT prompt FROM registry_arm_prompts WHERE model = $1`, c.model)
	if err != nil {
		return fmt.Errorf("prompts of arms: %w", err)
	}
	for _, prompt := range named {
		if err := s.checkPromptFits(ctx, c, prompt); err != nil {
			return inField(err, "models")
		}
	}
	return nil
}

// checkServed refuses an experiment that is not over and names what is not there.
func (s *Store) checkServed(ctx context.Context, c *change, e *registryv1.Experiment) error {
	if e.GetState() == concluded {
		return nil
	}
	check := func(version int32, alias string) error {
		if alias != "" {
			there, err := s.alias(ctx, c.tx, c.model, alias)
			if err == nil && there == nil {
				err = notFound("models", "the experiment %q of %q names the alias %q, which is not there", e.GetName(), c.model, alias)
			}
			return inField(err, "models")
		}
		v, err := s.version(ctx, c.tx, c.model, VersionKey{Number: version})
		if err == nil {
			err = s.opts.May(v)
		}
		return inField(err, "models")
	}
	for _, a := range e.GetArms() {
		if err := check(a.GetVersion(), a.GetAlias()); err != nil {
			return err
		}
		digest, err := s.promptArrived(ctx, c, armsOf(c.model, e.GetName()), a.GetPrompt())
		if err != nil {
			return err
		}
		if a.GetPrompt() != nil {
			a.Prompt.Digest = digest
		}
	}
	if sh := e.GetShadow(); sh != nil {
		return check(sh.GetVersion(), sh.GetAlias())
	}
	return nil
}

// checkAllocation refuses points that are not those of an experiment.
func checkAllocation(e *registryv1.Experiment) error {
	bad := func(what string) error {
		return apierr.Invalid("models", "the experiment %q of %q: %s", e.GetName(), e.GetModel(), what)
	}
	if e.GetState() < draft || e.GetState() > concluded || e.GetShare() < 1 || e.GetShare() > allocation.Whole ||
		e.GetPriority() < 0 || e.GetPriority() > 1000 {
		return bad("its state, share or priority is none")
	}
	if len(e.GetSalt()) > 64 || len(e.GetLayerSalt()) > 64 || e.GetSalt() == "" {
		return bad("it has no salt")
	}
	if len(e.GetArmRanges()) > maxRanges || len(e.GetLayerRanges()) > maxRanges {
		return bad("it lies in too many pieces")
	}
	at, sums := int32(0), make([]int32, len(e.GetArms()))
	for _, r := range e.GetArmRanges() {
		if r.GetStart() != at || r.GetEnd() <= at || r.GetEnd() > allocation.Whole || r.GetArm() < 0 || int(r.GetArm()) >= len(sums) {
			return bad("its arms' points have gaps")
		}
		sums[r.GetArm()] += r.GetEnd() - at
		at = r.GetEnd()
	}
	if len(e.GetArmRanges()) > 0 && (at != allocation.Whole || !slices.Equal(sums, weights(e))) {
		return bad("its arms' points are not their weights")
	}
	at, held := int32(0), int32(0)
	for _, r := range e.GetLayerRanges() {
		if r.GetStart() < at || r.GetEnd() <= r.GetStart() || r.GetEnd() > allocation.Whole {
			return bad("its points of the layer are not in order")
		}
		held += r.GetEnd() - r.GetStart()
		at = r.GetEnd()
	}
	if e.GetState() == running && len(e.GetArms()) > 0 && (held != e.GetShare() || len(e.GetArmRanges()) == 0) {
		return bad("its points of the layer are not its share")
	}
	return nil
}

// checkTogether refuses running experiments that are too many, or of which two of a
// layer hold a point.
func checkTogether(model string, list []*registryv1.Experiment) error {
	layers := map[string][]*registryv1.PointRange{}
	n := 0
	for _, e := range list {
		if e.GetState() != running {
			continue
		}
		n++
		if e.GetLayer() != "" {
			layers[e.GetLayer()] = append(layers[e.GetLayer()], e.GetLayerRanges()...)
		}
	}
	if n > maxRunning {
		return apierr.New(apierr.FailedPrecondition, "%d experiments of %q would run, and %d may", n, model, maxRunning).WithField("models")
	}
	for layer, ranges := range layers {
		slices.SortFunc(ranges, func(a, b *registryv1.PointRange) int { return int(a.GetStart() - b.GetStart()) })
		for i := 1; i < len(ranges); i++ {
			if ranges[i].GetStart() < ranges[i-1].GetEnd() {
				return apierr.Invalid("models", "two experiments of the layer %q of %q hold a point", layer, model)
			}
		}
	}
	return nil
}

// arrived is a rollout as it comes in: one that was not over is paused, and takes
// over the split and the alias that it finds when somebody resumes it.
func arrived(a *registryv1.ArchivedRollout) *registryv1.ArchivedRollout {
	out := proto.CloneOf(a)
	if !RolloutOver(out.GetRollout()) {
		out.Rollout.State = registryv1.RolloutState_ROLLOUT_STATE_PAUSED
		out.Rollout.PauseCause = registryv1.RolloutPauseCause_ROLLOUT_PAUSE_CAUSE_REQUESTED
	}
	return out
}

// putRollouts puts rollouts with what happened to them.
func (s *Store) putRollouts(ctx context.Context, c *change, m *registryv1.ArchivedModel) error {
	if n := len(m.GetRollouts()); n > 2*keepRollouts {
		return apierr.New(apierr.FailedPrecondition, "the model %q would have %d rollouts, and may have %d", c.model, n, 2*keepRollouts).WithField("models")
	}
	active := 0
	for i, archived := range m.GetRollouts() {
		a := arrived(archived)
		r := a.GetRollout()
		if i > 0 && r.GetName() <= m.GetRollouts()[i-1].GetRollout().GetName() || r.GetModel() != c.model || !names.MatchString(r.GetName()) ||
			r.GetState() == registryv1.RolloutState_ROLLOUT_STATE_UNSPECIFIED || len(a.GetEvents()) > 2*maxRolloutEvents {
			return apierr.Invalid("models", "the rollout %q of %q is not in its place", r.GetName(), c.model)
		}
		if !RolloutOver(r) {
			for _, number := range []int32{r.GetCandidate(), r.GetBaseline()} {
				if _, err := s.version(ctx, c.tx, c.model, VersionKey{Number: number}); err != nil {
					return inField(err, "models")
				}
			}
			if active++; active > 1 || len(r.GetSteps()) == 0 || int(r.GetStep()) > len(r.GetSteps()) || r.GetStep() < 0 {
				return apierr.Invalid("models", "the rollout %q of %q is not over, and another one is neither, or its steps are none", r.GetName(), c.model)
			}
		}
		raw, err := encode(r)
		if err != nil {
			return err
		}
		err = c.exec(ctx, `INSERT INTO registry_rollouts (model, name, state, rollout, revision, create_time) VALUES ($1, $2, $3, $4, $5, $6)`,
			c.model, r.GetName(), int32(r.GetState()), raw, c.revision, micros(r.GetCreateTime().AsTime()))
		if err != nil {
			return err
		}
		for n, e := range a.GetEvents() {
			if int(e.GetNumber()) != n+1 {
				return apierr.Invalid("models", "an event of the rollout %q of %q is not in its place", r.GetName(), c.model)
			}
			event, err := encode(e)
			if err != nil {
				return err
			}
			err = c.exec(ctx, `INSERT INTO registry_rollout_events (model, rollout, number, event) VALUES ($1, $2, $3, $4)`,
				c.model, r.GetName(), e.GetNumber(), event)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// importWebhook brings in a webhook, which is not active and has no secret: it has to
// be given one before it can be.
func (s *Store) importWebhook(ctx context.Context, tx *sql.Tx, h *registryv1.Webhook, conflict registryv1.ImportConflict) (registryv1.ImportOutcome, error) {
	name := h.GetName()
	if !names.MatchString(name) {
		return 0, apierr.Invalid("models", "%q is not a webhook's name", name)
	}
	events, models, err := filters(h)
	if err != nil {
		return 0, fmt.Errorf("filters: %w", err)
	}
	there, err := s.webhook(ctx, tx, name)
	now := micros(s.opts.Clock.Now())
	switch {
	case apierr.ReasonOf(err) == apierr.NotFound:
		var count int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM registry_webhooks`).Scan(&count); err != nil {
			return 0, fmt.Errorf("count webhooks: %w", err)
		}
		if count >= MaxWebhooks {
			return 0, apierr.New(apierr.FailedPrecondition, "the registry would have more than %d webhooks", MaxWebhooks)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO registry_webhooks
			(name, url, secret, events, models, active, generation, pending, missed, create_time, update_time)
			VALUES ($1, $2, '', $3, $4, 0, 1, 0, 0, $5, $5)`, name, h.GetUrl(), events, models, now)
		if err != nil {
			return 0, fmt.Errorf("insert webhook: %w", err)
		}
		return registryv1.ImportOutcome_IMPORT_OUTCOME_CREATED, nil
	case err != nil:
		return 0, err
	case proto.Equal(plainWebhook(there), plainWebhook(h)):
		return registryv1.ImportOutcome_IMPORT_OUTCOME_UNCHANGED, nil
	}
	//exhaustive:ignore
	switch conflict {
	case registryv1.ImportConflict_IMPORT_CONFLICT_SKIP:
		return registryv1.ImportOutcome_IMPORT_OUTCOME_SKIPPED, nil
	case registryv1.ImportConflict_IMPORT_CONFLICT_REPLACE: // its secret stays, and whether it is active
		_, err := tx.ExecContext(ctx, `UPDATE registry_webhooks SET url = $1, events = $2, models = $3, generation = generation + 1, update_time = $4
			WHERE name = $5`, h.GetUrl(), events, models, now, name)
		if err != nil {
			return 0, fmt.Errorf("update webhook: %w", err)
		}
		return registryv1.ImportOutcome_IMPORT_OUTCOME_REPLACED, nil
	default:
		return 0, notTheArchives("webhook", name)
	}
}

func notTheArchives(what, name string) error {
	return apierr.New(apierr.AlreadyExists, "the %s %q is there already, and is not the archive's: nothing was imported", what, name).
		WithField("models").WithMetadata(what, name)
}
