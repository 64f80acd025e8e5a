package outcomes

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
)

// How batches are sent.
const (
	sendAtOnce  = 16
	sendTimeout = 10 * time.Second
	// lastTimeout bounds sending what is left when the process ends.
	lastTimeout = 2 * time.Second
	// unknownWait is how long a registry that does not take outcomes is left alone.
	unknownWait = time.Minute
)

// Registry is what takes the batches.
type Registry interface {
	ReportOutcomes(ctx context.Context, in *registryv1.ReportOutcomesRequest, opts ...grpc.CallOption) (*registryv1.ReportOutcomesResponse, error)
}

// Sender sends what a spool holds, in its order, and forgets what has arrived.
type Sender struct {
	Spool    *Spool
	Registry Registry
	Clock    clock.Clock
	Log      *slog.Logger
	Backoff  backoff.Policy
	// Refused is told of requests in a batch that the registry will never take.
	Refused func(requests int64)
}

// Run sends until ctx ends, and tries once more to send what is left.
func (s *Sender) Run(ctx context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		more, err := s.send(ctx, sendTimeout)
		switch {
		case err != nil:
			failures++
			_ = clock.Sleep(ctx, s.Clock, s.wait(ctx, err, failures))
		case more:
			failures = 0
		default:
			failures = 0
			select {
			case <-s.Spool.Changed():
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// Finish sends what is left, once.
func (s *Sender) Finish(ctx context.Context) error {
	for {
		more, err := s.send(ctx, lastTimeout)
		if err != nil || !more {
			return nil //nolint:nilerr // it stays in the spool
		}
	}
}

func (s *Sender) wait(ctx context.Context, err error, failures int) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	reason := apierr.ReasonOf(err)
	if failures == 1 || reason != apierr.Unavailable {
		s.Log.WarnContext(ctx, "outcomes were not sent and wait", slog.Any("error", err))
	}
	if reason == apierr.Unimplemented {
		return unknownWait
	}
	return s.Backoff.Wait(failures)
}

// send sends the first batches, and reports whether there may be more.
func (s *Sender) send(ctx context.Context, timeout time.Duration) (more bool, err error) {
	batches, err := s.Spool.Oldest(sendAtOnce)
	if err != nil || len(batches) == 0 {
		return false, err
	}
	if err := s.report(ctx, timeout, batches); err != nil {
		if apierr.ReasonOf(err) != apierr.InvalidArgument {
			return false, err
		}
		// One of them is refused for ever, which must not hold up the others.
		batches = batches[:1]
		err := s.report(ctx, timeout, batches)
		if err != nil && apierr.ReasonOf(err) != apierr.InvalidArgument {
			return false, err
		}
		if err != nil {
			s.refused(ctx, batches[0], err)
		}
	}
	return true, s.Spool.Done(len(batches))
}

func (s *Sender) report(ctx context.Context, timeout time.Duration, batches []*registryv1.OutcomeBatch) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.Registry.ReportOutcomes(ctx, &registryv1.ReportOutcomesRequest{Batches: batches})
	return err
}

func (s *Sender) refused(ctx context.Context, b *registryv1.OutcomeBatch, err error) {
	var requests int64
	for _, o := range b.GetOutcomes() {
		requests += o.GetSums().GetRequests()
	}
	s.Refused(requests)
	s.Log.ErrorContext(ctx, "the registry refuses outcomes, which are lost",
		slog.Int64("epoch", b.GetEpoch()), slog.Int64("sequence", b.GetSequence()), slog.Int64("requests", requests), slog.Any("error", err))
}
