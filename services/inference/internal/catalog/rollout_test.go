package catalog_test

import (
	"strconv"
	"testing"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/split"
)

// A rollout gives its candidate copies while it runs and has not come to its first
// step, and at no other time.
func TestTheShadowOfARollout(t *testing.T) {
	state := func(s registryv1.RolloutState, step int32) *catalog.Snapshot {
		return catalog.NewSnapshot(1, []*registryv1.ModelState{{
			Model: &registryv1.Model{Name: "m"},
			Versions: []*registryv1.Version{
				{Model: "m", Number: 1, Digest: "sha256:1"}, {Model: "m", Number: 2, Digest: "sha256:2"},
			},
			Aliases: []*registryv1.Alias{{Name: "production", Version: 1}},
			Rollout: &registryv1.Rollout{
				Model: "m", Name: "june", Candidate: 2, State: s, Step: step,
				Shadow: &registryv1.RolloutShadow{Weight: 250_000, RequestsPerMinute: 7, TokensPerMinute: 8},
			},
		}})
	}
	const n = 4000
	count := func(s *catalog.Snapshot) (copies int, one *catalog.Shadow) {
		for i := range n {
			got, err := s.Decide("m", &split.Subject{User: "ana", Request: strconv.Itoa(i)})
			if err != nil || got.Version.Number != 1 || got.Arm != "" {
				t.Fatalf("decided %+v: %v", got, err)
			}
			if got.Shadow != nil {
				copies, one = copies+1, got.Shadow
			}
		}
		return copies, one
	}
	copies, one := count(state(registryv1.RolloutState_ROLLOUT_STATE_RUNNING, 0))
	if copies < n/5 || copies > 3*n/10 {
		t.Errorf("%d of %d requests are copied", copies, n)
	}
	if one.Version.Number != 2 || one.Arm != "shadow-v2" || one.Experiment != "" || one.Requests != 7 || one.Tokens != 8 || one.Model.Name() != "m" {
		t.Errorf("the copies are %+v", one)
	}
	if got, err := state(registryv1.RolloutState_ROLLOUT_STATE_RUNNING, 0).Decide("m@v1", &split.Subject{Request: "1"}); err != nil || got.Shadow != nil {
		t.Errorf("a request that names its version is copied: %+v, %v", got, err)
	}
	for s := range registryv1.RolloutState_name {
		for _, step := range []int32{0, 1} {
			if s := registryv1.RolloutState(s); s != registryv1.RolloutState_ROLLOUT_STATE_RUNNING || step > 0 {
				if copies, _ := count(state(s, step)); copies > 0 {
					t.Errorf("%v at step %d: %d copies", s, step, copies)
				}
			}
		}
	}
}
