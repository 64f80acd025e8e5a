package evidence

import (
	"context"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/registry/internal/outcome"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Source is where the sums are.
type Source interface {
	// Evidence returns what was counted of an experiment since a time.
	Evidence(ctx context.Context, model, experiment string, since time.Time) (*store.Evidence, error)
	// TidyOutcomes puts old sums together; it may be called too often.
	TidyOutcomes(ctx context.Context) error
}

// Keeper answers questions about evidence. It holds no state and is safe for
// concurrent use.
type Keeper struct {
	source Source
	clock  clock.Clock
	log    *slog.Logger
}

// New returns a keeper over the sums in source.
func New(source Source, c clock.Clock, log *slog.Logger) *Keeper {
	return &Keeper{source: source, clock: c, log: log}
}

// Run puts old sums together from time to time, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		if err := clock.Sleep(ctx, k.clock, time.Minute); err != nil {
			return nil //nolint:nilerr // it was told to end
		}
		if err := k.source.TidyOutcomes(ctx); err != nil && ctx.Err() == nil {
			k.log.WarnContext(ctx, "old outcomes were not put together", slog.Any("error", err))
		}
	}
}

// Judge says whether a candidate may go on. A breach is told as soon as it is
// certain, and none while subjects do not fall into the arms as they should.
func (k *Keeper) Judge(ctx context.Context, q Question) (Judgement, error) {
	ev, err := k.source.Evidence(ctx, q.Model, q.Experiment, q.Since)
	if err != nil {
		return Judgement{}, err
	}
	byName := make(map[string]*arm)
	out := Judgement{Requests: make(map[string]int64)}
	for _, a := range arms(ev.Outcomes) {
		if a.name == q.Baseline && q.BaselineVersion != 0 && a.version != q.BaselineVersion {
			continue
		}
		if byName[a.name] == nil {
			byName[a.name] = newArm(a.name, a.version)
		}
		outcome.Add(byName[a.name].sums, a.sums)
		out.Requests[a.name] += a.sums.GetRequests()
	}
	need := max(q.MinRequests, 1)
	out.Enough = out.Requests[q.Baseline] >= need && out.Requests[q.Candidate] >= need
	if m := sampleRatio(ev.Exposed); m.mismatch {
		out.Mismatch = m.words
		return out, nil
	}
	baseline, candidate := byName[q.Baseline], byName[q.Candidate]
	if baseline == nil || candidate == nil {
		return out, nil
	}
	for _, g := range q.Guardrails {
		if b := g.check(baseline, candidate); b != nil {
			out.Breaches = append(out.Breaches, *b)
		}
	}
	return out, nil
}
