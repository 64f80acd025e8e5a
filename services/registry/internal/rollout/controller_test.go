package rollout_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/rollout"
)

const (
	pending    = registryv1.RolloutState_ROLLOUT_STATE_PENDING
	running    = registryv1.RolloutState_ROLLOUT_STATE_RUNNING
	paused     = registryv1.RolloutState_ROLLOUT_STATE_PAUSED
	succeeded  = registryv1.RolloutState_ROLLOUT_STATE_SUCCEEDED
	rolledBack = registryv1.RolloutState_ROLLOUT_STATE_ROLLED_BACK
	aborted    = registryv1.RolloutState_ROLLOUT_STATE_ABORTED
	failed     = registryv1.RolloutState_ROLLOUT_STATE_FAILED

	eventCreated    = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_CREATED
	eventStarted    = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_STARTED
	eventAdvanced   = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ADVANCED
	eventPaused     = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_PAUSED
	eventResumed    = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_RESUMED
	eventForced     = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_FORCED
	eventSucceeded  = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_SUCCEEDED
	eventRolledBack = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ROLLED_BACK
	eventAborted    = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ABORTED
	eventFailed     = registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_FAILED

	firstStep  = "2:10000 1:990000"
	secondStep = "2:250000 1:750000"
	thirdStep  = "2:1000000 1:0"
)

func weights(arms []*registryv1.Arm) string {
	list := make([]string, 0, len(arms))
	for _, a := range arms {
		list = append(list, fmt.Sprintf("%d:%d", a.GetVersion(), a.GetWeight()))
	}
	return strings.Join(list, " ")
}

func TestACandidateThatHoldsServesInTheEnd(t *testing.T) {
	r := newRig(t)
	r.create(nil)
	r.stands(pending, 0, "")
	r.says(eventCreated, "version 2 shall take over from version 1", "steps: 3")
	r.after(time.Second)
	r.stands(running, 1, firstStep)
	r.says(eventStarted, "step 1 of 3 begins: 1 % goes to version 2")
	salt, err := r.GetSplit(t.Context(), "m")
	check(t, err)

	r.judge.say(requests(100), nil)
	r.after(59 * time.Second)
	r.stands(running, 1, firstStep) // not long enough
	if q := r.judge.asked; q.Baseline != "baseline-v1" || q.Candidate != "candidate-v2" || q.MinRequests != 100 ||
		!q.Since.Equal(r.clock.Now().Add(-59*time.Second)) || q.Guardrails[0].Alpha != 0.05/3 {
		t.Errorf("asked %+v", q)
	}
	r.judge.say(requests(99), nil)
	r.after(time.Second)
	r.stands(running, 1, firstStep) // not enough
	r.judge.say(requests(0), errors.New("away"))
	r.after(time.Second)
	r.stands(running, 1, firstStep) // nobody knows
	r.judge.say(requests(100), nil)
	r.after(time.Second)
	r.stands(running, 2, secondStep)
	e := r.says(eventAdvanced, "step 1 of 3 held for 1m2s", "answered 100 requests", "baseline 900", "none of 1 guardrails", "step 2 of 3 begins: 25 %")
	if e.GetCandidateRequests() != 100 || e.GetBaselineRequests() != 900 || e.GetActor() != rollout.Actor || e.GetState() != running {
		t.Errorf("the event is %v", e)
	}
	r.after(time.Minute)
	r.stands(running, 3, thirdStep)
	if sp, err := r.GetSplit(t.Context(), "m"); err != nil || sp.GetSalt() != salt.GetSalt() {
		t.Errorf("the salt changed: %v, %v", sp, err)
	}
	r.judge.say(requests(1000), nil)
	r.after(time.Second)
	done := r.stands(succeeded, 3, "")
	r.says(eventSucceeded, `version 2 serves`, "split is removed")
	if r.production() != 2 || done.GetEndTime() == nil || done.GetStartTime() == nil || done.GetCreatedBy() != "acme/ana" {
		t.Errorf("production is %d of %v", r.production(), done)
	}
	before := len(r.events())
	r.judge.say(breach(), nil)
	r.after(time.Hour)
	if n := len(r.events()); n != before {
		t.Errorf("a rollout that is over has %d events more", n-before)
	}
}

func TestABrokenGuardrailRollsBackAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		arrange func(*rig)
		during  func(*rig)
		split   string
		words   string
	}{
		"by the alias":             {nil, nil, "", "the split is removed: version 1 serves"},
		"to the split from before": {func(r *rig) { r.setSplit("control", 1) }, nil, "1:1000000", "the split from before is back"},
		"though the alias was moved": {nil, func(r *rig) {
			_, err := r.SetAlias(t.Context(), "", "m", "production", 2, "*")
			check(t, err)
		}, "1:1000000", "no longer names it"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if tt.arrange != nil {
				tt.arrange(r)
			}
			r.create(nil)
			r.after(time.Second)
			r.stands(running, 1, firstStep)
			if tt.during != nil {
				tt.during(r)
			}
			r.judge.say(breach(), nil)
			r.after(time.Second)
			r.stands(rolledBack, 1, tt.split)
			e := r.says(eventRolledBack, "error_rate is 20 % beside 2 %", tt.words)
			if b := e.GetBreaches(); len(b) != 1 || b[0].GetCandidate() != 0.2 || b[0].GetBaseline() != 0.02 || b[0].GetBound() != 0.9 {
				t.Errorf("the breaches are %v", b)
			}
		})
	}
}

func (r *rig) setSplit(arm string, version int32) {
	r.t.Helper()
	_, err := r.SetSplit(r.t.Context(), "acme/bob", r.model, []*registryv1.Arm{{Name: arm, Version: version, Weight: 1_000_000}}, "*")
	check(r.t, err)
}

// When everything goes to the candidate, the steps before are what it is compared
// with.
func TestTheLastStepIsComparedWithThoseBefore(t *testing.T) {
	r := newRig(t)
	r.create(nil)
	r.after(time.Second)
	began := r.clock.Now()
	r.ask(rollout.Force(3))
	r.judge.say(requests(10), nil)
	r.after(time.Second)
	r.stands(running, 3, thirdStep)
	if !r.judge.asked.Since.Equal(began) {
		t.Errorf("asked since %v, want %v", r.judge.asked.Since, began)
	}
	r.judge.say(breach(), nil)
	r.after(time.Second)
	r.stands(rolledBack, 3, "")
}

func TestSomebodyElsesSplitPauses(t *testing.T) {
	for name, change := range map[string]func(*rig) (split, words string){
		"changed": func(r *rig) (string, string) {
			r.setSplit("mine", 3)
			return "3:1000000", "acme/bob changed the split, which now sends 100 % to version 3"
		},
		"removed": func(r *rig) (string, string) {
			check(r.t, r.DeleteSplit(r.t.Context(), "acme/bob", "m", "*"))
			return "", "removed the split"
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.create(nil)
			r.after(time.Second)
			split, words := change(r)
			r.judge.say(breach(), nil) // of arms that are no longer ours
			r.after(time.Second)
			p := r.stands(paused, 1, split)
			r.says(eventPaused, words)
			if p.GetPauseCause() != registryv1.RolloutPauseCause_ROLLOUT_PAUSE_CAUSE_SPLIT_CHANGED {
				t.Errorf("the cause is %v", p.GetPauseCause())
			}
			r.after(time.Hour)
			r.stands(paused, 1, split)

			r.judge.say(requests(5), nil)
			r.ask(rollout.Resume)
			got := r.stands(running, 1, firstStep)
			if !got.GetStepTime().AsTime().Equal(r.clock.Now()) {
				t.Error("the step did not begin anew")
			}
			r.after(time.Second)
			r.stands(running, 1, firstStep)
			split, _ = change(r)
			r.ask(rollout.Abort)
			r.stands(aborted, 1, split)
			r.says(eventAborted, "left as somebody else set it")
		})
	}
}

func TestASampleRatioMismatchPauses(t *testing.T) {
	r := newRig(t)
	r.create(nil)
	r.after(time.Second)
	a := breach()
	a.Mismatch = "of 900 subjects 500 fell into candidate-v2"
	r.judge.say(a, nil)
	r.after(time.Second)
	p := r.stands(paused, 1, firstStep)
	r.says(eventPaused, "nothing can be concluded", "of 900 subjects")
	if p.GetPauseCause() != registryv1.RolloutPauseCause_ROLLOUT_PAUSE_CAUSE_SAMPLE_RATIO {
		t.Errorf("the cause is %v", p.GetPauseCause())
	}
	r.judge.say(breach(), nil)
	r.after(time.Second)
	r.stands(paused, 1, firstStep)
}

func TestWantOfEvidenceFailsAtTheDeadline(t *testing.T) {
	r := newRig(t)
	r.create(nil)
	r.after(time.Second)
	r.judge.say(requests(40), nil)
	r.after(time.Hour - time.Second)
	r.stands(running, 1, firstStep)
	r.after(time.Second)
	r.stands(failed, 1, "")
	r.says(eventFailed, "step 1 of 3 took longer than 1h0m0s", "40 of 100 requests", "version 1 serves")
}

func TestAPausedCandidateIsStillHeldToItsGuardrails(t *testing.T) {
	r := newRig(t)
	r.create(nil)
	r.ask(rollout.Pause)
	r.after(time.Second)
	r.stands(paused, 0, "")
	r.ask(rollout.Resume)
	r.stands(pending, 0, "")
	r.after(time.Second)
	r.ask(rollout.Pause)
	r.judge.say(requests(1000), nil)
	r.after(time.Hour)
	r.stands(paused, 1, firstStep)
	if e := r.says(eventPaused); e.GetReason() != "because" || e.GetActor() != "acme/ana" {
		t.Errorf("the event is %v", e)
	}
	r.judge.say(breach(), nil)
	r.after(time.Second)
	r.stands(rolledBack, 1, "")
}

func TestForce(t *testing.T) {
	r := newRig(t)
	r.create(nil)
	r.ask(rollout.Force(0))
	r.stands(running, 1, firstStep)
	r.after(time.Second)
	r.stands(running, 1, firstStep)
	r.setSplit("mine", 3)
	r.after(time.Second)
	r.ask(rollout.Force(2))
	r.stands(running, 2, secondStep)
	r.says(eventForced, "step 2 of 3")
	r.after(time.Second)
	r.stands(running, 2, secondStep)
	for _, step := range []int32{1, 2, 5} {
		_, err := r.MoveRollout(t.Context(), "", "m", "r", nil, rollout.Asked("*", "", rollout.Force(step)))
		wantReason(t, err, apierr.FailedPrecondition, "step")
	}
	_, err := r.SetAlias(t.Context(), "", "m", "production", 3, "*")
	check(t, err)
	r.ask(rollout.Force(4))
	r.stands(succeeded, 2, "")
	if r.production() != 2 {
		t.Errorf("production is %d", r.production())
	}
	_, err = r.MoveRollout(t.Context(), "", "m", "r", nil, rollout.Asked("*", "", rollout.Abort))
	wantReason(t, err, apierr.FailedPrecondition, "rollout")
}

func TestSomebodyElsesAliasPausesAtTheEnd(t *testing.T) {
	r := newRig(t)
	r.create(func(req *registryv1.CreateRolloutRequest) { req.Steps = req.Steps[1:2] })
	r.after(time.Second)
	_, err := r.SetAlias(t.Context(), "", "m", "production", 3, "*")
	check(t, err)
	r.judge.say(requests(1000), nil)
	r.after(time.Minute)
	r.stands(paused, 1, secondStep)
	r.says(eventPaused, `pointed the alias "production" at version 3`)
	r.ask(rollout.Resume)
	r.after(time.Minute)
	r.stands(succeeded, 1, "")
	if r.production() != 2 {
		t.Errorf("production is %d", r.production())
	}
}

func TestAnotherAliasKeepsTheSplit(t *testing.T) {
	r := newRig(t)
	r.create(func(req *registryv1.CreateRolloutRequest) { req.Alias, req.Steps = "stable", req.Steps[1:2] })
	r.after(time.Second)
	r.judge.say(requests(1000), nil)
	r.after(time.Minute)
	r.stands(succeeded, 1, "2:1000000")
	if a, err := r.GetAlias(t.Context(), "m", "stable"); err != nil || a.GetVersion() != 2 || r.production() != 1 {
		t.Errorf("got %v, %v, and production %d", a, err, r.production())
	}
}

func TestWhatServesIsChangedBeforeItBegins(t *testing.T) {
	r := newRig(t)
	r.create(nil)
	r.setSplit("mine", 3)
	r.after(time.Second)
	r.stands(failed, 0, "3:1000000")
	r.says(eventFailed, "changed before the rollout began")
}

// Whoever read an older state is refused, and told the new one.
func TestEtagsPartPeopleAndTheController(t *testing.T) {
	r := newRig(t)
	made := r.create(nil)
	r.after(time.Second) // the controller was faster
	_, err := r.MoveRollout(t.Context(), "", "m", "r", nil, rollout.Asked(made.GetEtag(), "", rollout.Abort))
	wantReason(t, err, apierr.Conflict, "etag")
	now := r.stands(running, 1, firstStep)
	if got := apierr.From(err).Metadata["etag"]; got != now.GetEtag() {
		t.Errorf("told the etag %q, want %q", got, now.GetEtag())
	}
	_, err = r.MoveRollout(t.Context(), "", "m", "r", nil, rollout.Asked(now.GetEtag(), "", rollout.Abort))
	check(t, err)
	r.stands(aborted, 1, "")
}

func wantReason(t *testing.T, err error, reason apierr.Reason, field string) {
	t.Helper()
	if e := apierr.From(err); e == nil || e.Reason != reason || e.Field != field {
		t.Fatalf("got %v, want %s of field %q", err, reason, field)
	}
}

func TestProgress(t *testing.T) {
	r := newRig(t)
	r.create(nil)
	r.after(time.Second)
	r.judge.say(requests(40), nil)
	r.clock.Advance(30 * time.Second)
	v, err := r.RolloutView(t.Context(), "m", "r")
	check(t, err)
	seen, err := rollout.Look(t.Context(), r.judge, v.Rollout)
	check(t, err)
	elapsed, words, ok := rollout.Progress(v, seen)
	if !ok || elapsed != 30*time.Second || words != "30s of 1m0s have passed, the candidate has answered 40 of 100 requests" {
		t.Errorf("%v %q %v", elapsed, words, ok)
	}
	if _, err := rollout.Look(t.Context(), nil, v.Rollout); err != nil {
		t.Error(err)
	}
}
