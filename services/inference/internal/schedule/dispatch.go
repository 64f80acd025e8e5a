package schedule

import (
	"time"

	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// dispatch gives turns while there is room; l.mu is held.
func (l *lane) dispatch(now time.Time) {
	if l.queue.Len() == 0 {
		return
	}
	view, _ := l.s.opts.Views.Watch()
	for at := fair.Interactive; at <= fair.Batch; at++ {
		var full map[string]bool
		for it := l.next(at, full); it != nil; it = l.next(at, full) {
			t := it.Value
			if !t.job.Ready(view) {
				l.remove(t)
				t.turn <- outcome{}
				continue
			}
			g := l.grant(t, l.pick(t, view, l.room(at, now), false), now)
			if g == nil {
				if full == nil {
					full = make(map[string]bool)
				}
				full[t.forms] = true
				continue
			}
			l.remove(t)
			t.turn <- outcome{grant: g}
		}
	}
}

// lookEvery is how often the workers' load is looked at while requests wait:
// other replicas' requests end without a word to this one.
const lookEvery = 25 * time.Millisecond

// watch gives turns when the workers, or their load, change. It ends when
// nothing waits.
func (l *lane) watch() {
	for {
		_, changed := l.s.opts.Views.Watch()
		l.mu.Lock()
		l.dispatch(l.s.opts.Clock.Now())
		if l.queue.Len() == 0 {
			l.watching = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		timer := l.s.opts.Clock.NewTimer(lookEvery)
		select {
		case <-changed:
		case <-timer.C():
		}
		timer.Stop()
	}
}

// room returns which copies have room for a request of a class.
func (l *lane) room(class fair.Class, now time.Time) func(*fleet.Copy) bool {
	share := 1.0
	if class == fair.Batch && now.Sub(l.urgent) < l.s.opts.BatchGrace {
		share = l.s.opts.BatchShare
	}
	return func(c *fleet.Copy) bool {
		if c.Suspended() {
			return false
		}
		load, slots := c.Load()
		if share < 1 {
			return float64(load) < max(1, share*float64(slots))
		}
		return load < slots+max(1, int64(l.s.opts.Overcommit*float64(slots)))
	}
}
