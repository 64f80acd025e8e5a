package store_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// An alias's states stay, whatever is forgotten of the changes, and any of them
// comes back.
func (s suite) aliasHistory(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{KeepChanges: 1})
	ctx := t.Context()
	e.model("m")
	for seed := range 3 {
		e.version("m", seed)
	}
	var revisions []int64
	step := func(version int32) {
		t.Helper()
		e.clock.Advance(time.Second)
		_, _, err := e.ChangeAlias(ctx, "ada", store.AliasWish{Model: "m", Alias: "a", Version: version, Etag: "*", Reason: "why"})
		check(t, err)
		revisions = append(revisions, e.revision())
		e.model("n" + string(rune('a'+len(revisions)))) // something else between them
	}
	_, err := e.SetAlias(ctx, "", "m", "a", 1, "")
	check(t, err)
	revisions = append(revisions, e.revision())
	for _, version := range []int32{2, 3, 0} {
		step(version)
	}
	history, err := e.AliasHistory(ctx, "m", "a", 0, 10)
	check(t, err)
	var versions []int32
	for _, h := range slices.Backward(history) {
		versions = append(versions, h.GetVersion())
	}
	if !slices.Equal(versions, []int32{1, 2, 3, 0}) || history[0].GetActor() != "ada" || history[0].GetReason() != "why" ||
		!history[0].GetCreateTime().AsTime().Equal(start.Add(3*time.Second)) {
		t.Errorf("history: %v", history)
	}
	if page, err := e.AliasHistory(ctx, "m", "a", history[1].GetRevision(), 1); err != nil || !proto.Equal(page[0], history[2]) {
		t.Errorf("a page in the middle: %v, %v", page, err)
	}

	// The revision after a change has its state, too.
	back, _, err := e.RollbackAlias(ctx, "eve", "m", "a", store.Rollback{Revision: revisions[1] + 1, Etag: "", Reason: "broken"})
	check(t, err)
	if back.GetVersion() != 2 {
		t.Errorf("back to %v", back)
	}
	at := e.revision()
	if same, _, err := e.RollbackAlias(ctx, "eve", "m", "a", store.Rollback{Revision: at, Etag: back.GetEtag()}); err != nil || !proto.Equal(same, back) {
		t.Errorf("back to now: %v, %v", same, err)
	}
	if e.revision() != at {
		t.Error("a roll-back to what is there used up a revision")
	}
	_, _, err = e.RollbackAlias(ctx, "eve", "m", "a", store.Rollback{Revision: 1, Etag: "*"})
	wantReason(t, err, apierr.NotFound, "revision")
	_, _, err = e.RollbackAlias(ctx, "eve", "m", "a", store.Rollback{Revision: at + 1, Etag: "*"})
	wantReason(t, err, apierr.NotFound, "revision")
	_, _, err = e.RollbackAlias(ctx, "eve", "m", "a", store.Rollback{Revision: revisions[0], Etag: "r1"})
	wantReason(t, err, apierr.Conflict, "etag")
	gone, _, err := e.RollbackAlias(ctx, "eve", "m", "a", store.Rollback{Revision: revisions[3], Etag: "*"})
	check(t, err)
	if gone != nil {
		t.Errorf("back to nothing: %v", gone)
	}
	history, err = e.AliasHistory(ctx, "m", "a", 0, 2)
	check(t, err)
	if history[0].GetRollbackTo() != revisions[3] || history[0].GetVersion() != 0 || history[1].GetReason() != "broken" {
		t.Errorf("history: %v", history)
	}

	// A model made again is another one.
	check(t, e.PurgeModel(ctx, "", "m"))
	e.model("m")
	e.version("m", 99)
	_, _, err = e.RollbackAlias(ctx, "eve", "m", "a", store.Rollback{Revision: revisions[0], Etag: "*"})
	wantReason(t, err, apierr.FailedPrecondition, "revision")
	for _, statement := range []string{`DELETE FROM registry_alias_history`, `UPDATE registry_alias_history SET actor = 'mallory'`} {
		if _, err := e.raw().ExecContext(ctx, statement); err == nil {
			t.Errorf("%s was obeyed", statement)
		}
	}
}

func (s suite) splitHistory(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	e.version("m", 2)
	first, err := e.ChangeSplit(ctx, "ada", store.SplitWish{Model: "m", Reason: "try", Arms: []*registryv1.Arm{arm("a", 1, 900_000), arm("b", 2, 100_000)}})
	check(t, err)
	at := e.revision()
	check(t, e.RemoveSplit(ctx, "ada", "m", first.GetEtag(), "done"))
	second, err := e.SetSplit(ctx, "ada", "m", []*registryv1.Arm{arm("all", 2, store.WholeSplit)}, "")
	check(t, err)
	if second.GetSalt() == first.GetSalt() {
		t.Fatal("the salt is the same")
	}
	_, err = e.RollbackSplit(ctx, "eve", "m", store.Rollback{Revision: at, Etag: first.GetEtag()})
	wantReason(t, err, apierr.Conflict, "etag")
	back, err := e.RollbackSplit(ctx, "eve", "m", store.Rollback{Revision: at, Etag: second.GetEtag(), Reason: "worse"})
	check(t, err)
	if back.GetSalt() != first.GetSalt() || back.GetEtag() == first.GetEtag() ||
		!slices.EqualFunc(back.GetArms(), first.GetArms(), func(a, b *registryv1.Arm) bool { return proto.Equal(a, b) }) {
		t.Errorf("back to %v, want %v", back, first)
	}
	history, err := e.SplitHistory(ctx, "m", 0, 10)
	check(t, err)
	if len(history) != 4 || history[0].GetRollbackTo() != at || history[0].GetActor() != "eve" || history[0].GetReason() != "worse" ||
		len(history[2].GetArms()) != 0 || history[2].GetReason() != "done" || !proto.Equal(history[3].GetArms()[1], first.GetArms()[1]) {
		t.Errorf("history: %v", history)
	}
	if none, err := e.RollbackSplit(ctx, "eve", "m", store.Rollback{Revision: at + 1, Etag: back.GetEtag()}); err != nil || none != nil {
		t.Errorf("back to no split: %v, %v", none, err)
	}
	_, err = e.GetSplit(ctx, "m")
	wantReason(t, err, apierr.NotFound, "model")
}

// A rolled-back protected alias waits like any other change of it.
func (s suite) protectedRollback(t *testing.T) {
	e, first := s.protected(t)
	ctx := t.Context()
	at := e.revision()
	e.approve("bob", e.ask("ada", 2, first.GetEtag()).GetId())
	a, waits, err := e.RollbackAlias(ctx, "ada", "m", "production", store.Rollback{Revision: at, Etag: "*", Reason: "worse"})
	check(t, err)
	if a.GetVersion() != 2 || waits.GetRollbackTo() != at || waits.GetToVersion() != 1 {
		t.Errorf("rolled back without an approval: %v, %v", a, waits)
	}
	_, err = e.ApproveAliasChange(ctx, "ada", e.decision(waits.GetId()))
	wantReason(t, err, apierr.PermissionDenied, "")
	e.approve("bob", waits.GetId())
	history, err := e.AliasHistory(ctx, "m", "production", 0, 1)
	check(t, err)
	if history[0].GetVersion() != 1 || history[0].GetRollbackTo() != at {
		t.Errorf("history: %v", history)
	}
}

// What stood before there was a history begins it.
func (s suite) historyMigration(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	e.version("m", 2)
	_, err := e.SetAlias(ctx, "ada", "m", "a", 2, "")
	check(t, err)
	_, err = e.SetSplit(ctx, "eve", "m", []*registryv1.Arm{arm("b", 2, 400_000), arm("a", 1, 600_000)}, "")
	check(t, err)
	aliases, err := e.AliasHistory(ctx, "m", "a", 0, 9)
	check(t, err)
	splits, err := e.SplitHistory(ctx, "m", 0, 9)
	check(t, err)
	state := e.state("m")
	p := e.migrations()
	_, err = p.DownTo(ctx, 4)
	check(t, err)
	_, err = p.Up(ctx)
	check(t, err)
	again, err := e.AliasHistory(ctx, "m", "a", 0, 9)
	check(t, err)
	splitsAgain, err := e.SplitHistory(ctx, "m", 0, 9)
	check(t, err)
	if len(again) != 1 || !proto.Equal(again[0], aliases[0]) || len(splitsAgain) != 1 || !proto.Equal(splitsAgain[0], splits[0]) {
		t.Errorf("%v and %v, want %v and %v", again, splitsAgain, aliases, splits)
	}
	if !proto.Equal(e.state("m"), state) {
		t.Errorf("%v, want %v", e.state("m"), state)
	}
}
