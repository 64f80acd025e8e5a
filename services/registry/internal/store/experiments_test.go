package store_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

const (
	isDraft     = registryv1.ExperimentState_EXPERIMENT_STATE_DRAFT
	isRunning   = registryv1.ExperimentState_EXPERIMENT_STATE_RUNNING
	isStopped   = registryv1.ExperimentState_EXPERIMENT_STATE_STOPPED
	isConcluded = registryv1.ExperimentState_EXPERIMENT_STATE_CONCLUDED
)

// plan is an experiment of the model m with versions 1 and 2.
func plan(name string, change ...func(*registryv1.Experiment)) *registryv1.Experiment {
	e := &registryv1.Experiment{Model: "m", Name: name, Arms: []*registryv1.ExperimentArm{
		{Name: "control", Version: 1, Weight: 900_000}, {Name: "candidate", Version: 2, Weight: 100_000},
	}}
	for _, c := range change {
		c(e)
	}
	return e
}

func inLayer(layer string, share int32) func(*registryv1.Experiment) {
	return func(e *registryv1.Experiment) { e.Layer, e.Share = layer, share }
}

// experiments returns a store with the model m that has two versions.
func (s suite) withVersions(t *testing.T) *env {
	t.Helper()
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	e.version("m", 1)
	e.version("m", 2)
	return e
}

func (e *env) experiment(p *registryv1.Experiment) *registryv1.Experiment {
	e.t.Helper()
	out, err := e.CreateExperiment(e.t.Context(), "test", p)
	return must(e.t, out, err)
}

func (e *env) started(p *registryv1.Experiment) *registryv1.Experiment {
	e.t.Helper()
	made := e.experiment(p)
	out, err := e.StartExperiment(e.t.Context(), "test", "m", made.GetName(), made.GetEtag())
	return must(e.t, out, err)
}

func (s suite) experimentLife(t *testing.T) {
	e, ctx := s.withVersions(t), t.Context()
	bytes := e.versionBytes("m")
	made := e.experiment(plan("x", func(p *registryv1.Experiment) { p.Description = "words" }))
	if made.GetState() != isDraft || made.GetShare() != 1_000_000 || made.GetStickyBy() != registryv1.StickyBy_STICKY_BY_USER ||
		len(made.GetSalt()) != 16 || made.GetSalt() == made.GetLayerSalt() || made.GetArms()[1].GetDigest() == "" || made.GetEtag() == "" {
		t.Fatalf("made %v", made)
	}
	got, err := e.GetExperiment(ctx, "m", "x")
	check(t, err)
	if !proto.Equal(got, made) {
		t.Fatalf("got %v\nwant %v", got, made)
	}
	if st := e.state("m"); len(st.GetExperiments()) != 0 {
		t.Errorf("a draft is watched: %v", st)
	}
	// What is sent back as it was read changes nothing.
	before := e.revision()
	same, err := e.UpdateExperiment(ctx, "", made, made.GetEtag())
	check(t, err)
	if !proto.Equal(same, made) || e.revision() != before {
		t.Errorf("an experiment that stays became %v", same)
	}
	updated, err := e.UpdateExperiment(ctx, "", plan("x", func(p *registryv1.Experiment) {
		p.Arms[0].Weight, p.Arms[1].Weight = 990_000, 10_000
	}), made.GetEtag())
	check(t, err)
	_, err = e.UpdateExperiment(ctx, "", plan("x"), made.GetEtag())
	wantReason(t, err, apierr.Conflict, "etag")
	_, err = e.ConcludeExperiment(ctx, "", "m", "x", "", "", "*")
	wantReason(t, err, apierr.FailedPrecondition, "experiment")
	_, err = e.RampExperiment(ctx, "", "m", "x", nil, 1, "*")
	wantReason(t, err, apierr.FailedPrecondition, "experiment")

	e.clock.Advance(time.Minute)
	run, err := e.StartExperiment(ctx, "", "m", "x", updated.GetEtag())
	check(t, err)
	if run.GetState() != isRunning || run.GetStartTime() == nil || len(run.GetArmRanges()) != 2 || len(run.GetLayerRanges()) != 1 {
		t.Fatalf("started %v", run)
	}
	if st := e.state("m"); len(st.GetExperiments()) != 1 || !proto.Equal(st.GetExperiments()[0], run) {
		t.Errorf("watched %v\nwant %v", st.GetExperiments(), run)
	}
	_, err = e.UpdateExperiment(ctx, "", plan("x", func(p *registryv1.Experiment) { p.Arms[0].Version = 2 }), "*")
	wantReason(t, err, apierr.FailedPrecondition, "arms")
	wantReason(t, e.DeleteExperiment(ctx, "", "m", "x", "*"), apierr.FailedPrecondition, "experiment")

	up, err := e.RampExperiment(ctx, "", "m", "x", map[string]int32{"candidate": 50_000}, 0, run.GetEtag())
	check(t, err)
	if up.GetArms()[0].GetWeight() != 950_000 || len(up.GetArmRanges()) != 2 || up.GetArmRanges()[1].GetStart() != 950_000 {
		t.Errorf("ramped %v", up)
	}
	stop, err := e.StopExperiment(ctx, "", "m", "x", "it burns", up.GetEtag())
	check(t, err)
	if stop.GetState() != isStopped || stop.GetReason() != "it burns" || stop.GetEndTime() == nil || len(e.state("m").GetExperiments()) != 0 {
		t.Errorf("stopped %v", stop)
	}
	again, err := e.StartExperiment(ctx, "", "m", "x", stop.GetEtag())
	check(t, err)
	if !slices.EqualFunc(again.GetArmRanges(), up.GetArmRanges(), func(a, b *registryv1.ArmRange) bool { return proto.Equal(a, b) }) ||
		again.GetEndTime() != nil || again.GetReason() != "" || !proto.Equal(again.GetStartTime(), run.GetStartTime()) {
		t.Errorf("started again %v", again)
	}
	over, err := e.ConcludeExperiment(ctx, "", "m", "x", "candidate", "better", again.GetEtag())
	check(t, err)
	if over.GetState() != isConcluded || over.GetWinner() != "candidate" || over.GetReason() != "better" {
		t.Errorf("concluded %v", over)
	}
	for _, call := range []func() error{
		func() error { _, err := e.StartExperiment(ctx, "", "m", "x", "*"); return err },
		func() error { _, err := e.StopExperiment(ctx, "", "m", "x", "", "*"); return err },
		func() error { _, err := e.ConcludeExperiment(ctx, "", "m", "x", "", "", "*"); return err },
	} {
		wantReason(t, call(), apierr.FailedPrecondition, "experiment")
	}
	check(t, e.DeleteExperiment(ctx, "", "m", "x", over.GetEtag()))
	_, err = e.GetExperiment(ctx, "m", "x")
	wantReason(t, err, apierr.NotFound, "experiment")
	if got := e.versionBytes("m"); got != bytes {
		t.Errorf("%d bytes are counted after the experiment went, want %d", got, bytes)
	}
}

func (s suite) experimentChecks(t *testing.T) {
	e, ctx := s.withVersions(t), t.Context()
	_, err := e.SetAlias(ctx, "", "m", "staging", 1, "")
	check(t, err)
	e.experiment(plan("there", inLayer("l", 500_000)))
	before := e.revision()
	arms := func(list ...*registryv1.ExperimentArm) func(*registryv1.Experiment) {
		return func(p *registryv1.Experiment) { p.Arms = list }
	}
	condition := func(c *registryv1.Condition) func(*registryv1.Experiment) {
		return func(p *registryv1.Experiment) {
			p.Targeting = &registryv1.Targeting{Conditions: []*registryv1.Condition{c}}
		}
	}
	tests := map[string]struct {
		change func(*registryv1.Experiment)
		reason apierr.Reason
		field  string
	}{
		"too little":       {arms(&registryv1.ExperimentArm{Name: "a", Version: 1, Weight: 999_999}), apierr.InvalidArgument, "arms"},
		"over the whole":   {arms(&registryv1.ExperimentArm{Name: "a", Version: 1, Weight: 1_000_001}, &registryv1.ExperimentArm{Name: "b", Version: 1, Weight: -1}), apierr.InvalidArgument, "arms[0].weight"},
		"a name twice":     {func(p *registryv1.Experiment) { p.Arms[1].Name = "control" }, apierr.InvalidArgument, "arms[1].name"},
		"no arms":          {arms(), apierr.InvalidArgument, "arms"},
		"version and name": {func(p *registryv1.Experiment) { p.Arms[1].Alias = "staging" }, apierr.InvalidArgument, "arms[1].version"},
		"neither":          {func(p *registryv1.Experiment) { p.Arms[1].Version = 0 }, apierr.InvalidArgument, "arms[1].version"},
		"no such version":  {func(p *registryv1.Experiment) { p.Arms[1].Version = 3 }, apierr.NotFound, "arms[1].version"},
		"no such alias":    {func(p *registryv1.Experiment) { p.Arms[1].Version, p.Arms[1].Alias = 0, "canary" }, apierr.NotFound, "arms[1].alias"},
		"another digest":   {func(p *registryv1.Experiment) { p.Arms[1].Digest = "sha256:0" }, apierr.InvalidArgument, "arms[1].digest"},
		"an override": {func(p *registryv1.Experiment) {
			p.Overrides = []*registryv1.Override{{Tenant: "t", Subject: "s", Arm: "c"}}
		}, apierr.InvalidArgument, "overrides[0].arm"},
		"overrides": {func(p *registryv1.Experiment) {
			p.Overrides = []*registryv1.Override{{Tenant: "t", Subject: "s", Arm: "control"}, {Tenant: "t", Subject: "s", Arm: "candidate"}}
		}, apierr.InvalidArgument, "overrides[1].subject"},
		"no header":    {condition(&registryv1.Condition{Attribute: registryv1.Attribute_ATTRIBUTE_HEADER}), apierr.InvalidArgument, "targeting.conditions[0].header"},
		"a header":     {condition(&registryv1.Condition{Attribute: registryv1.Attribute_ATTRIBUTE_ROLE, Header: "x-a"}), apierr.InvalidArgument, "targeting.conditions[0].header"},
		"a secret":     {condition(&registryv1.Condition{Attribute: registryv1.Attribute_ATTRIBUTE_HEADER, Header: "cookie"}), apierr.InvalidArgument, "targeting.conditions[0].header"},
		"a shadow":     {func(p *registryv1.Experiment) { p.Shadow = &registryv1.Shadow{Version: 1} }, apierr.InvalidArgument, "shadow.share"},
		"no shadow":    {func(p *registryv1.Experiment) { p.Shadow = &registryv1.Shadow{Version: 7, Share: 1} }, apierr.NotFound, "shadow.version"},
		"layered":      {func(p *registryv1.Experiment) { p.Layer, p.StickyBy = "l", registryv1.StickyBy_STICKY_BY_TENANT }, apierr.FailedPrecondition, "sticky_by"},
		"a name":       {func(p *registryv1.Experiment) { p.Name = "X" }, apierr.InvalidArgument, "name"},
		"that name":    {func(p *registryv1.Experiment) { p.Name = "there" }, apierr.AlreadyExists, "name"},
		"no model":     {func(p *registryv1.Experiment) { p.Model = "absent" }, apierr.ModelNotFound, "model"},
		"much too big": {func(p *registryv1.Experiment) { p.Description = string(make([]byte, 70_000)) }, apierr.InvalidArgument, ""},
	}
	for name, tt := range tests {
		_, err := e.CreateExperiment(ctx, "", plan("x", tt.change))
		if apierr.ReasonOf(err) != tt.reason || apierr.From(err).Field != tt.field {
			t.Errorf("%s: got %v, want %s of %s", name, err, tt.reason, tt.field)
		}
	}
	_, err = e.StartExperiment(ctx, "", "m", "x", "*")
	wantReason(t, err, apierr.NotFound, "experiment")
	if e.revision() != before {
		t.Error("what was refused used up a revision")
	}
	e.started(plan("x"))
	for name, tt := range map[string]map[string]int32{
		"no such arm": {"c": 1}, "too much": {"candidate": 1_000_000, "control": 1}, "negative": {"candidate": -1},
	} {
		if _, err := e.RampExperiment(ctx, "", "m", "x", tt, 0, "*"); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Experiments of one layer never have a point twice, and get theirs again.
func (s suite) layers(t *testing.T) {
	e, ctx := s.withVersions(t), t.Context()
	a := e.started(plan("a", inLayer("l", 600_000)))
	b := e.experiment(plan("b", inLayer("l", 500_000)))
	if a.GetLayerSalt() != b.GetLayerSalt() {
		t.Error("a layer has two salts")
	}
	_, err := e.StartExperiment(ctx, "", "m", "b", b.GetEtag())
	wantReason(t, err, apierr.FailedPrecondition, "share")
	if got := apierr.From(err).Metadata["running"]; got != "a" {
		t.Errorf("the error names %q", got)
	}
	_, err = e.UpdateExperiment(ctx, "", plan("b", inLayer("l", 300_000)), "*")
	check(t, err)
	b, err = e.StartExperiment(ctx, "", "m", "b", "*")
	check(t, err)
	disjoint(t, a, b)
	elsewhere := e.started(plan("c", inLayer("other", 1_000_000)))
	alone := e.started(plan("d"))
	if elsewhere.GetLayerSalt() == a.GetLayerSalt() || alone.GetLayerSalt() == elsewhere.GetLayerSalt() {
		t.Error("layers share a salt")
	}
	_, err = e.RampExperiment(ctx, "", "m", "a", nil, 700_001, "*")
	wantReason(t, err, apierr.FailedPrecondition, "share")
	a, err = e.RampExperiment(ctx, "", "m", "a", nil, 700_000, "*")
	check(t, err)
	disjoint(t, a, b)

	stop, err := e.StopExperiment(ctx, "", "m", "b", "", "*")
	check(t, err)
	again, err := e.StartExperiment(ctx, "", "m", "b", stop.GetEtag())
	check(t, err)
	if !slices.EqualFunc(again.GetLayerRanges(), b.GetLayerRanges(), func(a, b *registryv1.PointRange) bool { return proto.Equal(a, b) }) {
		t.Errorf("started again it has %v, and had %v", again.GetLayerRanges(), b.GetLayerRanges())
	}
}

func disjoint(t *testing.T, list ...*registryv1.Experiment) {
	t.Helper()
	taken := map[int32]string{}
	for _, e := range list {
		var total int32
		for _, r := range e.GetLayerRanges() {
			total += r.GetEnd() - r.GetStart()
			for point := r.GetStart(); point < r.GetEnd(); point += 1_000 {
				if by, ok := taken[point]; ok {
					t.Fatalf("point %d is of %s and of %s", point, by, e.GetName())
				}
				taken[point] = e.GetName()
			}
		}
		if total != e.GetShare() {
			t.Fatalf("%s has %d points, want %d", e.GetName(), total, e.GetShare())
		}
	}
}

// What is deleted, and what must not serve, is not named by an experiment.
func (s suite) experimentVersions(t *testing.T) {
	unsigned := apierr.New(apierr.FailedPrecondition, "no signature").WithField("version")
	e := newEnv(t, s.databases, store.Options{KeepDeleted: time.Hour, May: func(v *registryv1.Version) error {
		if v.GetNumber() == 3 {
			return unsigned
		}
		return nil
	}})
	ctx := t.Context()
	e.model("m")
	for seed := range 4 {
		e.version("m", seed)
	}
	draft := e.experiment(plan("x"))
	check(t, e.DeleteVersion(ctx, "", "m", number(4)))
	for version, want := range map[int32]apierr.Reason{3: apierr.FailedPrecondition, 4: apierr.NotFound} {
		for field, p := range map[string]*registryv1.Experiment{
			"arms[1].version": plan("y", func(p *registryv1.Experiment) { p.Arms[1].Version = version }),
			"shadow.version":  plan("y", func(p *registryv1.Experiment) { p.Shadow = &registryv1.Shadow{Version: version, Share: 1} }),
		} {
			_, err := e.CreateExperiment(ctx, "", p)
			wantReason(t, err, want, field)
			p.Name = "x"
			_, err = e.UpdateExperiment(ctx, "", p, draft.GetEtag())
			wantReason(t, err, want, field)
		}
	}
	// One from before this was refused keeps its version, and nothing else from going.
	e.version("m", 4)
	_, err := e.raw().ExecContext(ctx, `INSERT INTO registry_experiment_versions (model, experiment, version) VALUES ('m', 'x', 4)`)
	check(t, err)
	check(t, e.DeleteVersion(ctx, "", "m", number(5)))
	e.clock.Advance(2 * time.Hour)
	if n, err := e.Purge(ctx); err != nil || n != 1 {
		t.Errorf("purged %d, %v", n, err)
	}
}

// What an experiment needs stays, until that is concluded.
func (s suite) experimentNeeds(t *testing.T) {
	e, ctx := s.withVersions(t), t.Context()
	_, err := e.SetAlias(ctx, "", "m", "staging", 1, "")
	check(t, err)
	e.started(plan("x", func(p *registryv1.Experiment) {
		p.Arms[0].Version, p.Arms[0].Alias = 0, "staging"
		p.Shadow = &registryv1.Shadow{Alias: "staging", Share: 1}
	}))
	wantReason(t, e.DeleteAlias(ctx, "", "m", "staging", "*"), apierr.FailedPrecondition, "alias")
	wantReason(t, e.DeleteVersion(ctx, "", "m", number(2)), apierr.FailedPrecondition, "version")
	e.version("m", 3)
	check(t, e.DeleteVersion(ctx, "", "m", number(3)))
	if _, err := e.raw().ExecContext(ctx, `DELETE FROM registry_versions WHERE number = 2`); err == nil {
		t.Error("a version that an experiment needs can be deleted")
	}
	_, err = e.ConcludeExperiment(ctx, "", "m", "x", "control", "", "*")
	check(t, err)
	check(t, e.DeleteAlias(ctx, "", "m", "staging", "*"))
	// What it named may be gone, and it can still be described.
	over, err := e.GetExperiment(ctx, "m", "x")
	check(t, err)
	over.Description = "kept"
	_, err = e.UpdateExperiment(ctx, "", over, over.GetEtag())
	check(t, err)
	draft := e.experiment(plan("y"))
	wantReason(t, e.DeleteModel(ctx, "", "m"), apierr.FailedPrecondition, "model")
	check(t, e.DeleteExperiment(ctx, "", "m", "y", draft.GetEtag()))
	check(t, e.DeleteModel(ctx, "", "m"))
}

// Of those that change one experiment at once, one wins each round.
func (s suite) experimentEtags(t *testing.T) {
	e, ctx := s.withVersions(t), t.Context()
	now := e.started(plan("x"))
	for round := range 3 {
		errs := make([]error, 4)
		together(len(errs), func(i int) {
			_, errs[i] = e.RampExperiment(ctx, "", "m", "x", map[string]int32{"candidate": int32(100*round + i + 1)}, 0, now.GetEtag())
		})
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				wantReason(t, err, apierr.Conflict, "etag")
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d won", round, won)
		}
		var err error
		now, err = e.GetExperiment(ctx, "m", "x")
		check(t, err)
	}
}

func (s suite) experimentLimits(t *testing.T) {
	e, ctx := s.withVersions(t), t.Context()
	for i := range 16 {
		e.started(plan(fmt.Sprintf("x%02d", i), func(p *registryv1.Experiment) { p.Priority = int32(i % 2) }))
	}
	e.experiment(plan("one-more"))
	_, err := e.StartExperiment(ctx, "", "m", "one-more", "*")
	wantReason(t, err, apierr.FailedPrecondition, "experiment")
	var order []string
	for _, x := range e.state("m").GetExperiments() {
		order = append(order, x.GetName())
	}
	if order[0] != "x01" || order[7] != "x15" || order[8] != "x00" || len(order) != 16 {
		t.Errorf("asked in the order %v", order)
	}
	seen := map[string]bool{}
	for after := ""; ; {
		page, err := e.ListExperiments(ctx, "m", after, 5)
		check(t, err)
		for _, x := range page {
			seen[x.GetName()] = true
			after = x.GetName()
		}
		if len(page) < 5 {
			break
		}
	}
	if len(seen) != 17 {
		t.Errorf("listed %v", slices.Sorted(maps.Keys(seen)))
	}
}
