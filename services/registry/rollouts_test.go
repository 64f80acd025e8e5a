package registry_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry"
	"github.com/poterne/poterne/services/registry/internal/evidence"
)

// counted is a judge that has seen enough of everything.
type counted struct{}

func (counted) Judge(_ context.Context, q evidence.Question) (evidence.Judgement, error) {
	return evidence.Judgement{Requests: map[string]int64{q.Baseline: 900, q.Candidate: 100}, Enough: true}, nil
}

func quick(c *registry.Config) {
	c.Rollouts.Period, c.Rollouts.Lease = 50*time.Millisecond, time.Second
}

func withVersions(t *testing.T, r *rig) {
	t.Helper()
	ctx := t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	for _, seed := range []string{"1", "2"} {
		_, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec(seed)})
		fatal(t, err)
	}
	_, err = r.SetAlias(ctx, &registryv1.SetAliasRequest{Model: "m", Alias: "production", Version: 1})
	fatal(t, err)
}

// One rollout from its plan to its end, through every method and as a watcher sees
// it.
func TestLifeOfARollout(t *testing.T) {
	r := start(t, quick, registry.WithJudge(counted{}))
	ctx := asTenant(t, "default")
	withVersions(t, r)
	req := &registryv1.CreateRolloutRequest{
		Model: "m", Rollout: "june", Candidate: 2, Labels: map[string]string{"a": "b"}, ValidateOnly: true,
		Steps: []*registryv1.RolloutStep{
			{Weight: 10_000, MinDuration: durationpb.New(time.Hour)}, {Weight: 500_000, MinRequests: 100}, {Weight: 1_000_000, MinRequests: 100},
		},
		Guardrails: []*registryv1.RolloutGuardrail{{Metric: "error_rate", MaxRelative: 0.05}},
	}
	planned, err := r.CreateRollout(ctx, req)
	fatal(t, err)
	_, err = r.GetRollout(ctx, &registryv1.GetRolloutRequest{Model: "m", Rollout: "june"})
	wantError(t, err, apierr.NotFound, "rollout")
	watcher := watch(t, r, 4)
	req.ValidateOnly = false
	_, err = r.CreateRollout(ctx, req)
	fatal(t, err)
	if planned.GetRollout().GetBaseline() != 1 {
		t.Errorf("planned %v", planned)
	}
	state := func(want registryv1.RolloutState) *registryv1.Rollout {
		t.Helper()
		for {
			got := next(t, watcher).GetChanged().GetRollout()
			if got.GetState() == want {
				return got
			}
		}
	}
	first := state(registryv1.RolloutState_ROLLOUT_STATE_RUNNING)
	got, err := r.GetRollout(ctx, &registryv1.GetRolloutRequest{Model: "m", Rollout: "june"})
	fatal(t, err)
	if p := got.GetRollout().GetProgress(); p.GetCandidateRequests() != 100 || !strings.Contains(p.GetWords(), "of 1h0m0s have passed") {
		t.Errorf("the progress is %v", p)
	}
	_, err = r.PauseRollout(ctx, &registryv1.PauseRolloutRequest{Model: "m", Rollout: "june", Etag: first.GetEtag(), Reason: "lunch"})
	fatal(t, err)
	_, err = r.AbortRollout(ctx, &registryv1.AbortRolloutRequest{Model: "m", Rollout: "june", Etag: first.GetEtag()})
	wantError(t, err, apierr.Conflict, "etag")
	_, err = r.ResumeRollout(ctx, &registryv1.ResumeRolloutRequest{Model: "m", Rollout: "june", Etag: "*"})
	fatal(t, err)
	_, err = r.ForceRollout(ctx, &registryv1.ForceRolloutRequest{Model: "m", Rollout: "june", Etag: "*"})
	fatal(t, err)
	state(registryv1.RolloutState_ROLLOUT_STATE_SUCCEEDED)

	var kinds []string
	for token := ""; ; {
		page, err := r.ListRolloutEvents(ctx, &registryv1.ListRolloutEventsRequest{Model: "m", Rollout: "june", PageSize: 3, PageToken: token})
		fatal(t, err)
		for _, e := range page.GetEvents() {
			kinds = append(kinds, strings.ToLower(strings.TrimPrefix(e.GetKind().String(), "ROLLOUT_EVENT_KIND_"))+" by "+e.GetActor())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if want := []string{
		"created by default/ana", "started by registry/rollouts", "paused by default/ana", "resumed by default/ana",
		"forced by default/ana", "advanced by registry/rollouts", "succeeded by registry/rollouts",
	}; !slices.Equal(kinds, want) {
		t.Errorf("the events are %q, want %q", kinds, want)
	}
	list, err := r.ListRollouts(ctx, &registryv1.ListRolloutsRequest{Model: "m"})
	fatal(t, err)
	if len(list.GetRollouts()) != 1 || list.GetRollouts()[0].GetLabels()["a"] != "b" {
		t.Errorf("listed %v", list)
	}
	alias, err := r.GetAlias(ctx, &registryv1.GetAliasRequest{Model: "m", Alias: "production"})
	fatal(t, err)
	if alias.GetAlias().GetVersion() != 2 {
		t.Errorf("production is %v", alias)
	}
}

// Rubbish is refused.
func TestBadRollouts(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	withVersions(t, r)
	hour := []*registryv1.RolloutStep{{Weight: 1, MinDuration: durationpb.New(time.Hour)}}
	tests := map[string]struct {
		change func(*registryv1.CreateRolloutRequest)
		reason apierr.Reason
		field  string
	}{
		"a name":   {func(q *registryv1.CreateRolloutRequest) { q.Rollout = "June" }, apierr.InvalidArgument, "rollout"},
		"no steps": {func(q *registryv1.CreateRolloutRequest) { q.Steps = nil }, apierr.InvalidArgument, "steps"},
		"a weight": {func(q *registryv1.CreateRolloutRequest) { q.Steps[0].Weight = 1_000_001 }, apierr.InvalidArgument, "steps[0].weight"},
		"too long": {func(q *registryv1.CreateRolloutRequest) { q.Steps[0].MinDuration = durationpb.New(1e17) }, apierr.InvalidArgument, "steps[0].min_duration"},
		"a duration": {func(q *registryv1.CreateRolloutRequest) {
			q.Steps[0].MinDuration = &durationpb.Duration{Seconds: 1, Nanos: -1}
		}, apierr.InvalidArgument, "steps[0].min_duration"},
		"a metric": {func(q *registryv1.CreateRolloutRequest) {
			q.Guardrails = []*registryv1.RolloutGuardrail{{Metric: "luck"}}
		}, apierr.InvalidArgument, "guardrails[0].metric"},
		"a shadow":          {func(q *registryv1.CreateRolloutRequest) { q.Shadow = &registryv1.RolloutShadow{Weight: 1} }, apierr.InvalidArgument, "shadow"},
		"control character": {func(q *registryv1.CreateRolloutRequest) { q.Description = "\a" }, apierr.InvalidArgument, "description"},
		"an alias":          {func(q *registryv1.CreateRolloutRequest) { q.Alias = "v3" }, apierr.InvalidArgument, "alias"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			req := &registryv1.CreateRolloutRequest{Model: "m", Rollout: "june", Candidate: 2, Steps: []*registryv1.RolloutStep{
				{Weight: hour[0].GetWeight(), MinDuration: hour[0].GetMinDuration()},
			}}
			tt.change(req)
			_, err := r.CreateRollout(ctx, req)
			wantError(t, err, tt.reason, tt.field)
		})
	}
	_, err := r.PauseRollout(ctx, &registryv1.PauseRolloutRequest{Model: "m", Rollout: "june", Etag: "*"})
	wantError(t, err, apierr.NotFound, "rollout")
	_, err = r.AbortRollout(ctx, &registryv1.AbortRolloutRequest{Model: "m", Rollout: "june"})
	wantError(t, err, apierr.InvalidArgument, "etag")
}
