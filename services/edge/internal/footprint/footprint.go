// Package footprint gives back memory that a quiet process does not need: heap
// that is free again, and pages of the program itself, such as the code and
// tables that only starting and busier times have touched. Pages that are needed
// again come back from the page cache by themselves. Start reading at Component.
package footprint

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
)

const (
	// interval is how often is looked whether the process is quiet.
	interval = 10 * time.Second
	// quiet is what a process without requests allocates in that time at most:
	// its own polls and probes take a few MiB.
	quiet = 6 << 20
	// enough is the resident size that is left alone.
	enough = 30 << 20
)

// Component gives memory back when the parts before it have started, and then
// whenever the process is quiet and has more than it needs then.
func Component(c clock.Clock) lifecycle.Component {
	return lifecycle.Component{
		Name:  "footprint",
		Start: func(context.Context) error { trim(); return nil },
		Run: func(ctx context.Context) error {
			ticks := c.NewTicker(interval)
			defer ticks.Stop()
			last := allocated()
			for {
				select {
				case <-ticks.C():
				case <-ctx.Done():
					return nil
				}
				now := allocated()
				if now-last < quiet && resident() > enough {
					trim()
				}
				last = now
			}
		},
	}
}

func trim() {
	debug.FreeOSMemory()
	dropProgram()
}

// allocated returns how many bytes the process has ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
