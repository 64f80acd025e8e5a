package registry_test

import (
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// One experiment from its creation to its deletion, through every method and as a
// watcher sees it.
func TestLifeOfAnExperiment(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	for _, seed := range []string{"1", "2"} {
		_, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec(seed)})
		fatal(t, err)
	}
	watcher := watch(t, r, 3)
	made, err := r.CreateExperiment(ctx, &registryv1.CreateExperimentRequest{
		Model: "m", Name: "x", Description: "smaller\nand faster", StickyBy: registryv1.StickyBy_STICKY_BY_SESSION,
		Arms: []*registryv1.ExperimentArm{{Name: "control", Version: 1, Weight: 990_000}, {Name: "candidate", Version: 2, Weight: 10_000}},
		Targeting: &registryv1.Targeting{Conditions: []*registryv1.Condition{
			{Attribute: registryv1.Attribute_ATTRIBUTE_HEADER, Header: "x-cohort", Values: []string{"b"}},
		}},
		Overrides: []*registryv1.Override{{Tenant: "acme", Subject: "ada", Arm: "candidate"}},
		Shadow:    &registryv1.Shadow{Version: 2, Share: 1000, RequestsPerMinute: 10},
	})
	fatal(t, err)
	if m := next(t, watcher); len(m.GetChanged().GetExperiments()) != 0 {
		t.Errorf("a draft is told: %v", m)
	}
	etag := made.GetExperiment().GetEtag()
	started, err := r.StartExperiment(ctx, &registryv1.StartExperimentRequest{Model: "m", Experiment: "x", Etag: etag})
	fatal(t, err)
	if m := next(t, watcher).GetChanged().GetExperiments(); len(m) != 1 || m[0].GetEtag() != started.GetExperiment().GetEtag() {
		t.Errorf("the watcher is told %v", m)
	}
	_, err = r.StopExperiment(ctx, &registryv1.StopExperimentRequest{Model: "m", Experiment: "x", Etag: etag})
	wantError(t, err, apierr.Conflict, "etag")
	ramped, err := r.RampExperiment(ctx, &registryv1.RampExperimentRequest{
		Model: "m", Experiment: "x", Weights: map[string]int32{"candidate": 250_000}, Etag: started.GetExperiment().GetEtag(),
	})
	fatal(t, err)
	if m := next(t, watcher).GetChanged().GetExperiments(); m[0].GetArmRanges()[1].GetStart() != 750_000 {
		t.Errorf("the watcher is told %v", m)
	}
	updated, err := r.UpdateExperiment(ctx, &registryv1.UpdateExperimentRequest{
		Model: "m", Experiment: "x", Description: "other words", Arms: ramped.GetExperiment().GetArms(),
		Targeting: ramped.GetExperiment().GetTargeting(), StickyBy: ramped.GetExperiment().GetStickyBy(), Etag: "*",
	})
	fatal(t, err)
	if e := updated.GetExperiment(); e.GetShadow() != nil || len(e.GetOverrides()) != 0 || e.GetState() != started.GetExperiment().GetState() {
		t.Errorf("updated %v", e)
	}
	next(t, watcher)
	_, err = r.StopExperiment(ctx, &registryv1.StopExperimentRequest{Model: "m", Experiment: "x", Reason: "enough", Etag: "*"})
	fatal(t, err)
	if m := next(t, watcher); len(m.GetChanged().GetExperiments()) != 0 {
		t.Errorf("one that is stopped is told: %v", m)
	}
	over, err := r.ConcludeExperiment(ctx, &registryv1.ConcludeExperimentRequest{Model: "m", Experiment: "x", Winner: "candidate", Etag: "*"})
	fatal(t, err)
	got, err := r.GetExperiment(ctx, &registryv1.GetExperimentRequest{Model: "m", Experiment: "x"})
	fatal(t, err)
	list, err := r.ListExperiments(ctx, &registryv1.ListExperimentsRequest{Model: "m"})
	fatal(t, err)
	if got.GetExperiment().GetWinner() != "candidate" || len(list.GetExperiments()) != 1 || got.GetExperiment().GetEtag() != over.GetExperiment().GetEtag() {
		t.Errorf("got %v of %v", got, list)
	}
	_, err = r.DeleteExperiment(ctx, &registryv1.DeleteExperimentRequest{Model: "m", Experiment: "x", Etag: over.GetExperiment().GetEtag()})
	fatal(t, err)
	_, err = r.GetExperiment(ctx, &registryv1.GetExperimentRequest{Model: "m", Experiment: "x"})
	wantError(t, err, apierr.NotFound, "experiment")
}

func TestBadExperiments(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	_, err = r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1")})
	fatal(t, err)
	tests := map[string]struct {
		change func(*registryv1.CreateExperimentRequest)
		field  string
	}{
		"a name":     {func(req *registryv1.CreateExperimentRequest) { req.Name = "X y" }, "name"},
		"a layer":    {func(req *registryv1.CreateExperimentRequest) { req.Layer = "/" }, "layer"},
		"a share":    {func(req *registryv1.CreateExperimentRequest) { req.Share = 1_000_001 }, "share"},
		"a weight":   {func(req *registryv1.CreateExperimentRequest) { req.Arms[0].Weight = -1 }, "arms[0].weight"},
		"stickiness": {func(req *registryv1.CreateExperimentRequest) { req.StickyBy = 77 }, "sticky_by"},
		"arms": {func(req *registryv1.CreateExperimentRequest) {
			req.Arms = make([]*registryv1.ExperimentArm, 33)
			for i := range req.Arms {
				req.Arms[i] = &registryv1.ExperimentArm{Name: "a", Version: 1}
			}
		}, "arms"},
		"conditions": {func(req *registryv1.CreateExperimentRequest) {
			req.Targeting = &registryv1.Targeting{Conditions: make([]*registryv1.Condition, 9)}
			for i := range 9 {
				req.Targeting.Conditions[i] = &registryv1.Condition{Attribute: registryv1.Attribute_ATTRIBUTE_ROLE, Values: []string{"a"}}
			}
		}, "targeting.conditions"},
		"no values": {func(req *registryv1.CreateExperimentRequest) {
			req.Targeting = &registryv1.Targeting{Conditions: []*registryv1.Condition{{Attribute: registryv1.Attribute_ATTRIBUTE_ROLE}}}
		}, "targeting.conditions[0].values"},
		"control characters": {func(req *registryv1.CreateExperimentRequest) { req.Description = "\x00" }, "description"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			req := &registryv1.CreateExperimentRequest{
				Model: "m", Name: "x", Arms: []*registryv1.ExperimentArm{{Name: "control", Version: 1, Weight: 1_000_000}},
			}
			tt.change(req)
			_, err := r.CreateExperiment(ctx, req)
			wantError(t, err, apierr.InvalidArgument, tt.field)
		})
	}
}
