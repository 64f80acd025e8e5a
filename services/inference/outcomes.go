package inference

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/poterne/poterne/pkg/lifecycle"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/outcomes"
)

// outcomesQueue is how many outcomes may wait to be added up: some ten
// milliseconds' worth of all that a process can serve.
const outcomesQueue = 8192

// reporting is the counting of outcomes and its way to the registry.
type reporting struct {
	recorder *outcomes.Recorder
	sender   *outcomes.Sender
}

func (s *Service) newReporting(registry registryv1.RegistryServiceClient) (*reporting, error) {
	cfg := s.cfg.Outcomes
	spool, err := outcomes.OpenSpool(cfg.SpoolDir, int64(cfg.SpoolBytes), s.opts.ids.New)
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	s.closers = append(s.closers, spool.Close)
	held := func() int64 { n, _, _ := spool.Held(); return int64(n) }
	recorder := outcomes.NewRecorder(outcomes.Options{
		Spool: spool, Clock: s.opts.clock, Log: s.opts.telemetry.Logger, Interval: cfg.Interval,
		Queue: outcomesQueue, Segments: cfg.Segments,
	})
	stop, err := s.metrics.ObserveOutcomes(held, recorder.Dropped)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, stop)
	return &reporting{
		recorder: recorder,
		sender: &outcomes.Sender{
			Spool: spool, Registry: registry, Clock: s.opts.clock, Log: s.opts.telemetry.Logger,
			Backoff: s.backoff(s.cfg.Registry.BackoffBase, s.cfg.Registry.BackoffMax), Refused: recorder.Refused,
		},
	}, nil
}

// component counts and sends until the process ends; then it sends what is left,
// if the registry answers.
func (r *reporting) component() lifecycle.Component {
	return lifecycle.Component{
		Name: "inference: outcomes",
		Run: func(ctx context.Context) error {
			var wg sync.WaitGroup
			var counted, sent error
			wg.Go(func() { counted = r.recorder.Run(ctx) })
			wg.Go(func() { sent = r.sender.Run(ctx) })
			wg.Wait()
			return errors.Join(counted, sent, r.sender.Finish(context.WithoutCancel(ctx)))
		},
	}
}
