package follow

import "errors"

// News is what is to be told of a store that is polled.
type News int

// The news.
const (
	// Nothing has changed.
	Nothing News = iota
	// Late: the store has not answered in time, once. It may only be busy, as the whole
	// machine is when a program starts under load.
	Late
	// Away: it failed, or was late twice in a row.
	Away
	// Back: it answers again after it was away.
	Back
)

// Outage turns how polls went into news, each of which is told once: a store is asked
// several times a second. The zero value is ready. It is for one goroutine.
type Outage struct{ late, away bool }

// Polled is told how a poll went, and returns what is new.
func (o *Outage) Polled(err error) News {
	was := *o
	switch {
	case err == nil:
		*o = Outage{}
		if was.away {
			return Back
		}
		return Nothing
	case was.away:
		return Nothing
	case errors.Is(err, ErrLate) && !was.late:
		o.late = true
		return Late
	default:
		o.away = true
		return Away
	}
}
