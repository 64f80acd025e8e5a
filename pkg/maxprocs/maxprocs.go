// Package maxprocs sets by the work that there is on how many processors at once a
// process runs Go code (GOMAXPROCS). Services that share a small machine and have little
// to do take one processor fewer from each other, and their requests stay with the caches
// that hold them (docs/adr/0098). Start reading at Component.
package maxprocs

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
)

const (
	// interval is how often is looked at what the process took of the processors.
	interval = 100 * time.Millisecond
	// renew is how often the machine, or the container's limit, is asked how many
	// processors there are: Go itself asks no longer once somebody else has set a number.
	renew = time.Minute
)

// Component keeps GOMAXPROCS between half of what Go would have chosen, at least one, and
// all of it. Where the environment names GOMAXPROCS, and where there is but one processor,
// or the system does not tell what a process takes of them, it does nothing.
func Component(c clock.Clock) lifecycle.Component {
	return lifecycle.Component{
		Name: "processors by the work",
		Run: func(ctx context.Context) error {
			if os.Getenv("GOMAXPROCS") != "" {
				return nil
			}
			if _, ok := used(); !ok {
				return nil
			}
			g := newGovernor(runtime.GOMAXPROCS(0))
			defer runtime.SetDefaultGOMAXPROCS()
			g.run(ctx, c, used, limit, func(n int) { runtime.GOMAXPROCS(n) })
			return nil
		},
	}
}

// limit is what Go chooses; it is set as well.
func limit() int {
	runtime.SetDefaultGOMAXPROCS()
	return runtime.GOMAXPROCS(0)
}

// run looks again and again until ctx ends; used tells the time on all processors since
// the start, limit sets and tells the most, and set sets.
func (g *governor) run(ctx context.Context, c clock.Clock, used func() (time.Duration, bool), limit func() int, set func(int)) {
	ticks := c.NewTicker(interval)
	defer ticks.Stop()
	at := c.Now()
	took, _ := used()
	renewed := at
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C():
		}
		now := c.Now()
		if now.Sub(renewed) >= renew {
			renewed = now
			most := limit()
			if g.limit(most); g.now != most {
				set(g.now)
			}
		}
		took2, ok := used()
		if !ok || !now.After(at) {
			continue
		}
		was := g.now
		if g.look(float64(took2-took) / float64(now.Sub(at))); g.now != was {
			set(g.now)
		}
		at, took = now, took2
	}
}
