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
	interval = time.Second
	// rarely is after how many looks without a collection pages are given back that
	// rarer work has touched.
	rarely = 5
	// quiet is what a process without requests allocates in that time at most:
	// its own polls and probes.
	quiet = 1 << 20
	// enough is the resident size that is left alone.
	enough = 28 << 20
	// worth is how much more than after the last one makes a collection worth what
	// it costs.
	worth = 2 << 20
)

// Component gives memory back when the parts before it have started, and then
// whenever the process is quiet and has more than it needs then.
func Component(c clock.Clock) lifecycle.Component {
	return lifecycle.Component{
		Name: "footprint",
		Run: func(ctx context.Context) error {
			trim()
			ticks := c.NewTicker(interval)
			defer ticks.Stop()
			k := keeper{allocated: read("/gc/heap/allocs:bytes"), heap: anonymous()}
			for {
				select {
				case <-ticks.C():
					k.look()
				case <-ctx.Done():
					return nil
				}
			}
		},
	}
}

// keeper knows what was seen before.
type keeper struct {
	allocated, cycles uint64
	looks             int // since pages were given back
	heap              int // the process's own memory after the last collection that was asked for
}

// look gives back above all what a collection has touched: stacks, and with them the
// tables that describe the functions on them. After one that was asked for, stacks
// that it shrank grow again, for which it looks once more.
func (k *keeper) look() {
	before := k.allocated
	k.allocated = read("/gc/heap/allocs:bytes")
	cycles := read("/gc/cycles/total:gc-cycles")
	k.looks++
	if k.allocated-before >= quiet || cycles == k.cycles && k.looks < rarely || resident() <= enough {
		return
	}
	k.looks = 0
	if anonymous() > k.heap+worth {
		trim()
		k.heap = anonymous()
		return
	}
	dropProgram()
	k.cycles = cycles
}

func trim() {
	debug.FreeOSMemory()
	dropProgram()
}

// read returns a number of the runtime's; 0 when it has none of that name.
func read(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
