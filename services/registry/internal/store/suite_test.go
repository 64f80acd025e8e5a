package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// start is when the fake clock of every test begins.
var start = time.Date(2030, 1, 2, 3, 4, 5, 678_000, time.UTC)

// env is a store under test.
type env struct {
	*store.Store
	t     *testing.T
	clock *clock.Fake
	opts  store.Options
	open  func() *store.Store // another replica on the same database
	raw   func() *sqldb.DB    // the database itself
}

func newEnv(t *testing.T, databases storetest.Databases, opts store.Options) *env {
	t.Helper()
	cfg := databases(t)
	e := &env{t: t, clock: clock.NewFake(start), opts: opts}
	e.opts.Clock = e.clock
	e.open = func() *store.Store { return storetest.Open(t, cfg, e.opts) }
	e.Store = e.open()
	e.raw = sync.OnceValue(func() *sqldb.DB {
		db, err := sqldb.Open(t.Context(), cfg)
		check(t, err)
		t.Cleanup(func() { check(t, db.Close()) })
		return db
	})
	return e
}

// suite is what every database must do.
type suite struct{ databases storetest.Databases }

func (s suite) run(t *testing.T) {
	t.Helper()
	t.Run("models", s.models)
	t.Run("models are changed", s.modelUpdates)
	t.Run("models are listed by bytes", s.modelOrder)
	t.Run("names that cannot be stored", s.oddNames)
	t.Run("limits", s.limits)
	t.Run("deletion is refused", s.deletionRefused)
	t.Run("versions", s.versions)
	t.Run("concurrent versions", s.concurrentVersions)
	t.Run("variants", s.variants)
	t.Run("variants are measured", s.variantQuality)
	t.Run("variants that are refused", s.variantRefused)
	t.Run("variants of variants", s.variantSources)
	t.Run("variants are counted", s.variantBytes)
	t.Run("variants are watched", s.variantChanges)
	t.Run("concurrent variants", s.concurrentVariants)
	t.Run("random variants", s.randomVariants)
	t.Run("migration to variants", s.variantMigration)
	t.Run("migration to metadata", s.metadataMigration)
	t.Run("metadata of models", s.modelMetadata)
	t.Run("metadata of versions", s.versionMetadata)
	t.Run("models are found", s.findModels)
	t.Run("versions are found", s.findVersions)
	t.Run("models are deleted softly", s.softModels)
	t.Run("versions are deleted softly", s.softVersions)
	t.Run("what was deleted is purged", s.purging)
	t.Run("old versions are left out", s.carried)
	t.Run("signatures", s.signatures)
	t.Run("versions that must not serve", s.mayServe)
	t.Run("uploads", s.uploads)
	t.Run("upload limits", s.uploadLimits)
	t.Run("references to artifacts", s.artifactReferences)
	t.Run("unreferenced artifacts", s.artifactGrace)
	t.Run("sweeps beside new versions", s.artifactSweeps)
	t.Run("migration to artifacts", s.artifactMigration)
	t.Run("aliases", s.aliases)
	t.Run("alias etags", s.aliasEtags)
	t.Run("concurrent aliases", s.concurrentAliases)
	t.Run("sixteen writers", s.sixteenWriters)
	t.Run("protected aliases", s.approval)
	t.Run("approval of the past", s.approvalOfThePast)
	t.Run("approval ends", s.approvalEnds)
	t.Run("protection of a model", s.ownProtection)
	t.Run("protected roll-back", s.protectedRollback)
	t.Run("alias history", s.aliasHistory)
	t.Run("split history", s.splitHistory)
	t.Run("migration to history", s.historyMigration)
	t.Run("prompts", s.prompts)
	t.Run("prompts of arms", s.armPrompts)
	t.Run("prompts of experiments", s.experimentPrompts)
	t.Run("prompts' aliases rolled back", s.promptRollback)
	t.Run("prompts that are sent", s.promptStates)
	t.Run("migration of prompts", s.promptMigration)
	t.Run("random operations", s.randomOperations)
	t.Run("splits", s.splits)
	t.Run("split checks", s.splitChecks)
	t.Run("split digests", s.splitDigests)
	t.Run("salt", s.salt)
	t.Run("life of an experiment", s.experimentLife)
	t.Run("experiments that are refused", s.experimentChecks)
	t.Run("layers", s.layers)
	t.Run("what experiments need", s.experimentNeeds)
	t.Run("experiments name what is there and may serve", s.experimentVersions)
	t.Run("concurrent experiments", s.experimentEtags)
	t.Run("many experiments", s.experimentLimits)
	t.Run("random experiments", s.randomExperiments)
	t.Run("migration to experiments", s.experimentMigration)
	t.Run("rollouts", s.rollouts)
	t.Run("limits of rollouts", s.rolloutLimits)
	t.Run("leases", s.leases)
	t.Run("migration to rollouts", s.rolloutMigration)
	t.Run("revisions", s.revisions)
	t.Run("changes", s.changes)
	t.Run("changes in parts", s.changesInParts)
	t.Run("changes are forgotten", s.compaction)
	t.Run("another history is told", s.otherHistory)
	t.Run("no gaps between replicas", s.noGaps)
	t.Run("pages", s.pages)
	t.Run("archives", s.archive)
	t.Run("archives that are refused", s.archiveRefused)
	t.Run("archives and protected aliases", s.archiveProtected)
	t.Run("whole archives", s.archiveAll)
	t.Run("conflicts of whole archives", s.archiveConflicts)
	t.Run("prompts of arms in archives", s.archivePrompts)
	t.Run("archives replace prompts that arms name", s.archiveReplacesPrompts)
	t.Run("reopening", s.reopening)
	t.Run("outcomes", s.outcomes)
	t.Run("outcomes are counted once", s.outcomesOnce)
	t.Run("outcomes are tidied", s.outcomesTidied)
	t.Run("exposures", s.exposures)
	t.Run("feedback", s.feedback)
	t.Run("feedback is listed", s.feedbackList)
	t.Run("migration to evidence", s.evidenceMigration)
	t.Run("webhooks", s.webhooks)
	t.Run("deliveries are in order", s.deliveryOrder)
	t.Run("dead letters", s.deadLetters)
	t.Run("migration to webhooks", s.webhookMigration)
}

func TestSQLite(t *testing.T) { suite{storetest.SQLite}.run(t) }

// must fails the test for an error of arranging or of what should work.
func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantReason checks the place of err in the taxonomy and the field it names.
func wantReason(t *testing.T, err error, reason apierr.Reason, field string) {
	t.Helper()
	if e := apierr.From(err); e == nil || e.Reason != reason || e.Field != field {
		t.Fatalf("got %v, want %s of field %q", err, reason, field)
	}
}

func (e *env) model(name string) *registryv1.Model {
	e.t.Helper()
	m, err := e.CreateModel(e.t.Context(), "test", &registryv1.Model{Name: name})
	return must(e.t, m, err)
}

func (e *env) version(model string, seed int) *registryv1.Version {
	e.t.Helper()
	v, err := e.CreateVersion(e.t.Context(), "test", storetest.Version(e.t, model, seed))
	return must(e.t, v, err)
}

func (e *env) revision() int64 {
	e.t.Helper()
	r, err := e.Revision(e.t.Context())
	return must(e.t, r, err)
}

// together runs fn n times at once and waits for all.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}
