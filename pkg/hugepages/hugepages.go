// Package hugepages has a process's heap and its program lie in pages of two megabytes,
// which Linux gives to who asks. A processor remembers where some thousand pages are;
// a heap of a hundred megabytes in pages of 4 KB is far more than that, and in a
// virtual machine each page that is not remembered is looked up twice over
// (docs/adr/0095). Start reading at KeepHeap.
package hugepages

import (
	"context"
	"log/slog"
	"runtime/metrics"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
)

// interval is how often is looked at what of the heap is filled.
const interval = time.Second / 4

// off is Go's own setting for a heap without huge pages (GODEBUG, see package runtime).
const off = "disablethp=1"

// KeepHeap moves the heap to huge pages as it fills, while the process runs. It is best
// effort: where the system has none (before Linux 6.1) or was told to give none, and where
// GODEBUG has disablethp=1, it does nothing.
func KeepHeap(c clock.Clock) lifecycle.Component {
	return lifecycle.Component{
		Name: "heap in huge pages",
		Run: func(ctx context.Context) error {
			var h Heap
			return lifecycle.Every(ctx, c, interval, nil, func(context.Context) error {
				h.Look()
				return nil
			})
		},
	}
}

// Program has the code and the tables of the program lie in huge pages, as its own
// copies: for processes whose program is in memory anyway. Where memory is limited to
// less than 512 MB (control groups), the program stays as it is. What watches programs by
// their files, as probes of the kernel do (uprobes), does not see code that was copied.
// Where it cannot be had, which l is told as a detail, and where GODEBUG has
// disablethp=1, the program stays as it is.
func Program(l *slog.Logger) lifecycle.Component {
	return lifecycle.Component{
		Name: "program in huge pages",
		Run: func(ctx context.Context) error {
			if unwanted() || short() {
				return nil
			}
			if err := moveProgram(); err != nil {
				l.DebugContext(ctx, "the program is not in huge pages", "error", err)
			}
			return nil
		},
	}
}

// heapSize is how many bytes of addresses the heap and the stacks in it take.
func heapSize() (n uint64) {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}
	metrics.Read(samples)
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			n += s.Value.Uint64()
		}
	}
	return n
}
