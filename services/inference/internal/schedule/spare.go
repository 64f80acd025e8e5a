package schedule

import (
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// spare places a request that gets only what nobody wants: nothing waits for the
// version, and a copy has more slots free than are kept for others. l.mu is held.
func (l *lane) spare(t *ticket, view *fleet.View, again bool, now time.Time) (*Grant, error) {
	if !again && l.queue.Len() == 0 {
		room := func(c *fleet.Copy) bool {
			load, slots := c.Load()
			return !c.Suspended() && float64(load) < max(1, l.s.opts.BatchShare*float64(slots))
		}
		if g := l.grant(t, l.pick(t, view, room, false), now); g != nil {
			return g, nil
		}
	}
	return nil, apierr.New(apierr.Overloaded, "%s has no room to spare", t.job.Name)
}

// yield asks those that run in spare places to give them up; l.mu is held.
func (l *lane) yield() {
	for g := range l.spares {
		if g.job.Yield != nil {
			g.job.Yield()
		}
	}
}
