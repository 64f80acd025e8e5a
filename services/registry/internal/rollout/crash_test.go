package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/rollout"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// fault is how a process ends around a write.
type fault int

const (
	within fault = iota // it ends in the transaction
	after               // the transaction is committed, and nobody is told
)

var errCrash = errors.New("the process ended")

// crashing is a store whose process ends at one of its writes: that write and all
// that follow fail.
type crashing struct {
	*store.Store
	fault   fault
	left    int // writes until the end; below 0 it has come
	crashed bool
}

func (c *crashing) write(do func() error, unto func() error) error {
	if c.crashed {
		return errCrash
	}
	c.left--
	if c.left != 0 {
		return do()
	}
	c.crashed = true
	switch c.fault {
	case within:
		_ = unto()
	case after:
		_ = do()
	}
	return errCrash
}

func (c *crashing) MoveRollout(ctx context.Context, actor, model, name string, f *store.Fence,
	move func(store.RolloutView) (*store.RolloutMove, error),
) (out *registryv1.Rollout, err error) {
	err = c.write(func() error {
		out, err = c.Store.MoveRollout(ctx, actor, model, name, f, move)
		return err
	}, func() error {
		_, err := c.Store.MoveRollout(ctx, actor, model, name, f, func(v store.RolloutView) (*store.RolloutMove, error) {
			_, _ = move(v)
			return nil, errCrash
		})
		return err
	})
	return out, err
}

func (c *crashing) TakeLease(ctx context.Context, name, holder string, seen store.Lease) (l store.Lease, err error) {
	nothing := func() error { return nil }
	err = c.write(func() error { l, err = c.Store.TakeLease(ctx, name, holder, seen); return err }, nothing)
	return l, err
}

func (c *crashing) RenewLease(ctx context.Context, f store.Fence) error {
	return c.write(func() error { return c.Store.RenewLease(ctx, f) }, func() error { return nil })
}

// story is a rollout's way to its end, with what somebody does on the way.
type story struct {
	name string
	// every is the time between two looks, before each of which at is called.
	every time.Duration
	at    func(r *rig, step int32)
	end   registryv1.RolloutState
	split string
	kinds []registryv1.RolloutEventKind
}

func stories() []story {
	held := func(r *rig, _ int32) { r.judge.say(requests(5000), nil) }
	return []story{
		{"held", 30 * time.Second, held, succeeded, "", []registryv1.RolloutEventKind{eventCreated, eventStarted, eventAdvanced, eventAdvanced, eventSucceeded}},
		{"broken", 30 * time.Second, func(r *rig, step int32) {
			held(r, step)
			if step == 2 {
				r.judge.say(breach(), nil)
			}
		}, rolledBack, "", []registryv1.RolloutEventKind{eventCreated, eventStarted, eventAdvanced, eventRolledBack}},
		{"starved", 15 * time.Minute, func(r *rig, _ int32) { r.judge.say(requests(1), nil) }, failed, "", []registryv1.RolloutEventKind{eventCreated, eventStarted, eventFailed}},
	}
}

// tell plays a story; faults makes the store of the nth replica.
func tell(t *testing.T, r *rig, s story, replica func(r *rig, n int) rollout.Store) (crashes int) {
	t.Helper()
	r.create(nil)
	n := 0
	of := replica(r, n)
	next := func() *rollout.Controller {
		return rollout.NewController(of, rollout.Options{Clock: r.clock, Judge: r.judge, Holder: fmt.Sprint(n), Lease: 5 * time.Second})
	}
	c := next()
	for range 1000 {
		now, err := r.GetRollout(t.Context(), r.model, "r")
		check(t, err)
		if store.RolloutOver(now) {
			break
		}
		s.at(r, now.GetStep())
		r.clock.Advance(s.every)
		if err := c.Evaluate(t.Context()); err != nil {
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			crashes++
			n++
			of = replica(r, n)
			c = next()
		}
	}
	kinds := make([]registryv1.RolloutEventKind, 0, len(s.kinds))
	for _, e := range r.events() {
		kinds = append(kinds, e.GetKind())
	}
	if !slices.Equal(kinds, s.kinds) {
		t.Fatalf("what happened is %v, want %v", kinds, s.kinds)
	}
	last := r.events()[len(kinds)-1]
	r.stands(s.end, last.GetStep(), s.split)
	if want := map[bool]int32{true: 2, false: 1}[s.end == succeeded]; r.production() != want {
		t.Errorf("production is %d, want %d", r.production(), want)
	}
	return crashes
}

// A process that ends at any write, in it or after it without knowing,
// changes nothing of what happens in the end: another one goes on.
func TestCrashAtEveryWrite(t *testing.T) {
	base := newRig(t)
	for _, s := range stories() {
		for _, f := range []fault{within, after} {
			t.Run(fmt.Sprintf("%s %d", s.name, f), func(t *testing.T) {
				for at := 1; ; at++ {
					crashes := tell(t, base.again(t, fmt.Sprintf("%s-%d-%d", s.name, f, at)), s, func(r *rig, n int) rollout.Store {
						if n > 0 {
							return r.Store
						}
						return &crashing{Store: r.Store, fault: f, left: at}
					})
					if crashes == 0 {
						return // there were fewer writes
					}
				}
			})
		}
	}
}

// And when every replica ends at its third write.
func TestCrashAgainAndAgain(t *testing.T) {
	base := newRig(t)
	for _, s := range stories() {
		for _, f := range []fault{within, after} {
			crashes := tell(t, base.again(t, fmt.Sprintf("%s-%d", s.name, f)), s, func(r *rig, _ int) rollout.Store {
				return &crashing{Store: r.Store, fault: f, left: 3}
			})
			if crashes == 0 {
				t.Errorf("%s: nothing crashed", s.name)
			}
		}
	}
}

// A holder that was away too long writes nothing more.
func TestAStaleHolderIsRefused(t *testing.T) {
	r := newRig(t)
	r.create(nil)
	r.judge.say(requests(5000), nil)
	r.after(time.Second)
	r.stands(running, 1, firstStep)
	lease, err := r.Lease(t.Context(), "rollouts")
	check(t, err)
	fence := store.Fence{Name: "rollouts", Token: lease.Token}

	second := r.replica("second")
	check(t, second.Evaluate(t.Context())) // it sees the lease for the first time
	r.clock.Advance(4 * time.Second)
	check(t, second.Evaluate(t.Context()))
	if l, err := r.Lease(t.Context(), "rollouts"); err != nil || l.Holder != "first" {
		t.Fatalf("taken too soon: %v, %v", l, err)
	}
	r.clock.Advance(time.Second)
	check(t, second.Evaluate(t.Context()))
	if l, err := r.Lease(t.Context(), "rollouts"); err != nil || l.Holder != "second" || l.Token != lease.Token+1 {
		t.Fatalf("not taken: %v, %v", l, err)
	}

	revision, err := r.Revision(t.Context())
	check(t, err)
	_, err = r.MoveRollout(t.Context(), rollout.Actor, "m", "r", &fence, rollout.Abort)
	wantReason(t, err, apierr.Conflict, "lease")
	wantReason(t, r.RenewLease(t.Context(), fence), apierr.Conflict, "lease")
	wantReason(t, r.ReleaseLease(t.Context(), fence), apierr.Conflict, "lease")
	_, err = r.TakeLease(t.Context(), "rollouts", "first", lease)
	wantReason(t, err, apierr.Conflict, "lease")
	if now, err := r.Revision(t.Context()); err != nil || now != revision {
		t.Errorf("a write that was refused made revision %d of %d", now, revision)
	}
	// The first one sees that and leaves the rollout to the second.
	r.after(time.Minute)
	r.stands(running, 1, firstStep)
	check(t, second.Evaluate(t.Context()))
	r.stands(running, 2, secondStep)
}

// Nobody writes while there is nothing to do, and whoever ends gives the lease back.
func TestTheLeaseIsGivenBack(t *testing.T) {
	r := newRig(t)
	r.after(time.Second)
	if l, err := r.Lease(t.Context(), "rollouts"); err != nil || l.Token != 0 {
		t.Fatalf("taken for nothing: %v, %v", l, err)
	}
	r.create(nil)
	r.after(time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check(t, r.controller.Run(ctx))
	second := r.replica("second")
	check(t, second.Evaluate(t.Context()))
	if l, err := r.Lease(t.Context(), "rollouts"); err != nil || l.Holder != "second" {
		t.Errorf("nobody took what was given back: %v, %v", l, err)
	}
}
