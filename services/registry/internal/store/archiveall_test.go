package store_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/archive"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// archived is everything as an archive, and its lines but the header and the end.
func (e *env) archived() (whole []byte, lines []string) {
	e.t.Helper()
	var out bytes.Buffer
	check(e.t, e.ExportAll(e.t.Context(), &out))
	lines = strings.Split(strings.TrimSpace(out.String()), "\n")
	return out.Bytes(), lines[1 : len(lines)-1]
}

func items(raw []byte) store.Items {
	return func(each func(archive.Item) error) error { return archive.Items(bytes.NewReader(raw), each) }
}

// everyKind has something of every kind, in many states.
func (e *env) everyKind() {
	e.t.Helper()
	ctx := e.t.Context()
	e.filled()
	e.model("m")
	e.version("m", 1)
	e.version("m", 2)
	for _, version := range []int32{1, 2, 1} {
		a, _ := e.GetAlias(ctx, "m", "production")
		_, err := e.SetAlias(ctx, "ana", "m", "production", version, a.GetEtag())
		check(e.t, err)
		e.clock.Advance(time.Minute)
	}
	_, _, err := e.SetAliasProtection(ctx, "ana", "m", []string{"prod*"}, "", "")
	check(e.t, err)
	for _, name := range []string{"greeting", "question"} {
		e.promptVersion(name, 1)
		e.promptVersion(name, 2)
		_, err = e.ChangePromptAlias(ctx, "ana", store.AliasWish{Model: name, Alias: "production", Version: 2, Reason: "better"})
		check(e.t, err)
	}
	named := func(ref *registryv1.PromptReference) func(*registryv1.Experiment) {
		return func(x *registryv1.Experiment) { x.Arms[1].Prompt = ref }
	}
	_, err = e.SetSplit(ctx, "ana", "big", []*registryv1.Arm{
		{Name: "a", Version: 1, Weight: 500_000, Prompt: promptRef("greeting", 1, "")},
		{Name: "b", Version: 1, Weight: 500_000, Prompt: promptRef("greeting", 0, "production")},
	}, store.AnyEtag)
	check(e.t, err)
	running := e.started(plan("running", inLayer("l", 400_000), named(promptRef("greeting", 2, ""))))
	_, err = e.RampExperiment(ctx, "ana", "m", running.GetName(), map[string]int32{running.GetArms()[1].GetName(): 250_000}, 0, store.AnyEtag)
	check(e.t, err)
	e.started(plan("other", inLayer("l", 300_000)))
	e.experiment(plan("draft", named(promptRef("greeting", 0, "production"))))
	e.started(plan("over", named(promptRef("greeting", 1, ""))))
	_, err = e.ConcludeExperiment(ctx, "ana", "m", "over", "", "no difference", store.AnyEtag)
	check(e.t, err)
	e.webhook("ci", []string{"alias.*"}, []string{"m"})
	// A rollout sets an alias of its own: production is protected.
	_, err = e.SetAlias(ctx, "ana", "m", "live", 1, "")
	check(e.t, err)
	_, err = e.rolloutOf("live")
	check(e.t, err)
	_, err = e.MoveRollout(ctx, "ana", "m", "live", nil, to(rolloutAborted, registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ABORTED))
	check(e.t, err)
}

// rolloutOf is rollout for an alias of its own name.
func (e *env) rolloutOf(alias string) (*registryv1.Rollout, error) {
	return e.CreateRollout(e.t.Context(), "ana", &registryv1.Rollout{
		Model: "m", Name: alias, Candidate: 2, Baseline: 1, Alias: alias, State: rolloutPending, Steps: []*registryv1.RolloutStep{{Weight: 10}},
	}, false, func(store.RolloutView) (*registryv1.RolloutEvent, error) {
		return &registryv1.RolloutEvent{Kind: registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_CREATED}, nil
	})
}

// What is moved to another database and exported there is the same, line for line;
// and moved once more it changes nothing.
func (s suite) archiveAll(t *testing.T) {
	from := newEnv(t, storetest.SQLite, store.Options{})
	from.everyKind()
	whole, lines := from.archived()
	kinds := map[string]bool{}
	for _, l := range lines {
		kind, _, _ := strings.Cut(l, ":")
		kinds[kind] = true
	}
	if len(kinds) != 9 {
		t.Errorf("the archive has records of %d kinds: %v", len(kinds), kinds)
	}
	if bytes.Contains(whole, []byte("whsec_")) {
		t.Error("the archive has a webhook's secret")
	}
	to := newEnv(t, s.databases, store.Options{})
	to.clock.Advance(time.Hour)
	ctx := t.Context()
	got, err := to.ImportAll(ctx, "ben", items(whole), fail, true)
	check(t, err)
	if got.GetModels()["m"] != created || got.GetPrompts()["greeting"] != created || got.GetWebhooks()["ci"] != created || to.revision() != 0 {
		t.Errorf("a dry run: %v, revision %d", got, to.revision())
	}
	_, err = to.ImportAll(ctx, "ben", items(whole), fail, false)
	check(t, err)
	_, again := to.archived()
	if !slices.Equal(again, lines) {
		for i := range min(len(again), len(lines)) {
			if again[i] != lines[i] {
				t.Fatalf("line %d was\n%s\nand is\n%s", i, lines[i], again[i])
			}
		}
		t.Fatalf("%d lines became %d", len(lines), len(again))
	}
	before := to.revision()
	past, err := from.AliasHistory(ctx, "m", "live", 0, 1)
	check(t, err)
	if before <= past[0].GetRevision() {
		t.Errorf("the next revision, after %d, is not after those of the history that came", before)
	}
	got, err = to.ImportAll(ctx, "ben", items(whole), fail, false)
	check(t, err)
	for _, outcomes := range []map[string]registryv1.ImportOutcome{got.GetModels(), got.GetPrompts(), got.GetWebhooks()} {
		for name, outcome := range outcomes {
			if outcome != unchanged {
				t.Errorf("once more, %s is %v", name, outcome)
			}
		}
	}
	if to.revision() != before {
		t.Error("the same again used up a revision")
	}
	to.goesOn(t, from)
}

// goesOn checks that what was moved works: history, experiments, webhooks.
func (e *env) goesOn(t *testing.T, from *env) {
	t.Helper()
	ctx := t.Context()
	history, err := from.AliasHistory(ctx, "m", "production", 0, 10)
	check(t, err)
	a, err := e.GetAlias(ctx, "m", "production")
	check(t, err)
	_, pending, err := e.RollbackAlias(ctx, "ana", "m", "production", store.Rollback{Revision: history[1].GetRevision(), Etag: a.GetEtag()})
	check(t, err)
	if pending.GetToVersion() != 2 {
		t.Errorf("rolling back asks for %v: the alias is protected, and named version 2", pending)
	}
	_, err = e.StopExperiment(ctx, "ana", "m", "running", "", store.AnyEtag)
	check(t, err)
	_, err = e.StartExperiment(ctx, "ana", "m", "running", store.AnyEtag)
	check(t, err)
	h, err := e.GetWebhook(ctx, "ci")
	check(t, err)
	h.Active = true
	_, err = e.UpdateWebhook(ctx, h, "", store.AnyEtag)
	wantReason(t, err, apierr.FailedPrecondition, "secret")
	if v := e.promptVersion("greeting", 3); v.GetNumber() != 3 {
		t.Errorf("the prompt's next version is %d", v.GetNumber())
	}
}

// Another thing of the same name is not overwritten by a slip, and what is refused
// leaves nothing.
func (s suite) archiveConflicts(t *testing.T) {
	from := newEnv(t, storetest.SQLite, store.Options{})
	from.everyKind()
	whole, lines := from.archived()
	to := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	to.promptVersion("question", 7)
	before := to.revision()
	_, err := to.ImportAll(ctx, "ben", items(whole), fail, false)
	wantReason(t, err, apierr.AlreadyExists, "models")
	if _, err := to.GetModel(ctx, "m"); apierr.ReasonOf(err) != apierr.ModelNotFound || to.revision() != before {
		t.Errorf("a part of a refused import stayed: %v", err)
	}
	got, err := to.ImportAll(ctx, "ben", items(whole), skip, false)
	check(t, err)
	if got.GetPrompts()["question"] != skipped || got.GetModels()["m"] != created {
		t.Errorf("skip: %v", got)
	}
	got, err = to.ImportAll(ctx, "ben", items(whole), replace, false)
	check(t, err)
	if got.GetPrompts()["question"] != replaced || got.GetModels()["m"] != unchanged {
		t.Errorf("replace: %v", got)
	}
	if _, again := to.archived(); !slices.Equal(again, lines) {
		t.Error("what replaced is not what was exported")
	}
}
