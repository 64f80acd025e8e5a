package registry

import (
	"context"
	"strings"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/rollout"
)

// buildRollouts makes the controller of the rollouts, which every replica has: the
// lease lets one of them act.
func (s *Service) buildRollouts() error {
	s.rollouts = rollout.NewController(s.store, rollout.Options{
		Clock: s.opts.clock, Logger: s.opts.telemetry.Logger, Judge: s.opts.judge, Holder: s.opts.ids.New(),
		Period: s.cfg.Rollouts.Period, Lease: s.cfg.Rollouts.Lease,
		Decided: func(ctx context.Context, kind registryv1.RolloutEventKind) {
			s.metrics.Decided(ctx, word(kind.String(), "ROLLOUT_EVENT_KIND_"))
		},
	})
	stop, err := s.metrics.ObserveRollouts(func() map[string]int64 {
		out := make(map[string]int64)
		for state, n := range s.rollouts.Active() {
			out[word(state.String(), "ROLLOUT_STATE_")] = n
		}
		return out
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, stop)
	return nil
}

// word is an enumeration's value as metrics write it.
func word(value, prefix string) string { return strings.ToLower(strings.TrimPrefix(value, prefix)) }
