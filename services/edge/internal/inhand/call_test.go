package inhand

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// What ends a call's context is made for who waits for it, and ends all that was made of
// the context, with the reason.
func TestEndsAreMadeForWhoWaits(t *testing.T) {
	type key struct{}
	c := New()
	parent, leave := context.WithCancel(context.WithValue(t.Context(), key{}, 1))
	defer leave()
	ctx, done := c.Begin(parent)
	one := c.first
	if ctx.Err() != nil || ctx.Value(key{}) != 1 || one.ends.Load() != nil {
		t.Fatalf("one that nobody waits for: %v, %v", ctx.Err(), one.ends.Load())
	}
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	if one.ends.Load() == nil || ctx.Value(key{}) != 1 {
		t.Fatal("what was made of the context does not end with it")
	}
	c.Cut()
	<-child.Done()
	for _, cut := range []context.Context{ctx, child} {
		if !errors.Is(cut.Err(), context.Canceled) || !errors.Is(context.Cause(cut), ErrEnding) {
			t.Errorf("cut: %v, since %v", cut.Err(), context.Cause(cut))
		}
	}
	done()
}

// A call that is cut, or over, before anybody waits for its end has ended as others have.
func TestEndsBeforeAnybodyWaits(t *testing.T) {
	c := New()
	over, done := c.Begin(t.Context())
	done()
	if !errors.Is(over.Err(), context.Canceled) {
		t.Errorf("over: %v", over.Err())
	}
	<-over.Done()
	parent, leave := context.WithCancel(t.Context())
	left, done := c.Begin(parent)
	defer done()
	leave()
	if !errors.Is(left.Err(), context.Canceled) {
		t.Errorf("its caller left: %v", left.Err())
	}
	<-left.Done()
	cut, done := c.Begin(t.Context())
	defer done()
	c.Cut()
	if failed := errors.New("x"); !errors.Is(Outcome(cut, failed), ErrEnding) || !errors.Is(cut.Err(), context.Canceled) {
		t.Errorf("cut: %v, %v", Outcome(cut, failed), cut.Err())
	}
}

func TestEndsAtOnce(t *testing.T) {
	for range 200 {
		c := New()
		ctx, done := c.Begin(t.Context())
		var all sync.WaitGroup
		for _, f := range []func(){func() { <-ctx.Done() }, func() { c.Cut() }, func() { _ = ctx.Err() }, done} {
			all.Go(f)
		}
		all.Wait()
		if ctx.Err() == nil || c.n != 0 {
			t.Fatal("it goes on")
		}
	}
}

// A call that nobody waits for takes no context's room.
func TestACallAllocatesLittle(t *testing.T) {
	c, ctx := New(), t.Context()
	if n := testing.AllocsPerRun(100, func() {
		_, done := c.Begin(ctx)
		done()
	}); n > 2 {
		t.Errorf("it allocates %.0f times", n)
	}
}
