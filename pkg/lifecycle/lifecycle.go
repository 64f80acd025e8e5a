// Package lifecycle starts the parts of a process in order, runs them side by
// side, and closes them in the reverse order: gracefully first, then by force.
// The first failure ends everything and is the cause that Run reports. The
// package does not know what the parts are; start reading at Run.
package lifecycle

import (
	"context"
	"log/slog"
	"time"
)

// Component is one part of a process. Every function may be nil.
type Component struct {
	// Name appears in logs and errors.
	Name string
	// Start returns once the part can be used. Its context ends when the start
	// takes too long or the process is asked to end; what outlives Start must
	// not be bound to it.
	Start func(ctx context.Context) error
	// Run works until ctx ends. A nil return before that is a part that had
	// finished, and ends nothing; an error ends the process. When the process
	// ends, ctx is cancelled only after the part's Drain has returned, or right
	// before its Stop when there was no time to drain it.
	Run func(ctx context.Context) error
	// Drain stops taking new work and waits for work in hand, within ctx. It is
	// not called once the time for draining is over: Stop must do alone.
	Drain func(ctx context.Context) error
	// Cut ends the work that Drain was waiting for when the time for draining was
	// over, while everything that was started before still runs. The time for
	// stopping has begun. What it returns is reported in place of the drain.
	Cut func(ctx context.Context) error
	// Stop releases everything at once. It is called for every part whose Start
	// was called, also when that Start failed, and must allow for that.
	Stop func(ctx context.Context) error
}

// Options tune Run. A zero duration takes the default.
type Options struct {
	// Logger is told about every step; nil discards.
	Logger *slog.Logger
	// StartTimeout bounds each part's Start; 30 s by default.
	StartTimeout time.Duration
	// DrainTimeout bounds the draining of all parts together; 20 s by default.
	// When it is over, the part that took it is reported and cut, and those that
	// are left are stopped without being drained.
	DrainTimeout time.Duration
	// StopTimeout bounds the cutting and stopping of all parts together; 5 s by
	// default.
	StopTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = 30 * time.Second
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 20 * time.Second
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = 5 * time.Second
	}
	return o
}

// Run starts comps in order and runs them until ctx ends or one of them fails;
// then it drains and stops, in the reverse order, those that were started. It
// returns nil when the end was asked for and everything closed well. Otherwise
// the first failure comes first in the returned error, joined by what failed
// later. Run may be called again with the same components only if they allow it.
func Run(ctx context.Context, opts Options, comps ...Component) error {
	r := newRunner(opts.withDefaults())
	return r.run(ctx, comps)
}
