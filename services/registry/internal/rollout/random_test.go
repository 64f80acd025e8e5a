package rollout_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/evidence"
	"github.com/poterne/poterne/services/registry/internal/rollout"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// model is what must hold of a rollout, whatever happens to it and whoever acts.
type model struct {
	*rig
	random *rand.Rand
	events []*registryv1.RolloutEvent
	last   *registryv1.Rollout
	// foreign says that somebody else has changed the split since a move.
	foreign bool
}

// leads says which states an event may come in.
func leads() map[registryv1.RolloutEventKind][]registryv1.RolloutState {
	return map[registryv1.RolloutEventKind][]registryv1.RolloutState{
		eventStarted:    {pending},
		eventAdvanced:   {running},
		eventPaused:     {pending, running},
		eventResumed:    {paused},
		eventForced:     {pending, running, paused},
		eventSucceeded:  {running, pending, paused},
		eventRolledBack: {running, paused},
		eventAborted:    {pending, running, paused},
		eventFailed:     {pending, running},
	}
}

// judgement makes one at random.
func (m *model) judgement() {
	switch m.random.IntN(24) {
	case 0:
		m.judge.say(breach(), nil)
	case 1:
		a := requests(5000)
		a.Mismatch = "of 9 subjects 8"
		m.judge.say(a, nil)
	case 2:
		m.judge.say(evidence.Judgement{}, errors.New("away"))
	case 3:
		m.judge.say(requests(50), nil)
	default:
		m.judge.say(requests(5000), nil)
	}
}

// somebody asks for something at random.
func (m *model) somebody() {
	t := m.t
	t.Helper()
	do := []rollout.Mover{rollout.Pause, rollout.Resume, rollout.Resume, rollout.Force(0), rollout.Force(int32(m.random.IntN(5))), rollout.Abort}
	pick := m.random.IntN(len(do)*4 - 3) // to abort is rarer
	mover := do[min(pick/4, len(do)-1)]
	etag := store.AnyEtag
	if m.random.IntN(3) == 0 {
		etag = m.last.GetEtag()
	}
	_, err := m.MoveRollout(t.Context(), "acme/ana", m.model, "r", nil, rollout.Asked(etag, "", mover))
	if reason := apierr.ReasonOf(err); err != nil && reason != apierr.FailedPrecondition {
		t.Fatal(err)
	}
}

// meddle changes the split behind the rollout's back.
func (m *model) meddle() {
	switch {
	case m.random.IntN(2) == 0:
		m.setSplit("mine", 3)
	case m.split() != "":
		check(m.t, m.DeleteSplit(m.t.Context(), "acme/bob", m.model, "*"))
	default:
		return
	}
	m.foreign = true
}

// verify compares what is there with what was there.
func (m *model) verify() {
	t := m.t
	t.Helper()
	now, err := m.GetRollout(t.Context(), m.model, "r")
	check(t, err)
	all := m.rig.events()
	if len(all)-len(m.events) > 1 {
		t.Fatalf("%d events at once", len(all)-len(m.events))
	}
	for i, e := range m.events {
		if all[i].GetKind() != e.GetKind() || !all[i].GetTime().AsTime().Equal(e.GetTime().AsTime()) {
			t.Fatalf("event %d was %v and is %v", i+1, e, all[i])
		}
	}
	if len(all) == len(m.events) {
		if now.GetEtag() != m.last.GetEtag() {
			t.Fatalf("changed without an event: %v, %v", m.last, now)
		}
		return
	}
	e, old := all[len(all)-1], m.last
	m.events, m.last = all, now
	if !slices.Contains(leads()[e.GetKind()], old.GetState()) {
		t.Fatalf("%v came in the state %v", e, old.GetState())
	}
	m.verifyStep(e, old)
	if now.GetSplitEtag() != old.GetSplitEtag() || e.GetKind() == eventResumed || e.GetKind() == eventForced {
		m.foreign = false
	}
	m.verifySplit(e, now)
}

func (m *model) verifyStep(e *registryv1.RolloutEvent, old *registryv1.Rollout) {
	t := m.t
	t.Helper()
	lasted := e.GetTime().AsTime().Sub(old.GetStepTime().AsTime())
	byItself := e.GetActor() == rollout.Actor
	begins := []registryv1.RolloutEventKind{eventStarted, eventAdvanced, eventResumed, eventForced}
	if slices.Contains(begins, e.GetKind()) && m.last.GetState() == running && !m.last.GetStepTime().AsTime().Equal(e.GetTime().AsTime()) {
		t.Fatalf("the step did not begin with %v", e)
	}
	switch e.GetKind() {
	case eventStarted, eventAdvanced:
		if e.GetStep() != old.GetStep()+1 || !byItself {
			t.Fatalf("%v after step %d", e, old.GetStep())
		}
	case eventForced:
		if e.GetStep() <= old.GetStep() || byItself {
			t.Fatalf("%v after step %d", e, old.GetStep())
		}
	default:
		if e.GetStep() != old.GetStep() {
			t.Fatalf("%v after step %d", e, old.GetStep())
		}
	}
	if byItself && (e.GetKind() == eventAdvanced || e.GetKind() == eventSucceeded) {
		step := old.GetSteps()[old.GetStep()-1]
		if lasted < step.GetMinDuration().AsDuration() || e.GetCandidateRequests() < step.GetMinRequests() || m.foreign {
			t.Fatalf("%v after %v of a step of %v", e, lasted, step)
		}
	}
	if e.GetKind() == eventRolledBack && len(e.GetBreaches()) == 0 {
		t.Fatalf("rolled back for nothing: %v", e)
	}
}

func (m *model) verifySplit(e *registryv1.RolloutEvent, now *registryv1.Rollout) {
	t := m.t
	t.Helper()
	split := m.split()
	switch {
	case m.foreign:
		if split != "" && split != "3:1000000" {
			t.Fatalf("somebody else's split became %q by %v", split, e)
		}
	case now.GetState() == running:
		if want := []string{firstStep, secondStep, thirdStep}[now.GetStep()-1]; split != want {
			t.Fatalf("the split is %q at step %d", split, now.GetStep())
		}
	case store.RolloutOver(now):
		if split != "" {
			t.Fatalf("the split %q is left by %v", split, e)
		}
		if served := m.production(); (served == 2) != (now.GetState() == succeeded) {
			t.Fatalf("version %d serves after %v", served, e)
		}
	}
}

// Whatever happens: replicas that come, go, and act on a lease that they lost,
// people, others who change the split, and answers of all kinds.
func TestRandomRollouts(t *testing.T) {
	ends := make(map[registryv1.RolloutState]int)
	base := newRig(t)
	for seed := range uint64(8) {
		m := &model{rig: base.again(t, fmt.Sprintf("m%d", seed)), random: rand.New(rand.NewPCG(seed, 7))}
		m.last = m.create(nil)
		m.events = m.rig.events()
		replicas := []*rollout.Controller{m.controller, m.replica("second"), m.replica("third")}
		for range 60 {
			switch m.random.IntN(10) {
			case 0:
				if m.random.IntN(2) == 0 {
					m.somebody()
				}
			case 1:
				if m.random.IntN(3) == 0 {
					m.meddle()
				}
			case 2: // one that is killed
				replicas[m.random.IntN(len(replicas))] = m.replica("new")
			default:
				m.judgement()
				m.clock.Advance(time.Duration(m.random.IntN(40)) * time.Second)
				check(t, ignoreLost(replicas[m.random.IntN(len(replicas))].Evaluate(t.Context())))
			}
			m.verify()
		}
		ends[m.last.GetState()]++
		if !store.RolloutOver(m.last) {
			m.ask(rollout.Abort) // the next one is alone
		}
	}
	t.Logf("they ended as %v", ends)
	if len(ends) < 3 {
		t.Errorf("the operations reach only %v", ends)
	}
}

// ignoreLost leaves out that a replica found itself without the lease.
func ignoreLost(err error) error {
	if e := apierr.From(err); e != nil && e.Reason == apierr.Conflict && e.Field == "lease" {
		return nil
	}
	return err
}
