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
	// interval is how often is looked whether the process is quiet. What the edge's own
	// polls touch in a second is 5 MB, and where Linux maps it by 64 KB at a time
	// (singly) 10 MB, and 20 in some more; to have it mapped anew costs some
	// milliseconds.
	interval = time.Second
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
			release, _ := singly() // where it cannot be had, there is more to drop
			defer release()
			trim()
			ticks := c.NewTicker(interval)
			defer ticks.Stop()
			k := keeper{allocated: allocated(), heap: anonymous()}
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
	allocated uint64
	heap      int // the process's own memory after the last collection that was asked for
}

// look gives back what was touched since the last look. After a collection that was
// asked for, stacks that it shrank grow again, for which the next one looks.
func (k *keeper) look() {
	before := k.allocated
	k.allocated = allocated()
	if k.allocated-before >= quiet || resident() <= enough {
		return
	}
	if anonymous() > k.heap+worth {
		trim()
		k.heap = anonymous()
		return
	}
	dropProgram()
}

func trim() {
	debug.FreeOSMemory()
	dropProgram()
}

// allocated returns the bytes that were ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
