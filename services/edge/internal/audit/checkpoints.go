package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// CheckpointStore keeps checkpoints; *SQLSink is one.
type CheckpointStore interface {
	AddCheckpoint(ctx context.Context, c auditproof.Checkpoint, text string) error
	Checkpoints(ctx context.Context, chain string) ([]string, error)
	Thin(ctx context.Context, chain string, every int64) error
}

// Checkpointer signs checkpoints of a trail's chain, keeps them in the store, and
// hands them to the places elsewhere. It is safe for concurrent use.
type Checkpointer struct {
	cfg    CheckpointConfig
	trail  *Trail
	store  CheckpointStore
	keys   *Keys
	places []*place
	clock  clock.Clock
	log    *slog.Logger

	signing sync.Mutex   // held while one is signed and kept
	signed  atomic.Int64 // the size of the last one; -1 before the first
}

// NewCheckpointer returns one for trail, whose chain must be set.
func NewCheckpointer(cfg CheckpointConfig, t *Trail, store CheckpointStore, keys *Keys, c clock.Clock, log *slog.Logger, m *metrics.Metrics) (*Checkpointer, error) {
	places, err := openPlaces(cfg, c, log, m)
	if err != nil {
		return nil, err
	}
	k := &Checkpointer{cfg: cfg, trail: t, store: store, keys: keys, places: places, clock: c, log: log}
	k.signed.Store(-1)
	return k, nil
}

// thinEvery is how close checkpoints may stay together in the store.
const thinEvery = 10_000

// Component signs while the process runs, and once more at its end. Start it before
// the trail's, so that it stops after.
func (k *Checkpointer) Component() lifecycle.Component {
	return lifecycle.Component{
		Name: "audit checkpoints",
		Run: func(ctx context.Context) error {
			for ctx.Err() == nil {
				k.wait(ctx)
				if err := k.Sign(ctx, false); err != nil && ctx.Err() == nil {
					k.log.ErrorContext(ctx, "a checkpoint of the audit trail cannot be kept; it is tried again", telemetry.Err(err))
				}
			}
			return nil
		},
		Stop: func(ctx context.Context) error {
			if err := k.Sign(ctx, true); err != nil {
				// The next start ends the chain.
				k.log.ErrorContext(ctx, "the last checkpoint of the audit trail cannot be kept", telemetry.Err(err))
			}
			return nil
		},
	}
}

// wait waits for the next checkpoint's time: when there are enough records, or the
// interval is over.
func (k *Checkpointer) wait(ctx context.Context) {
	const look = 250 * time.Millisecond
	for end := k.clock.Now().Add(k.cfg.Interval); ctx.Err() == nil && k.clock.Now().Before(end); {
		_ = clock.Sleep(ctx, k.clock, min(look, k.cfg.Interval))
		if size, _ := k.trail.Head(); k.signed.Load() >= 0 && size-k.signed.Load() >= k.cfg.Every {
			return
		}
	}
}

// Sign signs the chain as it is now, once the sink has its records, unless nothing
// came since the last one. ended says that nothing will.
func (k *Checkpointer) Sign(ctx context.Context, ended bool) error {
	k.signing.Lock()
	defer k.signing.Unlock()
	c := k.trail.state()
	if c.Tree.Size == k.signed.Load() && !ended {
		return nil
	}
	if err := k.trail.Flush(ctx); err != nil {
		return err
	}
	c.Time, c.Ended = k.clock.Now(), ended
	text, err := k.keys.Sign(c)
	if err != nil {
		return err
	}
	if err := k.store.AddCheckpoint(ctx, c, text); err != nil {
		k.trail.metrics.AuditFailure(ctx)
		return err
	}
	if c.Tree.Size/thinEvery > max(k.signed.Load(), 0)/thinEvery {
		if err := k.store.Thin(ctx, c.Chain, thinEvery); err != nil {
			k.log.WarnContext(ctx, "old checkpoints of the audit trail stay", telemetry.Err(err))
		}
	}
	k.signed.Store(c.Tree.Size)
	k.trail.metrics.AuditCheckpoint(ctx, c.Tree.Size, c.Time)
	for _, p := range k.places {
		p.give(text)
	}
	return nil
}

// Places are the parts that bring checkpoints elsewhere.
func (k *Checkpointer) Places() []lifecycle.Component {
	out := make([]lifecycle.Component, 0, len(k.places))
	for _, p := range k.places {
		out = append(out, p.component())
	}
	return out
}

// EndChain signs what a process that was killed left of a chain: its records are
// those that the journal and the store had.
func (k *Checkpointer) EndChain(ctx context.Context, s *SQLSink, chain string) error {
	regs, err := s.Registrations(ctx)
	if err != nil {
		return err
	}
	c := auditproof.Checkpoint{Chain: chain, Ended: true}
	known := false
	for _, r := range regs {
		if r.Chain == chain {
			c.Head, known = r.Hash, true
		}
	}
	if !known {
		return nil // of another store
	}
	texts, err := s.Checkpoints(ctx, chain)
	if err != nil {
		return err
	}
	for _, text := range texts {
		last, err := k.keys.Open(text)
		if err != nil {
			return fmt.Errorf("audit: chain %s: %w", chain, err)
		}
		if last.Tree.Size >= c.Tree.Size {
			c.Tree, c.Head = last.Tree.Clone(), last.Head
		}
	}
	errGap := errors.New("not whole")
	err = s.Chained(ctx, chain, c.Tree.Size, func(r Record) error {
		if r.Sequence != c.Tree.Size || r.Previous != c.Head || r.Sum() != r.Hash {
			return errGap
		}
		c.Tree.Add(r.Hash)
		c.Head = r.Hash
		return nil
	})
	if errors.Is(err, errGap) {
		k.log.ErrorContext(ctx, "an audit chain is not as its process left it; verify it", slog.String(metrics.KeyChain, chain))
		return nil
	}
	if err != nil {
		return err
	}
	c.Time = k.clock.Now()
	text, err := k.keys.Sign(c)
	if err != nil {
		return err
	}
	if err := s.AddCheckpoint(ctx, c, text); err != nil {
		return err
	}
	for _, p := range k.places {
		p.give(text)
	}
	return nil
}
