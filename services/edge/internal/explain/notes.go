package explain

import (
	"slices"
	"time"
)

const (
	// firstBytes is what the decisions of most requests need.
	firstBytes = 512
	// lastBytes is kept free for the last decision.
	lastBytes = 1 << 10
)

// Notes are the decisions about a request in hand. They are kept in the form in which
// its record has them, so that noting one keeps nothing else alive. The zero value
// notes without times. They are not safe for concurrent use.
type Notes struct {
	arrival time.Time
	now     func() time.Time
	buf     []byte
	count   int
	omitted int
	ended   bool // or nothing is to be noted at all
}

// Begin has decisions noted with their times, about a request that came at arrival;
// now tells the time.
func (n *Notes) Begin(arrival time.Time, now func() time.Time) { n.arrival, n.now = arrival, now }

// Off has nothing noted.
func (n *Notes) Off() { n.ended = true }

// Add notes a decision. What goes beyond the bounds is counted, and what comes after
// End is lost.
func (n *Notes) Add(d Decision) {
	if n.ended {
		return
	}
	if n.count == MaxDecisions {
		n.omitted++
		return
	}
	n.add(d, MaxBytes-lastBytes)
}

// End notes the last decision, and returns all of them.
func (n *Notes) End(d Decision) Encoded {
	if n.ended {
		return nil
	}
	n.add(d, MaxBytes-len(beginOmitted(nil, 0))-maxVarint)
	n.ended = true
	return n.Encoded()
}

func (n *Notes) add(d Decision, bound int) {
	if n.buf == nil {
		n.buf = append(make([]byte, 0, firstBytes), form)
	}
	var start time.Duration
	switch {
	case n.now == nil:
	case d.Start.IsZero():
		start = n.now().Sub(n.arrival) - d.Duration
	default:
		start = d.Start.Sub(n.arrival)
	}
	before := len(n.buf)
	n.buf = appendDecision(n.buf, d.Step, d.Outcome, d.Detail, d.Attributes, max(start, 0), max(d.Duration, 0))
	if len(n.buf) > bound {
		n.buf = n.buf[:before]
		n.omitted++
		return
	}
	n.count++
}

// Encoded returns what was noted so far; it stays as it is.
func (n *Notes) Encoded() Encoded {
	if n.omitted == 0 {
		return slices.Clip(n.buf)
	}
	return beginOmitted(slices.Clip(n.buf), n.omitted)
}
