package catalog

import (
	"fmt"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// readRollout reads the shadow that a rollout begins with: it is running and has not
// come to its first step. All that a rollout does later is in the split.
func (m *Model) readRollout(r *registryv1.Rollout) {
	s, v := r.GetShadow(), m.Number(r.GetCandidate())
	if s == nil || v == nil || r.GetState() != registryv1.RolloutState_ROLLOUT_STATE_RUNNING || r.GetStep() != 0 {
		return
	}
	m.Copied = &Shadow{
		Arm: fmt.Sprintf("shadow-v%d", v.Number), Model: m, Version: v, Share: uint32(max(0, s.GetWeight())),
		Requests: s.GetRequestsPerMinute(), Tokens: s.GetTokensPerMinute(), salt: r.GetName() + shadowSalt,
	}
}
