package rollout_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/evidence"
	"github.com/poterne/poterne/services/registry/internal/rollout"
)

func shadowed(q *registryv1.CreateRolloutRequest) {
	q.Shadow = &registryv1.RolloutShadow{Weight: 100_000, MinDuration: durationpb.New(time.Minute), MinRequests: 50, Deadline: durationpb.New(time.Hour)}
}

// copies is what is answered of the shadow.
func copies(n int64) evidence.Judgement {
	return evidence.Judgement{Requests: map[string]int64{"shadow-v2": n, "": 10 * n}}
}

// A rollout that begins with a shadow moves no traffic until the copies have shown
// that the candidate holds.
func TestAShadowComesFirst(t *testing.T) {
	r := newRig(t)
	r.create(shadowed)
	r.says(eventCreated, "steps: 3, after a shadow")
	r.after(time.Second)
	r.stands(running, 0, "")
	r.says(eventStarted, "the shadow begins: version 2 gets a copy of 10 % of the requests")
	r.judge.say(copies(49), nil)
	r.after(time.Minute)
	got := r.stands(running, 0, "")
	v, err := r.RolloutView(t.Context(), "m", "r")
	check(t, err)
	if _, words, _ := rollout.Progress(v, rollout.Seen{Known: true, Candidate: 49}); !strings.Contains(words, "answered 49 of 50") {
		t.Errorf("it says that %s", words)
	}
	asked := r.judge.asked
	if asked.Candidate != "shadow-v2" || asked.Baseline != "" || asked.BaselineVersion != 1 || !asked.Since.Equal(got.GetStepTime().AsTime()) ||
		asked.Guardrails[0].Alpha != 0.05/4 {
		t.Errorf("asked for %+v", asked)
	}
	r.judge.say(copies(50), nil)
	r.after(time.Second)
	r.stands(running, 1, firstStep)
	e := r.says(eventAdvanced, "the shadow held for 1m1s, the candidate answered 50 requests", "step 1 of 3 begins")
	if e.GetCandidateRequests() != 50 || e.GetBaselineRequests() != 500 {
		t.Errorf("the figures are %v", e)
	}
}

// The copies are held to the guardrails, by the deadline, and to what served when the
// rollout was created.
func TestAShadowThatDoesNotHold(t *testing.T) {
	first := newRig(t)
	tests := map[string]struct {
		do    func(r *rig)
		state registryv1.RolloutState
		words string
	}{
		"broken": {func(r *rig) {
			a := copies(40)
			a.Breaches = breach().Breaches
			r.judge.say(a, nil)
		}, rolledBack, "error_rate is 20 % beside 2 %; no traffic had been moved"},
		"late": {func(r *rig) {
			r.judge.say(copies(3), nil)
			r.clock.Advance(time.Hour)
		}, failed, "the shadow took longer than 1h0m0s: the candidate has answered 3 of 50"},
		"moved": {func(r *rig) {
			_, err := r.SetAlias(r.t.Context(), "acme/bo", r.model, "production", 3, "*")
			check(r.t, err)
		}, paused, "pointed the alias \"production\" at version 3"},
		"aborted": {func(r *rig) { r.ask(rollout.Abort) }, aborted, "no traffic had been moved"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := first.again(t, name)
			r.create(shadowed)
			r.judge.say(copies(0), nil)
			r.after(time.Second)
			r.after(10 * time.Second) // the lease was another test's
			r.stands(running, 0, "")
			tt.do(r)
			r.after(time.Second)
			r.after(time.Second)
			if got := r.stands(tt.state, 0, ""); !strings.Contains(got.GetLastEvent().GetWords(), tt.words) {
				t.Errorf("it says %v", got.GetLastEvent())
			}
		})
	}
}

// Paused and resumed, the shadow begins anew; forced, the first step does.
func TestAShadowIsPausedAndForced(t *testing.T) {
	r := newRig(t)
	r.create(shadowed)
	r.after(time.Second)
	r.ask(rollout.Pause)
	r.judge.say(copies(1000), nil)
	r.after(time.Hour)
	r.stands(paused, 0, "")
	r.ask(rollout.Resume)
	r.after(time.Second)
	r.stands(running, 0, "")
	r.after(time.Second)
	r.stands(running, 0, "")
	r.ask(rollout.Force(0))
	r.stands(running, 1, firstStep)
}
