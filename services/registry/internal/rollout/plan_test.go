package rollout_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/rollout"
)

func TestPlansThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*registryv1.CreateRolloutRequest)
		reason apierr.Reason
		field  string
	}{
		"a shadow":              {func(q *registryv1.CreateRolloutRequest) { q.Shadow = new(registryv1.RolloutShadow) }, apierr.InvalidArgument, "shadow"},
		"a step back":           {func(q *registryv1.CreateRolloutRequest) { q.Steps[1].Weight = 10_000 }, apierr.InvalidArgument, "steps[1].weight"},
		"a step without end":    {func(q *registryv1.CreateRolloutRequest) { q.Steps[2].MinRequests = 0 }, apierr.InvalidArgument, "steps[2]"},
		"a deadline too soon":   {func(q *registryv1.CreateRolloutRequest) { q.Steps[0].Deadline = durationpb.New(time.Minute) }, apierr.InvalidArgument, "steps[0].deadline"},
		"the baseline":          {func(q *registryv1.CreateRolloutRequest) { q.Candidate = 1 }, apierr.FailedPrecondition, "candidate"},
		"another baseline":      {func(q *registryv1.CreateRolloutRequest) { q.Baseline = 3 }, apierr.FailedPrecondition, "baseline"},
		"an absent version":     {func(q *registryv1.CreateRolloutRequest) { q.Candidate = 9 }, apierr.NotFound, "candidate"},
		"an absent model":       {func(q *registryv1.CreateRolloutRequest) { q.Model = "x" }, apierr.ModelNotFound, "model"},
		"a model without alias": {func(q *registryv1.CreateRolloutRequest) { q.Model = "bare" }, apierr.FailedPrecondition, "model"},
		"a model with a split":  {func(q *registryv1.CreateRolloutRequest) { q.Model = "split" }, apierr.FailedPrecondition, "model"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for _, m := range []string{"bare", "split"} {
				_, err := r.CreateModel(t.Context(), "", &registryv1.Model{Name: m})
				check(t, err)
				r.versions(m, 2)
			}
			_, err := r.SetSplit(t.Context(), "", "split", []*registryv1.Arm{{Name: "a", Version: 1, Weight: 1}, {Name: "b", Version: 2, Weight: 999_999}}, "")
			check(t, err)
			before, err := r.Revision(t.Context())
			check(t, err)
			_, err = r.tryCreate(plan(tt.change))
			wantReason(t, err, tt.reason, tt.field)
			if after, err := r.Revision(t.Context()); err != nil || after != before {
				t.Error("a refusal used up a revision")
			}
		})
	}
	if _, err := rollout.New(plan(nil), "", false); apierr.ReasonOf(err) != apierr.InvalidArgument || len(apierr.From(err).Violations) != 3 {
		t.Errorf("a plan that needs evidence where nobody counts: %v", err)
	}
}

func TestOneRolloutAtATime(t *testing.T) {
	r := newRig(t)
	dry, err := r.tryCreate(plan(func(q *registryv1.CreateRolloutRequest) { q.ValidateOnly = true }))
	check(t, err)
	if dry.GetBaseline() != 1 || dry.GetSteps()[1].GetDeadline().AsDuration() != 7*24*time.Hour+time.Minute {
		t.Errorf("a dry run says %v", dry)
	}
	r.create(nil)
	_, err = r.tryCreate(plan(nil))
	wantReason(t, err, apierr.AlreadyExists, "rollout")
	_, err = r.tryCreate(plan(func(q *registryv1.CreateRolloutRequest) { q.Rollout = "s" }))
	wantReason(t, err, apierr.FailedPrecondition, "model")
	wantReason(t, r.DeleteModel(t.Context(), "", "m"), apierr.FailedPrecondition, "model")
	r.ask(rollout.Abort)
	_, err = r.tryCreate(plan(func(q *registryv1.CreateRolloutRequest) { q.Rollout = "s" }))
	check(t, err)
}
