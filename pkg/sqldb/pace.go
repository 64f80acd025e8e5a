package sqldb

import (
	"runtime"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// maxGiven is how often longer than it worked whoever inserts waits for other threads.
const maxGiven = 4

// pace lets others go first between the statements of an insertion, which may keep a
// processor for many milliseconds: goroutines whose turn it is in this process, and other
// threads that wait for this processor, an engine's or a client's. Linux would leave those
// waiting until its next tick, which may be 4 ms away. On a machine with far too much to
// do, each time may take many milliseconds, so they are limited: rows must not come faster
// than they are inserted.
type pace struct {
	clock         clock.Clock
	giveWay       func() // to other threads
	worked, given time.Duration
	from          time.Time // when the work since the last time began
}

func newPace() pace {
	c := clock.Real()
	return pace{clock: c, giveWay: giveWay, from: c.Now()}
}

// next is called between two statements.
func (p *pace) next() {
	at := p.clock.Now()
	p.worked += at.Sub(p.from)
	runtime.Gosched()
	p.from = p.clock.Now()
	if p.given > maxGiven*p.worked {
		return
	}
	at = p.from
	p.giveWay()
	p.from = p.clock.Now()
	p.given += p.from.Sub(at)
}
