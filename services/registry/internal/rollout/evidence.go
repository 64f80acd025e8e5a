package rollout

import (
	"context"
	"time"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/evidence"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Judge says what can be concluded about a candidate.
type Judge interface {
	Judge(ctx context.Context, q evidence.Question) (evidence.Judgement, error)
}

// defaultAlpha is the false-alarm rate of a guardrail that says none.
const defaultAlpha = 0.05

// Look asks j what was seen in a rollout's present step; j may be nil.
func Look(ctx context.Context, j Judge, r *registryv1.Rollout) (Seen, error) {
	if j == nil || step(r) == nil {
		return Seen{}, nil
	}
	q := question(r)
	answer, err := j.Judge(ctx, q)
	if err != nil {
		return Seen{}, err
	}
	seen := Seen{
		Known: true, Baseline: answer.Requests[q.Baseline], Candidate: answer.Requests[q.Candidate],
		Breaches: answer.Breaches, Mismatch: answer.Mismatch,
	}
	if step(r).GetWeight() < store.WholeSplit || len(q.Guardrails) == 0 || seen.Mismatch != "" {
		return seen, nil
	}
	// The baseline answers nothing any more: what it answered in the steps before
	// is all there is to compare with.
	q.Since = r.GetStartTime().AsTime()
	if answer, err = j.Judge(ctx, q); err != nil {
		return Seen{}, err
	}
	seen.Breaches = answer.Breaches
	return seen, nil
}

// question asks about the present step alone: shares differ from step to step, and
// where error rates differ from hour to hour, sums over several steps would compare
// other hours of the candidate than of the baseline (Simpson's paradox). Each step
// spends an equal part of the false alarms (Bonferroni).
func question(r *registryv1.Rollout) evidence.Question {
	q := evidence.Question{
		Model: r.GetModel(), Baseline: BaselineArm(r), Candidate: CandidateArm(r),
		Since: r.GetStepTime().AsTime(), MinRequests: step(r).GetMinRequests(),
	}
	stages := len(r.GetSteps())
	if r.GetShadow() != nil {
		stages++
	}
	for _, g := range r.GetGuardrails() {
		alpha := g.GetAlpha()
		if alpha == 0 {
			alpha = defaultAlpha
		}
		q.Guardrails = append(q.Guardrails, evidence.Guardrail{
			Metric: g.GetMetric(), MaxRelative: g.GetMaxRelative(), Max: g.GetMax(), Alpha: alpha / float64(stages),
		})
	}
	if shadowing(r) {
		return shadowQuestion(r, q)
	}
	return q
}

// lookedAt reports whether a move may rest on what was seen of r: it has to be the
// state that was looked at.
func lookedAt(seen *registryv1.Rollout, v store.RolloutView) bool {
	return seen.GetEtag() == v.Rollout.GetEtag()
}

// lookTimeout bounds one question: whoever does not answer has nothing to say.
const lookTimeout = 5 * time.Second
