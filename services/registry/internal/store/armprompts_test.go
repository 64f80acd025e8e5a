package store_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

func promptRef(name string, version int32, alias string) *registryv1.PromptReference {
	return &registryv1.PromptReference{Prompt: name, Version: version, Alias: alias}
}

func (e *env) promptAlias(name, alias string, version int32) *registryv1.PromptAlias {
	e.t.Helper()
	a, err := e.ChangePromptAlias(e.t.Context(), "ada", store.AliasWish{Model: name, Alias: alias, Version: version, Etag: store.AnyEtag})
	return must(e.t, a, err)
}

// Arms of a split name prompts: they come back with it, hold on to what they name,
// and return with an earlier state.
func (s suite) armPrompts(t *testing.T) {
	ctx := t.Context()
	e := s.withVersions(t)
	first, second := e.promptVersion("p", 1), e.promptVersion("p", 2)
	e.promptAlias("p", "production", 1)
	arms := func(a, b *registryv1.PromptReference) []*registryv1.Arm {
		return []*registryv1.Arm{{Name: "a", Version: 1, Weight: 500_000, Prompt: a}, {Name: "b", Version: 1, Weight: 500_000, Prompt: b}}
	}
	for field, bad := range map[string]*registryv1.PromptReference{
		"arms[1].prompt":         promptRef("p", 2, "production"),
		"arms[1].prompt.version": promptRef("p", 9, ""),
		"arms[1].prompt.alias":   promptRef("p", 0, "canary"),
		"arms[1].prompt.digest":  {Prompt: "p", Version: 2, Digest: first.GetDigest()},
	} {
		_, err := e.SetSplit(ctx, "", "m", arms(nil, bad), "")
		if r := apierr.From(err); err == nil || r.Field != field && (len(r.Violations) == 0 || r.Violations[0].Field != field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, err := e.SetSplit(ctx, "", "m", arms(nil, promptRef("absent", 1, "")), "")
	wantReason(t, err, apierr.NotFound, "arms[1].prompt.version")

	sp, err := e.SetSplit(ctx, "", "m", arms(promptRef("p", 0, "production"), promptRef("p", 2, "")), "")
	check(t, err)
	if got := sp.GetArms()[1].GetPrompt(); got.GetDigest() != second.GetDigest() || got.GetVersion() != 2 {
		t.Errorf("the arm names %v", got)
	}
	if got := e.state("m").GetSplit(); !proto.Equal(got, sp) {
		t.Errorf("watchers get %v, want %v", got, sp)
	}
	at := e.revision()
	again, err := e.SetSplit(ctx, "", "m", arms(promptRef("p", 0, "production"), promptRef("p", 2, "")), sp.GetEtag())
	check(t, err)
	if e.revision() != at || !proto.Equal(again, sp) {
		t.Errorf("the same again is %v at %d", again, e.revision())
	}
	_, err = e.ChangePromptAlias(ctx, "", store.AliasWish{Model: "p", Alias: "production", Etag: store.AnyEtag})
	wantReason(t, err, apierr.FailedPrecondition, "alias")
	if got := apierr.From(err).Metadata["standing"]; got != `the split of "m"` {
		t.Errorf("it stands by %q", got)
	}

	// Another prompt is another split; the earlier one comes back with its prompts.
	changed, err := e.SetSplit(ctx, "", "m", arms(nil, promptRef("p", 1, "")), sp.GetEtag())
	check(t, err)
	if changed.GetArms()[0].GetPrompt() != nil || changed.GetEtag() == sp.GetEtag() {
		t.Errorf("changed to %v", changed)
	}
	back, err := e.RollbackSplit(ctx, "", "m", store.Rollback{Revision: at, Etag: changed.GetEtag()})
	check(t, err)
	if !proto.Equal(back.GetArms()[0], sp.GetArms()[0]) || !proto.Equal(back.GetArms()[1], sp.GetArms()[1]) {
		t.Errorf("came back as %v", back)
	}
	check(t, e.DeleteSplit(ctx, "", "m", store.AnyEtag))
	_, err = e.ChangePromptAlias(ctx, "", store.AliasWish{Model: "p", Alias: "production", Etag: store.AnyEtag})
	check(t, err)
}

// Arms of an experiment name prompts, until it is concluded.
func (s suite) experimentPrompts(t *testing.T) {
	ctx := t.Context()
	e := s.withVersions(t)
	e.promptVersion("p", 1)
	e.promptAlias("p", "production", 1)
	with := func(ref *registryv1.PromptReference) func(*registryv1.Experiment) {
		return func(x *registryv1.Experiment) { x.Arms[1].Version, x.Arms[1].Prompt = 1, ref }
	}
	_, err := e.CreateExperiment(ctx, "", plan("x", with(promptRef("p", 2, ""))))
	wantReason(t, err, apierr.NotFound, "arms[1].prompt.version")
	x := e.started(plan("x", with(promptRef("p", 0, "production"))))
	if got := e.state("m").GetExperiments()[0].GetArms()[1].GetPrompt(); got.GetAlias() != "production" {
		t.Errorf("watchers get %v", got)
	}
	_, err = e.UpdateExperiment(ctx, "", plan("x", with(promptRef("p", 1, ""))), x.GetEtag())
	wantReason(t, err, apierr.FailedPrecondition, "arms")
	remove := store.AliasWish{Model: "p", Alias: "production", Etag: store.AnyEtag}
	_, err = e.ChangePromptAlias(ctx, "", remove)
	wantReason(t, err, apierr.FailedPrecondition, "alias")
	_, err = e.ConcludeExperiment(ctx, "", "m", "x", "", "", store.AnyEtag)
	check(t, err)
	_, err = e.ChangePromptAlias(ctx, "", remove)
	check(t, err)
	e.promptAlias("p", "production", 1)
	e.experiment(plan("y", with(promptRef("p", 0, "production"))))
	check(t, e.DeleteExperiment(ctx, "", "m", "y", store.AnyEtag))
	_, err = e.ChangePromptAlias(ctx, "", remove)
	check(t, err)
}

// What was an alias of a prompt comes back.
func (s suite) promptRollback(t *testing.T) {
	ctx := t.Context()
	e := newEnv(t, s.databases, store.Options{})
	e.promptVersion("p", 1)
	e.promptVersion("p", 2)
	before := e.revision()
	e.promptAlias("p", "production", 1)
	at := e.revision()
	moved := e.promptAlias("p", "production", 2)
	_, err := e.RollbackPromptAlias(ctx, "bob", "p", "production", store.Rollback{Revision: at})
	wantReason(t, err, apierr.Conflict, "etag")
	back, err := e.RollbackPromptAlias(ctx, "bob", "p", "production", store.Rollback{Revision: at, Etag: moved.GetEtag(), Reason: "worse"})
	check(t, err)
	if back.GetVersion() != 1 || back.GetEtag() == moved.GetEtag() {
		t.Errorf("came back as %v", back)
	}
	again, err := e.RollbackPromptAlias(ctx, "bob", "p", "production", store.Rollback{Revision: at, Etag: back.GetEtag()})
	if err != nil || !proto.Equal(again, back) {
		t.Errorf("once more: %v, %v", again, err)
	}
	history, err := e.PromptAliasHistory(ctx, "p", "production", 0, 10)
	check(t, err)
	if len(history) != 3 || history[0].GetRollbackTo() != at || history[0].GetReason() != "worse" || history[0].GetActor() != "bob" {
		t.Errorf("history %v", history)
	}
	_, err = e.RollbackPromptAlias(ctx, "bob", "p", "production", store.Rollback{Revision: before, Etag: back.GetEtag()})
	wantReason(t, err, apierr.NotFound, "revision") // nothing was known of it then
}

// Consumers are sent what aliases and arms name, and of the rest the newest that
// fits.
func (s suite) promptStates(t *testing.T) {
	ctx := t.Context()
	e := newEnv(t, s.databases, store.Options{MaxModelBytes: 3000})
	e.model("m")
	e.version("m", 1)
	for seed := 1; seed <= 5; seed++ {
		text := strings.Repeat("x", 900+seed)
		_, err := e.CreatePromptVersion(ctx, "", &registryv1.PromptVersion{
			Prompt: "p", Digest: text[:seed], Spec: &registryv1.PromptSpec{Messages: []*registryv1.PromptMessage{{Role: "user", Content: text}}},
		})
		check(t, err)
	}
	numbers := func() (out []int32) {
		page, err := e.PromptPage(ctx, "")
		check(t, err)
		if !page.Last || len(page.Prompts) != 1 {
			t.Fatalf("the page is %v", page)
		}
		for _, v := range page.Prompts[0].GetVersions() {
			out = append(out, v.GetNumber())
		}
		if int(page.Prompts[0].GetOmittedVersions()) != 5-len(out) {
			t.Errorf("%d of 5 are left out: %v", page.Prompts[0].GetOmittedVersions(), out)
		}
		return out
	}
	want := func(list ...int32) {
		t.Helper()
		got := numbers()
		if len(got) != len(list) {
			t.Fatalf("sent %v, want %v", got, list)
		}
		for i := range got {
			if got[i] != list[i] {
				t.Fatalf("sent %v, want %v", got, list)
			}
		}
	}
	want(3, 4, 5)
	arm := func(version int32) []*registryv1.Arm {
		return []*registryv1.Arm{{Name: "a", Version: 1, Weight: store.WholeSplit, Prompt: promptRef("p", version, "")}}
	}
	_, err := e.SetSplit(ctx, "", "m", arm(1), "")
	wantReason(t, err, apierr.FailedPrecondition, "arms[0].prompt.version") // it is not sent
	e.promptAlias("p", "old", 1)
	want(1, 4, 5)
	_, err = e.SetSplit(ctx, "", "m", arm(1), "")
	check(t, err)
	e.promptAlias("p", "old", 2)
	want(1, 2, 5)
	e.promptAlias("p", "older", 3)
	want(1, 2, 3)
	_, err = e.ChangePromptAlias(ctx, "", store.AliasWish{Model: "p", Alias: "more", Version: 4})
	wantReason(t, err, apierr.FailedPrecondition, "version")

	// A change of the prompt is told to those that watch, beside the models.
	from := e.revision()
	e.promptAlias("p", "older", 5)
	batch, err := e.Changes(ctx, store.Position{Revision: from})
	check(t, err)
	if len(batch.Changes) != 0 || len(batch.Prompts) != 1 || batch.To.Revision != from+1 || batch.More {
		t.Errorf("watchers get %+v", batch)
	}
}

// A database from before arms named prompts keeps what it holds, up and down.
func (s suite) promptMigration(t *testing.T) {
	ctx := t.Context()
	e := s.withVersions(t)
	arm := &registryv1.Arm{Name: "a", Version: 1, Weight: store.WholeSplit}
	_, err := e.SetSplit(ctx, "", "m", []*registryv1.Arm{arm}, "")
	check(t, err)
	e.report(e.batch("r", 1, 1, counted("m", "a", 3, 1)))
	old := e.state("m")
	requests := func(want int64) {
		t.Helper()
		ev, err := e.Evidence(ctx, "m", "", time.Time{})
		check(t, err)
		var n int64
		for _, o := range ev.Outcomes {
			n += o.GetSums().GetRequests()
		}
		if n != want {
			t.Errorf("%d requests are counted, want %d", n, want)
		}
	}
	requests(3)
	provider := e.migrations()
	_, err = provider.DownTo(ctx, 12)
	check(t, err)
	_, err = provider.Up(ctx)
	check(t, err)
	if got := e.state("m"); !proto.Equal(got, old) {
		t.Errorf("up and down makes %v of %v", got, old)
	}
	requests(3)

	e.promptVersion("p", 1)
	arm.Prompt = promptRef("p", 1, "")
	_, err = e.SetSplit(ctx, "", "m", []*registryv1.Arm{arm}, store.AnyEtag)
	check(t, err)
	with := counted("m", "a", 5, 0)
	with.Prompt, with.PromptVersion = "p", 1
	e.report(e.batch("r", 1, 2, with, counted("m", "a", 1, 0)))
	requests(9)
	_, err = provider.DownTo(ctx, 12)
	check(t, err)
	_, err = provider.Up(ctx)
	check(t, err)
	requests(4)
	if got := e.state("m").GetSplit().GetArms(); len(got) != 1 || got[0].GetPrompt() != nil {
		t.Errorf("the arms are %v", got)
	}
}
