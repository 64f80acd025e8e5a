package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
)

// errEnding is the cause with which Run functions see their context end when
// nothing failed.
var errEnding = errors.New("the process is ending")

type runner struct {
	opts Options

	mu     sync.Mutex
	errs   []error
	failed chan struct{} // closed at the first failure
}

func newRunner(opts Options) *runner {
	return &runner{opts: opts, failed: make(chan struct{})}
}

// fail notes err; the first one noted is the cause.
func (r *runner) fail(err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
	if len(r.errs) == 1 {
		close(r.failed)
	}
}

func (r *runner) result() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) == 1 {
		return r.errs[0]
	}
	return errors.Join(r.errs...)
}

// running is one part that was started.
type running struct {
	comp   Component
	usable bool // its Start succeeded
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when its Run returned
}

func (r *runner) run(ctx context.Context, comps []Component) error {
	var started []*running
	for _, c := range comps {
		if r.ended(ctx) {
			break
		}
		err := r.start(ctx, c)
		if err != nil && ctx.Err() == nil && !errors.Is(err, errEnding) {
			r.fail(fmt.Errorf("start %s: %w", c.Name, err))
		}
		started = append(started, r.launch(ctx, c, err == nil))
	}
	if !r.ended(ctx) {
		r.opts.Logger.InfoContext(ctx, "started", slog.Int("components", len(started)))
		select {
		case <-ctx.Done():
		case <-r.failed:
		}
	}
	r.opts.Logger.InfoContext(ctx, "ending", slog.Any("cause", r.cause(ctx)))
	r.stop(ctx, started, r.drain(ctx, started))
	return r.result()
}

func (r *runner) ended(ctx context.Context) bool {
	select {
	case <-r.failed:
		return true
	default:
		return ctx.Err() != nil
	}
}

func (r *runner) cause(ctx context.Context) error {
	if err := r.result(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (r *runner) start(ctx context.Context, c Component) error {
	if c.Start == nil {
		return nil
	}
	r.opts.Logger.DebugContext(ctx, "starting", slog.String("component", c.Name))
	ctx, cancel := context.WithTimeoutCause(ctx, r.opts.StartTimeout,
		fmt.Errorf("not started within %v", r.opts.StartTimeout))
	defer cancel()
	// A part that fails while another one starts must not wait for it.
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-r.failed:
			abort(errEnding)
		case <-over:
		}
	}()
	err := protect(ctx, c.Start)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	return err
}

// launch runs c's Run in a goroutine that ends before the part is stopped.
func (r *runner) launch(ctx context.Context, c Component, ok bool) *running {
	// The part outlives ctx: it must still work while it drains.
	runCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	p := &running{comp: c, usable: ok, cancel: cancel, done: make(chan struct{})}
	if c.Run == nil || !ok {
		close(p.done)
		return p
	}
	go func() {
		defer close(p.done)
		err := protect(runCtx, c.Run)
		if err == nil || (runCtx.Err() != nil && isCancellation(runCtx, err)) {
			return
		}
		r.fail(fmt.Errorf("run %s: %w", c.Name, err))
	}()
	return p
}

// isCancellation reports whether err only says that ctx has ended.
func isCancellation(ctx context.Context, err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))
}

// drain returns the part that is to be cut when the time is over. The parts that
// are left then are not drained: they would find no time and say so, each of
// them, for what one part did; and work that is cut may still need them.
func (r *runner) drain(ctx context.Context, started []*running) (late *running) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), r.opts.DrainTimeout,
		fmt.Errorf("not drained within %v", r.opts.DrainTimeout))
	defer cancel()
	for _, p := range slices.Backward(started) {

		if p.comp.Drain != nil && p.usable {
			r.opts.Logger.DebugContext(ctx, "draining", slog.String("component", p.comp.Name))
			err := r.bounded(ctx, "drain "+p.comp.Name, p.comp.Drain)
			if err != nil && ctx.Err() != nil && p.comp.Cut != nil {
				return p
			}
			r.fail(err)
			if err != nil && ctx.Err() != nil {
				return nil
			}
		}
		p.cancel(errEnding)
		select {
		case <-p.done:
		case <-ctx.Done():
			// Stop may be what its Run waits for.
			return nil
		}
	}
	return nil
}

func (r *runner) stop(ctx context.Context, started []*running, late *running) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), r.opts.StopTimeout,
		fmt.Errorf("not stopped within %v", r.opts.StopTimeout))
	defer cancel()
	if late != nil {
		r.opts.Logger.DebugContext(ctx, "cutting", slog.String("component", late.comp.Name))
		r.fail(r.bounded(ctx, "drain "+late.comp.Name, late.comp.Cut))
	}
	for _, p := range slices.Backward(started) {
		p.cancel(errEnding)
		if p.comp.Stop != nil {
			r.opts.Logger.DebugContext(ctx, "stopping", slog.String("component", p.comp.Name))
			r.fail(r.bounded(ctx, "stop "+p.comp.Name, p.comp.Stop))
		}
		select {
		case <-p.done:
		case <-ctx.Done():
			r.fail(fmt.Errorf("run %s: did not return: %w", p.comp.Name, context.Cause(ctx)))
		}
	}
}

// bounded calls fn and gives up on it when ctx ends, so that one part that
// ignores its context cannot keep the others from being closed.
func (r *runner) bounded(ctx context.Context, what string, fn func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- protect(ctx, fn) }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
}

// protect turns a panic into an error, so that the other parts still close.
func protect(ctx context.Context, fn func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return fn(ctx)
}
