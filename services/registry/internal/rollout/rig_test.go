package rollout_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/evidence"
	"github.com/poterne/poterne/services/registry/internal/rollout"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// judge answers what the test says, and remembers what it was asked last.
type judge struct {
	mu     sync.Mutex
	answer evidence.Judgement
	err    error
	asked  evidence.Question
}

func (j *judge) Judge(_ context.Context, q evidence.Question) (evidence.Judgement, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = q
	return j.answer, j.err
}

func (j *judge) say(a evidence.Judgement, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.answer, j.err = a, err
}

// requests is a judgement without anything to object to.
func requests(candidate int64) evidence.Judgement {
	return evidence.Judgement{Requests: map[string]int64{"candidate-v2": candidate, "baseline-v1": 9 * candidate}}
}

func breach() evidence.Judgement {
	a := requests(70)
	a.Breaches = []evidence.Breach{{
		Guardrail: evidence.Guardrail{Metric: "error_rate", MaxRelative: 0.05}, Baseline: 0.02, Candidate: 0.2, Bound: 0.9,
		Words: "error_rate is 20 % beside 2 %",
	}}
	return a
}

// rig is a model "m" whose alias production names version 1, and a controller.
type rig struct {
	*store.Store
	t          *testing.T
	clock      *clock.Fake
	judge      *judge
	controller *rollout.Controller
	model      string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	c := clock.NewFake(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	r := &rig{t: t, clock: c, judge: new(judge), model: "m", Store: storetest.Open(t, storetest.SQLite(t), store.Options{Clock: c})}
	fill(t, r.Store, "m")
	r.controller = r.replica("first")
	return r
}

// again is a rig with another model on the same store, which is quicker.
func (r *rig) again(t *testing.T, model string) *rig {
	t.Helper()
	fill(t, r.Store, model)
	out := &rig{t: t, clock: r.clock, judge: new(judge), model: model, Store: r.Store}
	out.controller = out.replica("first of " + model)
	return out
}

func fill(t *testing.T, s *store.Store, model string) {
	t.Helper()
	_, err := s.CreateModel(t.Context(), "test", &registryv1.Model{Name: model})
	check(t, err)
	addVersions(t, s, model, 3)
	_, err = s.SetAlias(t.Context(), "test", model, "production", 1, "")
	check(t, err)
}

func addVersions(t *testing.T, s *store.Store, model string, n int) {
	t.Helper()
	for seed := range n {
		_, err := s.CreateVersion(t.Context(), "test", storetest.Version(t, model, seed))
		check(t, err)
	}
}

func (r *rig) versions(model string, n int) {
	r.t.Helper()
	addVersions(r.t, r.Store, model, n)
}

func (r *rig) replica(holder string) *rollout.Controller {
	return rollout.NewController(r.Store, rollout.Options{Clock: r.clock, Judge: r.judge, Holder: holder})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func plan(change func(*registryv1.CreateRolloutRequest)) *registryv1.CreateRolloutRequest {
	req := &registryv1.CreateRolloutRequest{
		Model: "m", Rollout: "r", Candidate: 2,
		Guardrails: []*registryv1.RolloutGuardrail{{Metric: "error_rate", MaxRelative: 0.05}},
		Steps: []*registryv1.RolloutStep{
			{Weight: 10_000, MinDuration: durationpb.New(time.Minute), MinRequests: 100, Deadline: durationpb.New(time.Hour)},
			{Weight: 250_000, MinDuration: durationpb.New(time.Minute)},
			{Weight: 1_000_000, MinRequests: 1000},
		},
	}
	if change != nil {
		change(req)
	}
	return req
}

func (r *rig) create(change func(*registryv1.CreateRolloutRequest)) *registryv1.Rollout {
	r.t.Helper()
	req := plan(change)
	req.Model = r.model
	out, err := r.tryCreate(req)
	check(r.t, err)
	return out
}

func (r *rig) tryCreate(req *registryv1.CreateRolloutRequest) (*registryv1.Rollout, error) {
	out, err := rollout.New(req, "acme/ana", true)
	if err != nil {
		return nil, err
	}
	return r.CreateRollout(r.t.Context(), "acme/ana", out, req.GetValidateOnly(), rollout.Begin)
}

// after lets time pass and has the controller look.
func (r *rig) after(d time.Duration) {
	r.t.Helper()
	r.clock.Advance(d)
	check(r.t, r.controller.Evaluate(r.t.Context()))
}

func (r *rig) ask(do rollout.Mover) *registryv1.Rollout {
	r.t.Helper()
	out, err := r.MoveRollout(r.t.Context(), "acme/ana", r.model, "r", nil, rollout.Asked("*", "because", do))
	check(r.t, err)
	return out
}

// stands checks state and step, and what the split sends where: "" is no split.
func (r *rig) stands(state registryv1.RolloutState, step int32, split string) *registryv1.Rollout {
	r.t.Helper()
	got, err := r.GetRollout(r.t.Context(), r.model, "r")
	check(r.t, err)
	if got.GetState() != state || got.GetStep() != step {
		r.t.Fatalf("the rollout is %v at step %d, want %v at %d; last: %v", got.GetState(), got.GetStep(), state, step, got.GetLastEvent())
	}
	if s := r.split(); s != split {
		r.t.Fatalf("the split is %q, want %q; last: %v", s, split, got.GetLastEvent())
	}
	return got
}

// split writes the model's split: 2:10000 1:990000.
func (r *rig) split() string {
	r.t.Helper()
	sp, err := r.GetSplit(r.t.Context(), r.model)
	if apierr.ReasonOf(err) == apierr.NotFound {
		return ""
	}
	check(r.t, err)
	return weights(sp.GetArms())
}

func (r *rig) production() int32 {
	r.t.Helper()
	a, err := r.GetAlias(r.t.Context(), r.model, "production")
	check(r.t, err)
	return a.GetVersion()
}

func (r *rig) events() []*registryv1.RolloutEvent {
	r.t.Helper()
	out, err := r.ListRolloutEvents(r.t.Context(), r.model, "r", 0, 1000)
	check(r.t, err)
	for i, e := range out {
		if e.GetNumber() != int32(i+1) {
			r.t.Fatalf("event %d has the number %d", i+1, e.GetNumber())
		}
	}
	return out
}

// says checks that the newest event is of the kind and has all the words.
func (r *rig) says(kind registryv1.RolloutEventKind, words ...string) *registryv1.RolloutEvent {
	r.t.Helper()
	all := r.events()
	last := all[len(all)-1]
	if last.GetKind() != kind {
		r.t.Fatalf("the last event is %v, want %v", last, kind)
	}
	for _, w := range words {
		if !strings.Contains(last.GetWords(), w) {
			r.t.Errorf("%q does not say %q", last.GetWords(), w)
		}
	}
	return last
}
