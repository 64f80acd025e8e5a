package agent

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// makeRoom returns where the candidate goes. When it may, it unloads models for
// that: those used longest ago first, and no more than are needed.
func (a *Agent) makeRoom(ctx context.Context, c *candidate, evict bool) (spot, error) {
	now := a.roomFor(c)
	at, refusal := now.place(c)
	if refusal == nil || !evict {
		return at, refusal
	}
	victims := a.victims()
	then, chosen := now, 0
	for refusal != nil && chosen < len(victims) {
		then = then.without(victims[chosen])
		chosen++
		_, refusal = then.place(c)
	}
	if refusal != nil {
		e := apierr.From(refusal).WithMetadata("evictable_models", strconv.Itoa(len(victims)))
		if len(victims) > 0 {
			e.Message += "; unloading all " + strconv.Itoa(len(victims)) + " models that are not in use would not be enough"
		}
		return spot{}, e
	}
	needed := fewest(now, c, victims[:chosen])
	if err := a.evict(ctx, c.model, needed); err != nil {
		return spot{}, err
	}
	return a.roomFor(c).place(c)
}

// victims are the models that may be unloaded, those used longest ago first.
func (a *Agent) victims() []*model {
	now := a.parts.Clock.Now()
	var out []*model
	for _, m := range a.list() {
		if a.evictable(m, now) {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(x, y *model) int { return cmp.Compare(x.used.Load(), y.used.Load()) })
	return out
}

func (a *Agent) evictable(m *model, now time.Time) bool {
	return !m.pinned.Load() && !m.isDraining() && !m.starting() && m.gate.idle() && now.Sub(m.lastUsed()) >= a.cfg.MinIdle
}

// fewest leaves out the victims without which there is room all the same, those
// used last first.
func fewest(now room, c *candidate, victims []*model) []*model {
	keep := slices.Clone(victims)
	for i := len(victims) - 1; i >= 0 && len(keep) > 1; i-- {
		rest := slices.DeleteFunc(slices.Clone(keep), func(m *model) bool { return m == victims[i] })
		then := now
		for _, m := range rest {
			then = then.without(m)
		}
		if _, err := then.place(c); err == nil {
			keep = rest
		}
	}
	return keep
}

// evict unloads the models and returns when they are gone.
func (a *Agent) evict(ctx context.Context, forModel *model, victims []*model) error {
	for i, m := range victims {
		if m.gate.closeIfIdle() {
			continue
		}
		for _, other := range victims[:i] {
			other.gate.reopen()
		}
		return apierr.New(apierr.Unavailable, "%s was asked something while it was to be unloaded for %s", m.name, forModel.name).
			WithRetryAfter(time.Second)
	}
	for _, m := range victims {
		m.drain()
		a.log.InfoContext(ctx, "model is unloaded to make room", slog.String(keyModel, m.name), slog.String(keyDigest, m.digest),
			slog.String("for", forModel.name), slog.Time("last_used", m.lastUsed()))
		a.metrics.evictions.Add(ctx, 1)
		m.cancel()
	}
	a.hub.changed()
	for _, m := range victims {
		select {
		case <-m.done:
		case <-ctx.Done():
			return apierr.Wrap(apierr.Unavailable, context.Cause(ctx), "room is being made; try again").WithRetryAfter(time.Second)
		}
	}
	return nil
}
