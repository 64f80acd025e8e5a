package store_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

const (
	rolloutPending = registryv1.RolloutState_ROLLOUT_STATE_PENDING
	rolloutRunning = registryv1.RolloutState_ROLLOUT_STATE_RUNNING
	rolloutAborted = registryv1.RolloutState_ROLLOUT_STATE_ABORTED
)

func (e *env) rollout(name string) (*registryv1.Rollout, error) {
	return e.CreateRollout(e.t.Context(), "ana", &registryv1.Rollout{
		Model: "m", Name: name, Candidate: 2, Baseline: 1, Alias: "production", State: rolloutPending,
		Steps: []*registryv1.RolloutStep{{Weight: 10}},
	}, false, func(store.RolloutView) (*registryv1.RolloutEvent, error) {
		return &registryv1.RolloutEvent{Kind: registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_CREATED}, nil
	})
}

// to is a move to a state, with a split.
func to(state registryv1.RolloutState, kind registryv1.RolloutEventKind, arms ...*registryv1.Arm) func(store.RolloutView) (*store.RolloutMove, error) {
	return func(v store.RolloutView) (*store.RolloutMove, error) {
		r := proto.CloneOf(v.Rollout)
		r.State = state
		return &store.RolloutMove{Rollout: r, Arms: arms, Asked: true, Event: &registryv1.RolloutEvent{Kind: kind, Words: "why"}}, nil
	}
}

// A move commits rollout, split, alias and event with one revision, and watchers
// see all of it.
func (s suite) rollouts(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	e.version("m", 2)
	made, err := e.rollout("a")
	check(t, err)
	_, err = e.rollout("a")
	wantReason(t, err, apierr.AlreadyExists, "rollout")
	_, err = e.rollout("b")
	wantReason(t, err, apierr.FailedPrecondition, "model")
	got, err := e.GetRollout(ctx, "m", "a")
	check(t, err)
	if !proto.Equal(got, made) || got.GetEventCount() != 1 || got.GetLastEvent().GetActor() != "ana" {
		t.Errorf("got %v, made %v", got, made)
	}
	for name, events := range map[string][]string{"all": nil, "aliases": {"alias.*"}, "splits": {"split.set"}, "versions": {"version.*"}} {
		e.webhook(name, events, nil)
	}
	before := e.revision()
	arms := []*registryv1.Arm{{Name: "x", Version: 2, Weight: 1_000_000}}
	moved, err := e.MoveRollout(ctx, "bob", "m", "a", nil, func(v store.RolloutView) (*store.RolloutMove, error) {
		m, _ := to(rolloutRunning, registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_STARTED, arms...)(v)
		m.SetAlias = true
		return m, nil
	})
	check(t, err)
	state := e.state("m")
	if e.revision() != before+1 || state.GetSplit().GetEtag() != moved.GetSplitEtag() || state.GetAliases()[0].GetEtag() != moved.GetAliasEtag() ||
		moved.GetEtag() != moved.GetSplitEtag() || !proto.Equal(state.GetRollout(), moved) {
		t.Errorf("at revision %d after %d: %v", e.revision(), before, state)
	}
	if kinds := e.kinds(); kinds[len(kinds)-1] != "rollout started" {
		t.Errorf("the changes are %v", kinds)
	}
	// Who asks for aliases alone is told that the rollout has moved one.
	for name, want := range map[string]string{"all": "rollout.started", "aliases": "alias.set", "splits": "split.set"} {
		if d := e.deliveries(name); len(d) != 1 || d[0].GetEvent() != want {
			t.Errorf("%s is told %v, want %s", name, d, want)
		}
	}
	if d := e.deliveries("versions"); len(d) != 0 {
		t.Errorf("versions is told %v", d)
	}
	failure := errors.New("no")
	_, err = e.MoveRollout(ctx, "", "m", "a", nil, func(store.RolloutView) (*store.RolloutMove, error) { return nil, failure })
	if err == nil || e.revision() != before+1 {
		t.Errorf("a move that failed: %v, revision %d", err, e.revision())
	}
	wantReason(t, e.DeleteModel(ctx, "", "m"), apierr.FailedPrecondition, "model")
	_, err = e.MoveRollout(ctx, "", "m", "a", nil, to(rolloutAborted, registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ABORTED))
	check(t, err)
	if list, err := e.ActiveRollouts(ctx); err != nil || len(list) != 0 {
		t.Errorf("active are %v, %v", list, err)
	}
	events, err := e.ListRolloutEvents(ctx, "m", "a", 1, 10)
	check(t, err)
	if len(events) != 2 || events[0].GetNumber() != 2 || events[0].GetActor() != "bob" || events[0].GetWords() != "why" || events[1].GetNumber() != 3 {
		t.Errorf("the events are %v", events)
	}
	_, err = e.ListRolloutEvents(ctx, "m", "x", 0, 10)
	wantReason(t, err, apierr.NotFound, "rollout")
	_, err = e.GetRollout(ctx, "x", "a")
	wantReason(t, err, apierr.ModelNotFound, "model")

	// Those that are over go with the model.
	check(t, e.DeleteSplit(ctx, "", "m", "*"))
	check(t, e.DeleteAlias(ctx, "", "m", "production", "*"))
	check(t, e.DeleteModel(ctx, "", "m"))
}

// kinds returns what the changes did.
func (e *env) kinds() (out []string) {
	e.t.Helper()
	rows, err := e.raw().QueryContext(e.t.Context(), `SELECT kind FROM registry_changes ORDER BY revision`)
	check(e.t, err)
	defer func() { check(e.t, rows.Close()) }()
	for rows.Next() {
		var kind string
		check(e.t, rows.Scan(&kind))
		out = append(out, kind)
	}
	check(e.t, rows.Err())
	return out
}

// The newest rollouts are kept, and nobody fills the store with events.
func (s suite) rolloutLimits(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	e.version("m", 2)
	abort := to(rolloutAborted, registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ABORTED)
	for i := range 203 {
		_, err := e.rollout(fmt.Sprintf("r%03d", i))
		check(t, err)
		_, err = e.MoveRollout(ctx, "", "m", fmt.Sprintf("r%03d", i), nil, abort)
		check(t, err)
		e.clock.Advance(1000)
	}
	list, err := e.ListRollouts(ctx, "m", "", 1000)
	check(t, err)
	if len(list) != 200 || list[0].GetName() != "r003" {
		t.Errorf("%d are kept from %s on", len(list), list[0].GetName())
	}
	_, err = e.rollout("long")
	check(t, err)
	_, err = e.MoveRollout(ctx, "", "m", "long", nil, func(v store.RolloutView) (*store.RolloutMove, error) {
		m, err := to(rolloutRunning, registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_RESUMED)(v)
		m.Rollout.EventCount = 999
		return m, err
	})
	check(t, err)
	_, err = e.MoveRollout(ctx, "", "m", "long", nil, to(rolloutRunning, registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_RESUMED))
	wantReason(t, err, apierr.FailedPrecondition, "rollout")
	_, err = e.MoveRollout(ctx, "", "m", "long", nil, abort)
	check(t, err)
}

// Of many that want a lease one gets it, each time with a higher token, and none
// but the last may write.
func (s suite) leases(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	e.version("m", 2)
	_, err := e.rollout("a")
	check(t, err)
	const replicas = 4
	all := make([]*store.Store, replicas)
	for i := range all {
		all[i] = e.open()
	}
	var stale []store.Fence
	for round := range int64(5) {
		seen, err := e.Lease(ctx, "l")
		check(t, err)
		if seen.Token != round {
			t.Fatalf("round %d begins with %v", round, seen)
		}
		var won atomic.Int64
		together(replicas, func(i int) {
			l, err := all[i].TakeLease(ctx, "l", fmt.Sprint(i), seen)
			switch {
			case err == nil && l.Token == round+1:
				won.Add(1)
			case apierr.ReasonOf(err) != apierr.Conflict:
				t.Errorf("got %v, %v", l, err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("%d have the lease", won.Load())
		}
		fence := store.Fence{Name: "l", Token: round + 1}
		check(t, e.RenewLease(ctx, fence))
		_, err = e.TakeLease(ctx, "l", "late", store.Lease{Token: round + 1})
		wantReason(t, err, apierr.Conflict, "lease") // it has shown a sign of life
		_, err = e.MoveRollout(ctx, "", "m", "a", &fence, to(rolloutRunning, registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_RESUMED))
		check(t, err)
		before := e.revision()
		for _, f := range stale {
			_, err := e.MoveRollout(ctx, "", "m", "a", &f, to(rolloutAborted, registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ABORTED))
			wantReason(t, err, apierr.Conflict, "lease")
		}
		if e.revision() != before {
			t.Error("a stale holder wrote")
		}
		stale = append(stale, fence)
	}
}

// A database from before rollouts keeps what it holds, up and down.
func (s suite) rolloutMigration(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	e.version("m", 2)
	old := e.state("m")
	provider := e.migrations()
	_, err := provider.DownTo(ctx, 7)
	check(t, err)
	_, err = provider.Up(ctx)
	check(t, err)
	if got := e.state("m"); !proto.Equal(got, old) {
		t.Errorf("%v, want %v", got, old)
	}
	_, err = e.rollout("a")
	check(t, err)
	_, err = e.TakeLease(ctx, "l", "x", store.Lease{})
	check(t, err)
	_, err = provider.DownTo(ctx, 7)
	check(t, err)
	for _, table := range []string{"registry_rollouts", "registry_rollout_events", "registry_leases"} {
		if _, err := e.raw().ExecContext(ctx, `DELETE FROM `+table); err == nil {
			t.Errorf("%s is there after going back", table)
		}
	}
	_, err = provider.Up(ctx)
	check(t, err)
	if got := e.state("m"); !proto.Equal(got, old) {
		t.Errorf("down and up again: %v, want %v", got, old)
	}
}
