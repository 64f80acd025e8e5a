package store_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// Short names of the contract's.
const (
	fail      = registryv1.ImportConflict_IMPORT_CONFLICT_FAIL
	skip      = registryv1.ImportConflict_IMPORT_CONFLICT_SKIP
	replace   = registryv1.ImportConflict_IMPORT_CONFLICT_REPLACE
	created   = registryv1.ImportOutcome_IMPORT_OUTCOME_CREATED
	unchanged = registryv1.ImportOutcome_IMPORT_OUTCOME_UNCHANGED
	skipped   = registryv1.ImportOutcome_IMPORT_OUTCOME_SKIPPED
	replaced  = registryv1.ImportOutcome_IMPORT_OUTCOME_REPLACED
)

// everything is what is exported, whole.
func (e *env) everything() []*registryv1.ArchivedModel {
	e.t.Helper()
	var out []*registryv1.ArchivedModel
	page := &store.ExportPage{}
	for !page.Last {
		next, err := e.Export(e.t.Context(), page.AfterModel, page.AfterVersion)
		page = must(e.t, next, err)
		for _, m := range page.Models {
			if n := len(out); n > 0 && out[n-1].GetModel().GetName() == m.GetModel().GetName() {
				out[n-1].Versions = append(out[n-1].Versions, m.GetVersions()...)
				continue
			}
			out = append(out, m)
		}
	}
	return out
}

// alike leaves out what every registry has of its own.
func alike(models []*registryv1.ArchivedModel) []byte {
	all := &registryv1.ImportModelsRequest{}
	for _, m := range models {
		m := proto.CloneOf(m)
		m.Model.UpdateTime = nil
		for _, a := range m.GetAliases() {
			a.Etag, a.UpdateTime = "", nil
		}
		if m.GetSplit() != nil {
			m.Split.Etag, m.Split.UpdateTime = "", nil
		}
		all.Models = append(all.Models, m)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(all)
	if err != nil {
		panic(err)
	}
	return raw
}

// filled has a model of more versions than are read at once, with variants, an
// alias, a split, a deleted version and all that is said of it.
func (e *env) filled() {
	e.t.Helper()
	ctx := e.t.Context()
	_, err := e.CreateModel(ctx, "test", &registryv1.Model{
		Name: "big", DisplayName: "Big", Card: "# Big", Owner: "ada", Licence: "MIT", Labels: map[string]string{"a": "b"},
	})
	check(e.t, err)
	for i := range 70 {
		v := storetest.Version(e.t, "big", i)
		v.Metrics, v.Labels, v.Lineage = map[string]float64{"m": float64(i)}, map[string]string{"n": "x"}, &registryv1.Lineage{TrainingRunUri: "runs:/1"}
		_, err := e.CreateVersion(ctx, "test", v)
		check(e.t, err)
		e.clock.Advance(time.Second)
	}
	_, err = e.CreateVariant(ctx, "test", number(69), storetest.Variant(e.t, "big", "q8", 1000))
	check(e.t, err)
	check(e.t, e.DeleteVersion(ctx, "test", "big", number(70)))
	_, err = e.SetAlias(ctx, "test", "big", "production", 2, "")
	check(e.t, err)
	_, err = e.SetSplit(ctx, "test", "big", []*registryv1.Arm{{Name: "a", Version: 1, Weight: 400_000}, {Name: "b", Version: 69, Weight: 600_000}}, "")
	check(e.t, err)
	e.model("small")
}

func (s suite) archive(t *testing.T) {
	from := newEnv(t, storetest.SQLite, store.Options{})
	from.filled()
	models := from.everything()
	if len(models) != 2 || len(models[0].GetVersions()) != 69 || models[0].GetLastVersion() != 70 {
		t.Fatalf("exported %d models, %d versions", len(models), len(models[0].GetVersions()))
	}
	to := newEnv(t, s.databases, store.Options{})
	to.clock.Advance(time.Hour)
	ctx := t.Context()
	imports := func(conflict registryv1.ImportConflict, dry bool, want ...registryv1.ImportOutcome) {
		t.Helper()
		got, err := to.Import(ctx, "test", models, conflict, dry)
		check(t, err)
		if got["big"] != want[0] || got["small"] != want[1] {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	imports(fail, true, created, created)
	if to.revision() != 0 || len(to.everything()) != 0 {
		t.Error("a dry run changed something")
	}
	imports(fail, false, created, created)
	if to.revision() != 2 {
		t.Errorf("two models took the registry to revision %d", to.revision())
	}
	if !bytes.Equal(alike(to.everything()), alike(models)) {
		t.Error("what was imported is not what was exported")
	}
	imports(fail, false, unchanged, unchanged)
	if to.revision() != 2 {
		t.Error("the same again used up a revision")
	}
	// The next version does not take the number of one that was deleted.
	v := to.version("big", 500)
	if v.GetNumber() != 71 {
		t.Errorf("the next version is %d", v.GetNumber())
	}
	if st := to.state("big"); len(st.GetVersions()) != 70 || to.versionBytes("big") <= 0 {
		t.Errorf("watchers are sent %d versions", len(st.GetVersions()))
	}

	// Conflicts: with fail nothing is imported, whatever comes before.
	other := proto.CloneOf(models[1])
	other.Model.Name = "another"
	before := to.revision()
	_, err := to.Import(ctx, "test", []*registryv1.ArchivedModel{other, models[0]}, fail, false)
	wantReason(t, err, apierr.AlreadyExists, "models")
	if _, err := to.GetModel(ctx, "another"); apierr.ReasonOf(err) != apierr.ModelNotFound || to.revision() != before {
		t.Errorf("a part of a refused import stayed: %v", err)
	}
	imports(skip, false, skipped, unchanged)
	imports(replace, false, replaced, unchanged)
	if !bytes.Equal(alike(to.everything()), alike(models)) {
		t.Error("what replaced is not what was exported")
	}
	batch, err := to.Changes(ctx, store.Position{Revision: before})
	check(t, err)
	if len(batch.Changes) != 1 || batch.Changes[0].State.GetModel().GetName() != "big" {
		t.Errorf("watchers are told %v", batch.Changes)
	}
}

func (s suite) archiveRefused(t *testing.T) {
	from := newEnv(t, storetest.SQLite, store.Options{})
	from.filled()
	good := from.everything()[0]
	to := newEnv(t, s.databases, store.Options{})
	for name, spoil := range map[string]func(*registryv1.ArchivedModel){
		"a name":           func(m *registryv1.ArchivedModel) { m.Model.Name = "No" },
		"versions in turn": func(m *registryv1.ArchivedModel) { m.Versions[1].Number = 1 },
		"version zero":     func(m *registryv1.ArchivedModel) { m.Versions[0].Number = 0 },
		"a digest twice":   func(m *registryv1.ArchivedModel) { m.Versions[1].Digest = m.Versions[0].Digest },
		"a variant's name": func(m *registryv1.ArchivedModel) { m.Versions[68].Variants[0].Name = "base" },
		"a variant's form": func(m *registryv1.ArchivedModel) { m.Versions[68].Variants[0].Spec.ContextLength = 1 },
		"weights":          func(m *registryv1.ArchivedModel) { m.Split.Arms[0].Weight = 1 },
		"a salt":           func(m *registryv1.ArchivedModel) { m.Split.Salt = "" },
		"a last number":    func(m *registryv1.ArchivedModel) { m.LastVersion = 1<<31 - 1 },
		"a number":         func(m *registryv1.ArchivedModel) { m.Versions[68].Number = 1_000_000_000 },
		"too many metrics": func(m *registryv1.ArchivedModel) {
			m.Versions[0].Metrics = make(map[string]float64)
			for i := range 65 {
				m.Versions[0].Metrics[strconv.Itoa(i)] = 1
			}
		},
		"an alias": func(m *registryv1.ArchivedModel) { m.Aliases[0].Name = "v3" },
	} {
		bad := proto.CloneOf(good)
		spoil(bad)
		if _, err := to.Import(t.Context(), "test", []*registryv1.ArchivedModel{bad}, fail, false); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := proto.CloneOf(good)
	bad.Aliases[0].Version = 70
	_, err := to.Import(t.Context(), "test", []*registryv1.ArchivedModel{bad}, fail, false)
	if apierr.ReasonOf(err) != apierr.NotFound {
		t.Errorf("an alias of a version that is not there: %v", err)
	}
	if to.revision() != 0 {
		t.Error("a refused import used up a revision")
	}
}

// What an archive says of a protected alias waits for an approval, and no archive
// takes a model's protection away.
func (s suite) archiveProtected(t *testing.T) {
	from := newEnv(t, storetest.SQLite, store.Options{})
	from.model("m")
	for seed := range 2 {
		from.version("m", seed)
	}
	for _, alias := range []string{"beta", "production"} {
		_, err := from.SetAlias(t.Context(), "test", "m", alias, 1, "")
		check(t, err)
	}
	archive := from.everything()
	e, ctx := newEnv(t, s.databases, store.Options{ProtectedAliases: []string{"prod*"}, ApprovalTime: time.Hour}), t.Context()
	bring := func(conflict registryv1.ImportConflict) (registryv1.ImportOutcome, error) {
		got, err := e.Import(ctx, "ada", archive, conflict, false)
		return got["m"], err
	}
	if got, err := bring(fail); err != nil || got != created {
		t.Fatal(got, err)
	}
	_, err := e.GetAlias(ctx, "m", "production")
	wantReason(t, err, apierr.NotFound, "alias")
	beta, err := e.GetAlias(ctx, "m", "beta")
	if err != nil || beta.GetVersion() != 1 {
		t.Errorf("an alias that is not protected: %v, %v", beta, err)
	}
	if got, err := bring(fail); err != nil || got != unchanged {
		t.Errorf("again: %v, %v", got, err)
	}
	waiting, err := e.ListAliasChanges(ctx, "m", store.ChangeFilter{Pending: true}, "", 10)
	check(t, err)
	if len(waiting) != 1 || waiting[0].GetAlias() != "production" || waiting[0].GetRequestedBy() != "ada" {
		t.Fatalf("there wait %v", waiting)
	}
	_, err = e.ApproveAliasChange(ctx, "ada", e.decision(waiting[0].GetId()))
	wantReason(t, err, apierr.PermissionDenied, "")
	e.approve("bob", waiting[0].GetId())
	if got, err := bring(fail); err != nil || got != unchanged {
		t.Errorf("once approved: %v, %v", got, err)
	}

	// A model's own list goes with no archive, also where no alias is on it yet.
	archive[0].Model.Name, archive[0].Aliases = "own", archive[0].Aliases[:1]
	archive[0].Aliases[0].Model = "own"
	for _, v := range archive[0].GetVersions() {
		v.Model = "own"
	}
	e.model("own")
	_, _, err = e.SetAliasProtection(ctx, "ada", "own", []string{"beta"}, "", "")
	check(t, err)
	_, err = bring(replace)
	wantReason(t, err, apierr.FailedPrecondition, "models")
	if p, err := e.AliasProtection(ctx, "own"); err != nil || len(p.GetProtected()) != 1 {
		t.Errorf("the protection is %v, %v", p, err)
	}
}
