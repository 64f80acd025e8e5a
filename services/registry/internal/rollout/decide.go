package rollout

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/evidence"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// The states and events by shorter names.
const (
	pending    = registryv1.RolloutState_ROLLOUT_STATE_PENDING
	running    = registryv1.RolloutState_ROLLOUT_STATE_RUNNING
	paused     = registryv1.RolloutState_ROLLOUT_STATE_PAUSED
	succeeded  = registryv1.RolloutState_ROLLOUT_STATE_SUCCEEDED
	rolledBack = registryv1.RolloutState_ROLLOUT_STATE_ROLLED_BACK
	aborted    = registryv1.RolloutState_ROLLOUT_STATE_ABORTED
	failed     = registryv1.RolloutState_ROLLOUT_STATE_FAILED

	eventStarted    = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_STARTED
	eventAdvanced   = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ADVANCED
	eventPaused     = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_PAUSED
	eventResumed    = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_RESUMED
	eventForced     = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_FORCED
	eventSucceeded  = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_SUCCEEDED
	eventRolledBack = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ROLLED_BACK
	eventAborted    = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ABORTED
	eventFailed     = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_FAILED

	requested    = registryv1.RolloutPauseCause_ROLLOUT_PAUSE_CAUSE_REQUESTED
	splitChanged = registryv1.RolloutPauseCause_ROLLOUT_PAUSE_CAUSE_SPLIT_CHANGED
	aliasChanged = registryv1.RolloutPauseCause_ROLLOUT_PAUSE_CAUSE_ALIAS_CHANGED
	sampleRatio  = registryv1.RolloutPauseCause_ROLLOUT_PAUSE_CAUSE_SAMPLE_RATIO
)

// Seen is what was counted of a rollout's present step.
type Seen struct {
	// Known is false when nobody counts, or who does gave no answer.
	Known               bool
	Baseline, Candidate int64
	Breaches            []evidence.Breach
	// Mismatch says that subjects do not fall where they should.
	Mismatch string
}

// Decide returns the next move of a rollout by itself; nil when it waits. It
// depends on nothing but its arguments.
func Decide(v store.RolloutView, seen Seen) *store.RolloutMove {
	r := v.Rollout
	switch r.GetState() {
	case pending:
		return start(v)
	case running:
		return judge(v, seen)
	case paused:
		// Traffic goes on, so what it must hold to does as well; but not where the
		// split is somebody else's or where nothing can be concluded.
		if r.GetPauseCause() == requested && r.GetStep() > 0 && ours(v) && seen.Mismatch == "" && len(seen.Breaches) > 0 {
			return rollBack(v, seen)
		}
		return nil
	default:
		return nil
	}
}

// ours reports whether the split is as the rollout left it.
func ours(v store.RolloutView) bool { return v.Split.GetEtag() == v.Rollout.GetSplitEtag() }

func start(v store.RolloutView) *store.RolloutMove {
	if a := v.Approval; a != nil {
		word := refusals()[a.GetState()]
		if word == "" {
			return nil // it waits
		}
		m := move(v, failed, eventFailed, fmt.Sprintf("the alias change %s was %s; no traffic had been moved", a.GetId(), word))
		m.Rollout.EndTime = timestamppb.New(v.Now)
		return m
	}
	if !ours(v) || v.Alias.GetEtag() != v.Rollout.GetAliasEtag() {
		m := move(v, failed, eventFailed, "what serves the model was changed before the rollout began: create another one")
		m.Rollout.EndTime = timestamppb.New(v.Now)
		return m
	}
	if v.Rollout.GetShadow() != nil {
		return beginShadow(v)
	}
	m := enter(v, 1, eventStarted, "")
	m.Rollout.StartTime = m.Rollout.GetStepTime()
	return m
}

// refusals are the states of an alias change that will not be approved.
func refusals() map[registryv1.AliasChangeState]string {
	return map[registryv1.AliasChangeState]string{
		registryv1.AliasChangeState_ALIAS_CHANGE_STATE_REJECTED:   "rejected",
		registryv1.AliasChangeState_ALIAS_CHANGE_STATE_EXPIRED:    "not approved in time",
		registryv1.AliasChangeState_ALIAS_CHANGE_STATE_SUPERSEDED: "superseded by another",
	}
}

func judge(v store.RolloutView, seen Seen) *store.RolloutMove {
	r := v.Rollout
	switch {
	case !ours(v):
		return pause(v, seen, splitChanged, splitWords(v))
	case shadowing(r) && v.Alias.GetEtag() != r.GetAliasEtag():
		return pause(v, seen, aliasChanged, aliasWords(v))
	case seen.Mismatch != "":
		return pause(v, seen, sampleRatio, "nothing can be concluded: "+seen.Mismatch)
	case len(seen.Breaches) > 0:
		return rollBack(v, seen)
	}
	held, waits := holds(v, seen)
	switch {
	case held && int(r.GetStep()) < len(r.GetSteps()):
		return noted(enter(v, r.GetStep()+1, eventAdvanced, stepHeld(v, seen)), seen)
	case held:
		return noted(finish(v, seen, stepHeld(v, seen)), seen)
	case elapsed(v) >= step(r).GetDeadline().AsDuration():
		m := back(v, failed, eventFailed, fmt.Sprintf("%s took longer than %v: %s", stageWords(r), step(r).GetDeadline().AsDuration(), waits))
		return noted(m, seen)
	default:
		return nil
	}
}

// holds reports whether the present step is done, or what it waits for.
func holds(v store.RolloutView, seen Seen) (held bool, waits string) {
	s := step(v.Rollout)
	var missing []string
	if e, least := elapsed(v), s.GetMinDuration().AsDuration(); e < least {
		missing = append(missing, fmt.Sprintf("%v of %v have passed", e.Truncate(time.Second), least))
	}
	switch {
	case !seen.Known && (s.GetMinRequests() > 0 || len(v.Rollout.GetGuardrails()) > 0):
		missing = append(missing, "nobody says what the requests came to")
	case seen.Candidate < s.GetMinRequests():
		missing = append(missing, fmt.Sprintf("the candidate has answered %d of %d requests", seen.Candidate, s.GetMinRequests()))
	}
	return len(missing) == 0, strings.Join(missing, ", ")
}

func step(r *registryv1.Rollout) *registryv1.RolloutStep {
	if shadowing(r) {
		return shadowStage(r)
	}
	if n := int(r.GetStep()); n >= 1 && n <= len(r.GetSteps()) {
		return r.GetSteps()[n-1]
	}
	return nil
}

func elapsed(v store.RolloutView) time.Duration {
	return max(0, v.Now.Sub(v.Rollout.GetStepTime().AsTime()))
}

// move is a move to another state that leaves traffic as it is.
func move(v store.RolloutView, state registryv1.RolloutState, kind registryv1.RolloutEventKind, words string) *store.RolloutMove {
	r := proto.CloneOf(v.Rollout)
	r.State, r.PauseCause = state, 0
	return &store.RolloutMove{Rollout: r, Event: &registryv1.RolloutEvent{Kind: kind, Words: words}}
}

// enter begins a step, also the present one anew.
func enter(v store.RolloutView, number int32, kind registryv1.RolloutEventKind, words string) *store.RolloutMove {
	m := move(v, running, kind, words)
	m.Rollout.Step, m.Rollout.StepTime = number, timestamppb.New(v.Now)
	weight := step(m.Rollout).GetWeight()
	m.Arms = arms(m.Rollout, weight)
	m.Event.Words = join(words, fmt.Sprintf("step %d of %d begins: %s goes to version %d",
		number, len(m.Rollout.GetSteps()), percent(weight), m.Rollout.GetCandidate()))
	return m
}

// finish has the candidate serve.
func finish(v store.RolloutView, seen Seen, words string) *store.RolloutMove {
	if v.Alias.GetEtag() != v.Rollout.GetAliasEtag() && v.Alias.GetVersion() != v.Rollout.GetCandidate() {
		return pause(v, seen, aliasChanged, aliasWords(v))
	}
	m := move(v, succeeded, eventSucceeded, "")
	r := m.Rollout
	r.EndTime, m.SetAlias = timestamppb.New(v.Now), true
	what := fmt.Sprintf("version %d serves: the alias %q names it", r.GetCandidate(), r.GetAlias())
	if r.GetAlias() == DefaultAlias {
		m.RemoveSplit = true
		what += " and the split is removed"
	} else {
		m.Arms = only(CandidateArm(r), r.GetCandidate())
		what += " and the split sends everything to it"
	}
	m.Event.Words = join(words, what)
	return m
}

func rollBack(v store.RolloutView, seen Seen) *store.RolloutMove {
	words := make([]string, 0, len(seen.Breaches))
	for _, b := range seen.Breaches {
		words = append(words, b.Words)
	}
	m := noted(back(v, rolledBack, eventRolledBack, strings.Join(words, "; ")), seen)
	for _, b := range seen.Breaches {
		m.Event.Breaches = append(m.Event.Breaches, &registryv1.RolloutBreach{
			Guardrail: &registryv1.RolloutGuardrail{
				Metric: b.Guardrail.Metric, MaxRelative: b.Guardrail.MaxRelative, Max: b.Guardrail.Max, Alpha: b.Guardrail.Alpha,
			},
			Baseline: b.Baseline, Candidate: b.Candidate, Bound: b.Bound, Words: b.Words,
		})
	}
	return m
}

// back ends a rollout and has the baseline serve, unless the split is somebody
// else's.
func back(v store.RolloutView, state registryv1.RolloutState, kind registryv1.RolloutEventKind, words string) *store.RolloutMove {
	m := move(v, state, kind, words)
	r := m.Rollout
	r.EndTime = timestamppb.New(v.Now)
	switch {
	case r.GetStep() == 0:
		m.Event.Words = join(words, "no traffic had been moved")
	case !ours(v):
		m.Event.Words = join(words, "the split is left as somebody else set it")
	case len(r.GetPreviousArms()) > 0:
		m.Arms = r.GetPreviousArms()
		m.Event.Words = join(words, fmt.Sprintf("the split from before is back: version %d serves", r.GetBaseline()))
	case v.Production.GetVersion() == r.GetBaseline():
		m.RemoveSplit = true
		m.Event.Words = join(words, fmt.Sprintf("the split is removed: version %d serves", r.GetBaseline()))
	default: // without a split the bare name would follow an alias that was moved
		m.Arms = only(BaselineArm(r), r.GetBaseline())
		m.Event.Words = join(words, fmt.Sprintf("the split sends everything to version %d, since the alias %q no longer names it",
			r.GetBaseline(), DefaultAlias))
	}
	return m
}

func only(name string, version int32) []*registryv1.Arm {
	return []*registryv1.Arm{{Name: name, Version: version, Weight: store.WholeSplit}}
}

func pause(v store.RolloutView, seen Seen, cause registryv1.RolloutPauseCause, words string) *store.RolloutMove {
	m := noted(move(v, paused, eventPaused, words), seen)
	m.Rollout.PauseCause = cause
	return m
}

// noted adds the figures that a move rests on.
func noted(m *store.RolloutMove, seen Seen) *store.RolloutMove {
	m.Event.BaselineRequests, m.Event.CandidateRequests = seen.Baseline, seen.Candidate
	return m
}
