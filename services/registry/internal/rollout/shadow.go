package rollout

import (
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/evidence"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// A rollout that begins with a shadow is running at step 0 meanwhile. Inference sees
// that in the model's state and gives the candidate its copies; nothing else changes.

// shadowing reports whether the candidate gets copies now, or would if the rollout
// were not paused.
func shadowing(r *registryv1.Rollout) bool {
	return r.GetShadow() != nil && r.GetStep() == 0 && r.GetStartTime() != nil
}

// ShadowArm names what copies are counted for.
func ShadowArm(r *registryv1.Rollout) string { return fmt.Sprintf("shadow-v%d", r.GetCandidate()) }

// shadowStage is the shadow as a stage.
func shadowStage(r *registryv1.Rollout) *registryv1.RolloutStep {
	s := r.GetShadow()
	return &registryv1.RolloutStep{MinDuration: s.GetMinDuration(), MinRequests: s.GetMinRequests(), Deadline: s.GetDeadline()}
}

// beginShadow has the candidate get copies.
func beginShadow(v store.RolloutView) *store.RolloutMove {
	m := move(v, running, eventStarted, "")
	r := m.Rollout
	r.StepTime, r.StartTime = timestamppb.New(v.Now), timestamppb.New(v.Now)
	m.Event.Words = fmt.Sprintf("the shadow begins: version %d gets a copy of %s of the requests, whose answers nobody sees",
		r.GetCandidate(), percent(r.GetShadow().GetWeight()))
	return m
}

// shadowQuestion compares the copies with what was answered meanwhile.
func shadowQuestion(r *registryv1.Rollout, q evidence.Question) evidence.Question {
	q.Candidate, q.Baseline = ShadowArm(r), ""
	for _, a := range r.GetPreviousArms() {
		if a.GetWeight() > 0 {
			q.Baseline = a.GetName()
			break
		}
	}
	q.BaselineVersion = r.GetBaseline()
	return q
}

// stageWords names the present stage.
func stageWords(r *registryv1.Rollout) string {
	if r.GetStep() == 0 {
		return "the shadow"
	}
	return fmt.Sprintf("step %d of %d", r.GetStep(), len(r.GetSteps()))
}
