// Package supervise keeps one engine alive: it starts it, waits until it is
// healthy, watches it, and starts it again with growing pauses. It knows
// neither processes nor models; start reading at Supervisor.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/lifecycle"
)

// Config is the section "supervision".
type Config struct {
	// StartTimeout bounds the time from the start to the first good health check.
	StartTimeout time.Duration `yaml:"start_timeout"`
	// HealthInterval is the time between two checks of a healthy engine, and
	// HealthTimeout how long one may take.
	HealthInterval time.Duration `yaml:"health_interval"`
	HealthTimeout  time.Duration `yaml:"health_timeout"`
	// HealthFailures is how many checks in a row must fail for an engine to be
	// taken for dead.
	HealthFailures int `yaml:"health_failures"`
	// BackoffMin is the pause before the first restart; each further one is
	// twice as long, up to BackoffMax.
	BackoffMin time.Duration `yaml:"backoff_min"`
	BackoffMax time.Duration `yaml:"backoff_max"`
	// BackoffReset is how long an engine must have been healthy for the pauses to
	// begin anew.
	BackoffReset time.Duration `yaml:"backoff_reset"`
	// QuarantineAfter is how many times in a row an engine must fail, without
	// having been healthy for BackoffReset, for its version to be quarantined; 0
	// is never.
	QuarantineAfter int `yaml:"quarantine_after"`
	// Quarantine is how long a version then is not started; each time again it is
	// twice as long, up to QuarantineMax.
	Quarantine    time.Duration `yaml:"quarantine"`
	QuarantineMax time.Duration `yaml:"quarantine_max"`
	// StopGrace is how long an engine may take to end by itself when it is told.
	StopGrace time.Duration `yaml:"stop_grace"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		StartTimeout: 10 * time.Minute, HealthInterval: 5 * time.Second, HealthTimeout: 5 * time.Second,
		HealthFailures: 3, BackoffMin: 500 * time.Millisecond, BackoffMax: 30 * time.Second,
		BackoffReset: time.Minute, StopGrace: 5 * time.Second,
		QuarantineAfter: 6, Quarantine: 10 * time.Minute, QuarantineMax: 2 * time.Hour,
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"start_timeout", c.StartTimeout},
		{"health_interval", c.HealthInterval},
		{"health_timeout", c.HealthTimeout},
		{"backoff_min", c.BackoffMin},
		{"backoff_reset", c.BackoffReset},
		{"stop_grace", c.StopGrace},
		{"quarantine", c.Quarantine},
	} {
		p.Check(d.value > 0, prefix+"."+d.key, "must be positive, got %v", d.value)
	}
	p.Check(c.BackoffMax >= c.BackoffMin, prefix+".backoff_max", "must not be less than backoff_min, got %v", c.BackoffMax)
	p.Check(c.QuarantineAfter >= 0, prefix+".quarantine_after", "must not be negative, got %d", c.QuarantineAfter)
	p.Check(c.QuarantineMax >= c.Quarantine, prefix+".quarantine_max", "must not be less than quarantine, got %v", c.QuarantineMax)
	p.Check(c.HealthFailures > 0, prefix+".health_failures", "must be positive, got %d", c.HealthFailures)
}

// Instance is one life of an engine.
type Instance interface {
	// Exited is closed when the engine has ended by itself; nil when that cannot
	// be seen.
	Exited() <-chan struct{}
	// Err says how it ended, once Exited is closed.
	Err() error
	// Health returns nil when requests are served.
	Health(ctx context.Context) error
	// Stop ends it, and returns when it is gone.
	Stop()
}

// State is how far the engine is.
type State int

// The states.
const (
	Starting State = iota + 1
	Ready
	Failed
)

// Status is what is reported of the engine.
type Status struct {
	State State
	// Reason says why it failed; until it is ready again, why it did the last
	// time.
	Reason string
	// Restarts counts the starts after the first.
	Restarts int
	// Pause is the time from a failure to the next start, and Next when that is; 0
	// where there is none: it has not failed, or is given up.
	Pause time.Duration
	Next  time.Time
	// Instance is the present one when it is ready, and nil otherwise.
	Instance Instance
}

// ExcusedError is why a start failed through no fault of the engine's: it is tried
// again like any other, but nothing is quarantined for it.
type ExcusedError struct{ Err error }

func (e *ExcusedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ExcusedError) Unwrap() error { return e.Err }

// Supervisor keeps one engine alive. Run may be called once.
type Supervisor struct {
	cfg    Config
	clock  clock.Clock
	jitter lifecycle.Jitter
	start  func(context.Context) (Instance, error)
	report func(context.Context, Status)
}

// New returns a supervisor of what start starts. report is told of every
// change, one at a time; while it runs nothing else happens.
func New(cfg Config, c clock.Clock, jitter lifecycle.Jitter, start func(context.Context) (Instance, error), report func(context.Context, Status)) *Supervisor {
	return &Supervisor{cfg: cfg, clock: c, jitter: jitter, start: start, report: report}
}

// Run keeps the engine alive until ctx ends, and returns when it is gone. It
// gives an engine up that fails again and again, and returns why it did the last
// time; else it returns nil.
func (s *Supervisor) Run(ctx context.Context) error {
	failures, blamed, reason := 0, 0, ""
	for restarts := 0; ctx.Err() == nil; restarts++ {
		s.report(ctx, Status{State: Starting, Reason: reason, Restarts: restarts})
		healthy, err := s.life(ctx, restarts)
		if ctx.Err() != nil {
			break
		}
		if healthy >= s.cfg.BackoffReset {
			failures, blamed = 0, 0
		}
		failures++
		if _, excused := errors.AsType[*ExcusedError](err); !excused {
			blamed++
		}
		reason = err.Error()
		failed := Status{State: Failed, Reason: reason, Restarts: restarts}
		if s.cfg.QuarantineAfter > 0 && blamed >= s.cfg.QuarantineAfter {
			s.report(ctx, failed)
			return fmt.Errorf("failed %d times in a row, the last time because %w", blamed, err)
		}
		failed.Pause = s.backoff(failures)
		failed.Next = s.clock.Now().Add(failed.Pause)
		s.report(ctx, failed)
		if clock.Sleep(ctx, s.clock, failed.Next.Sub(s.clock.Now())) != nil {
			break
		}
	}
	return nil //nolint:nilerr // it was told to end
}

// life is one start, and what follows, to the end. It returns how long the
// engine was healthy and why it ended.
func (s *Supervisor) life(ctx context.Context, restarts int) (time.Duration, error) {
	inst, err := s.start(ctx)
	if err != nil {
		return 0, err
	}
	defer inst.Stop()
	judge := func(err error) error {
		if inst.Exited() == nil {
			return &ExcusedError{err} // what runs elsewhere is not ours to judge
		}
		return err
	}
	if err := s.awaitHealth(ctx, inst); err != nil {
		return 0, judge(err)
	}
	since := s.clock.Now()
	s.report(ctx, Status{State: Ready, Restarts: restarts, Instance: inst})
	err = s.watch(ctx, inst)
	return s.clock.Now().Sub(since), judge(err)
}

const (
	firstProbe = 20 * time.Millisecond
	slowProbe  = 500 * time.Millisecond
)

// awaitHealth checks often at first: small models are there in a moment.
func (s *Supervisor) awaitHealth(ctx context.Context, inst Instance) error {
	deadline := s.clock.Now().Add(s.cfg.StartTimeout)
	for pause := firstProbe; ; pause = min(pause*5/4, slowProbe) {
		err := s.check(ctx, inst)
		if err == nil {
			return nil
		}
		if !s.clock.Now().Before(deadline) {
			return fmt.Errorf("not ready within %v: %w", s.cfg.StartTimeout, err)
		}
		if err := s.wait(ctx, inst, pause); err != nil {
			return err
		}
	}
}

// watch returns why a healthy engine is to be ended.
func (s *Supervisor) watch(ctx context.Context, inst Instance) error {
	for failed := 0; ; {
		if err := s.wait(ctx, inst, s.cfg.HealthInterval); err != nil {
			return err
		}
		err := s.check(ctx, inst)
		if err == nil {
			failed = 0
			continue
		}
		if failed++; failed >= s.cfg.HealthFailures {
			return fmt.Errorf("%d health checks in a row failed: %w", failed, err)
		}
	}
}

func (s *Supervisor) check(ctx context.Context, inst Instance) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := s.clock.NewTimer(s.cfg.HealthTimeout)
	defer timer.Stop()
	done := make(chan error, 1)
	go func() { done <- inst.Health(ctx) }()
	select {
	case err := <-done:
		return err
	case <-inst.Exited():
		return inst.Err()
	case <-timer.C():
		return fmt.Errorf("no answer within %v", s.cfg.HealthTimeout)
	}
}

// wait returns early when the engine or ctx ends, and says so.
func (s *Supervisor) wait(ctx context.Context, inst Instance, d time.Duration) error {
	timer := s.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-inst.Exited():
		return inst.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// backoff is the pause before a restart: doubled each time, and between half
// and the whole of that, so that engines that failed together do not all start
// together.
func (s *Supervisor) backoff(failures int) time.Duration {
	d := s.cfg.BackoffMin
	for range failures - 1 {
		if d *= 2; d >= s.cfg.BackoffMax {
			d = s.cfg.BackoffMax
			break
		}
	}
	if s.jitter == nil {
		return d
	}
	return d/2 + time.Duration(s.jitter()*float64(d)/2)
}
