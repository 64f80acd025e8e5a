package rollout

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// DefaultAlias is the alias that names the candidate in the end unless another is
// given: the one that a model's bare name follows without a split.
const DefaultAlias = "production"

// waitsFor is how long after its least duration a step without a deadline may
// still wait.
const waitsFor = 7 * 24 * time.Hour

// New reads a request; what it begins from is left to Begin. evidence says whether
// there is a judge: without one, plans that need evidence are refused.
func New(req *registryv1.CreateRolloutRequest, actor string, evidence bool) (*registryv1.Rollout, error) {
	if err := checkSteps(req, evidence); err != nil {
		return nil, err
	}
	r := &registryv1.Rollout{
		Model: req.GetModel(), Name: req.GetRollout(), Candidate: req.GetCandidate(), Baseline: req.GetBaseline(),
		Alias: req.GetAlias(), Steps: req.GetSteps(), Guardrails: req.GetGuardrails(), Labels: req.GetLabels(), Shadow: req.GetShadow(),
		Description: req.GetDescription(), CreatedBy: actor, State: registryv1.RolloutState_ROLLOUT_STATE_PENDING,
	}
	if r.GetAlias() == "" {
		r.Alias = DefaultAlias
	}
	if s := r.GetShadow(); s != nil && s.GetDeadline() == nil {
		s.Deadline = durationpb.New(s.GetMinDuration().AsDuration() + waitsFor)
	}
	for _, s := range r.GetSteps() {
		if s.GetDeadline() == nil {
			s.Deadline = durationpb.New(s.GetMinDuration().AsDuration() + waitsFor)
		}
	}
	return r, nil
}

func checkSteps(req *registryv1.CreateRolloutRequest, evidence bool) error {
	var bad []apierr.Violation
	add := func(field, format string, args ...any) {
		bad = append(bad, apierr.Violation{Field: field, Description: fmt.Sprintf(format, args...)})
	}
	var before int32
	for i, s := range req.GetSteps() {
		field := fmt.Sprintf("steps[%d]", i)
		if s.GetWeight() <= before {
			add(field+".weight", "must be more than that of the step before, %d", before)
		}
		before = s.GetWeight()
		checkStage(field, s, evidence, add)
	}
	if s := req.GetShadow(); s != nil {
		if least := s.GetMinDuration().AsDuration(); least < 0 || least > maxStage {
			add("shadow.min_duration", "must be from 0 to %v", maxStage)
		}
		checkStage("shadow", s, evidence, add)
		if !evidence {
			add("shadow", "cannot be judged: this registry counts no outcomes")
		}
	}
	if len(req.GetGuardrails()) > 0 && !evidence {
		add("guardrails", "cannot be held to: this registry counts no outcomes")
	}
	if len(bad) == 0 {
		return nil
	}
	return apierr.New(apierr.InvalidArgument, "%s: %s", bad[0].Field, bad[0].Description).WithViolations(bad...)
}

// maxStage is how long a stage may last at least.
const maxStage = 90 * 24 * time.Hour

// stage is a step, or the shadow before the first.
type stage interface {
	GetMinDuration() *durationpb.Duration
	GetMinRequests() int64
	GetDeadline() *durationpb.Duration
}

func checkStage(field string, s stage, evidence bool, add func(field, format string, args ...any)) {
	least := s.GetMinDuration().AsDuration()
	if s.GetMinDuration() != nil && !s.GetMinDuration().IsValid() {
		add(field+".min_duration", "is no duration")
	}
	if s.GetDeadline() != nil && !s.GetDeadline().IsValid() {
		add(field+".deadline", "is no duration")
	}
	if least == 0 && s.GetMinRequests() == 0 {
		add(field, "needs min_duration, min_requests, or both")
	}
	if s.GetDeadline() != nil && s.GetDeadline().AsDuration() <= least {
		add(field+".deadline", "must be more than min_duration")
	}
	if s.GetMinRequests() > 0 && !evidence {
		add(field+".min_requests", "cannot be waited for: this registry counts no outcomes")
	}
}

// Begin fills in what a new rollout begins from and returns its first event. It is
// refused unless exactly one version serves the model's bare name, and another one
// than the candidate.
func Begin(v store.RolloutView) (*registryv1.RolloutEvent, error) {
	r := v.Rollout
	serves, err := serving(v)
	if err != nil {
		return nil, err
	}
	switch {
	case r.GetBaseline() != 0 && r.GetBaseline() != serves:
		return nil, apierr.New(apierr.FailedPrecondition, "version %d serves %q, not version %d", serves, r.GetModel(), r.GetBaseline()).
			WithField("baseline")
	case serves == r.GetCandidate():
		return nil, apierr.New(apierr.FailedPrecondition, "version %d serves %q already", serves, r.GetModel()).
			WithField("candidate")
	}
	r.Baseline = serves
	r.SplitEtag, r.AliasEtag, r.PreviousArms = v.Split.GetEtag(), v.Alias.GetEtag(), v.Split.GetArms()
	words := fmt.Sprintf("version %d shall take over from version %d; steps: %d", r.GetCandidate(), r.GetBaseline(), len(r.GetSteps()))
	if r.GetShadow() != nil {
		words += ", after a shadow"
	}
	return &registryv1.RolloutEvent{Kind: registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_CREATED, Words: words}, nil
}

// serving returns the version that all requests for the bare name go to.
func serving(v store.RolloutView) (int32, error) {
	if v.Split == nil {
		if v.Production == nil {
			return 0, apierr.New(apierr.FailedPrecondition, "nothing serves %q yet: point its alias %q at a version first",
				v.Rollout.GetModel(), DefaultAlias).WithField("model")
		}
		return v.Production.GetVersion(), nil
	}
	var version int32
	for _, a := range v.Split.GetArms() {
		if a.GetWeight() == 0 {
			continue
		}
		if version != 0 && version != a.GetVersion() {
			return 0, apierr.New(apierr.FailedPrecondition, "a split divides %q between versions %d and %d: remove it first",
				v.Rollout.GetModel(), version, a.GetVersion()).WithField("model")
		}
		version = a.GetVersion()
	}
	return version, nil
}

// CandidateArm and BaselineArm name the arms of a rollout's split. The version is
// in the name, so that what was counted for one candidate is never another's.
func CandidateArm(r *registryv1.Rollout) string {
	return fmt.Sprintf("candidate-v%d", r.GetCandidate())
}

// BaselineArm names the other arm.
func BaselineArm(r *registryv1.Rollout) string { return fmt.Sprintf("baseline-v%d", r.GetBaseline()) }

// arms divide the traffic. The candidate's range begins at 0 and only grows, so
// that a step moves nobody back.
func arms(r *registryv1.Rollout, weight int32) []*registryv1.Arm {
	return []*registryv1.Arm{
		{Name: CandidateArm(r), Version: r.GetCandidate(), Weight: weight},
		{Name: BaselineArm(r), Version: r.GetBaseline(), Weight: store.WholeSplit - weight},
	}
}
