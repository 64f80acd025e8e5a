package store_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/digest"
	"github.com/poterne/poterne/pkg/sqldb"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// roomy limits no upload.
var roomy = store.UploadLimits{Uploads: 1000, Bytes: 1 << 40}

func sumOf(n int) string { return fmt.Sprintf("%064x", n) }

func (e *env) upload(id string, size int64, sum string) error {
	e.t.Helper()
	_, err := e.CreateUpload(e.t.Context(), &store.Upload{
		ID: id, Name: "m.gguf", Size: size, SHA256: sum, HashState: []byte("state"), PartBytes: 10, Expires: e.clock.Now().Add(time.Hour),
	}, roomy)
	return err
}

// artifact uploads a file of 10 bytes with the SHA-256 of n.
func (e *env) artifact(n int) *store.Artifact {
	e.t.Helper()
	ctx, id := e.t.Context(), fmt.Sprintf("up-%d-%d", n, rand.Int64())
	check(e.t, e.upload(id, 10, ""))
	attempt, err := e.BeginPart(ctx, id, 0)
	check(e.t, err)
	check(e.t, e.KeepPart(ctx, id, store.UploadPart{Attempt: attempt, Size: 10}, []byte("more"), e.clock.Now().Add(time.Hour)))
	a, err := e.CompleteUpload(ctx, id, sumOf(n), "place/"+id, e.clock.Now().Add(time.Hour))
	return must(e.t, a, err)
}

// referring is a version that refers to the artifacts.
func referring(t *testing.T, model string, seed int, sums ...string) *registryv1.Version {
	t.Helper()
	spec := &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "sim", Parameters: map[string]string{"seed": fmt.Sprint(seed)}}
	for i, sum := range sums {
		spec.Artifacts = append(spec.Artifacts, &commonv1.Artifact{
			Uri: store.ArtifactPrefix + sum, Sha256: sum, SizeBytes: 10, Name: fmt.Sprint(i),
		})
	}
	d, err := digest.Of(spec)
	check(t, err)
	return &registryv1.Version{Model: model, Digest: d, Spec: spec}
}

func (s suite) uploads(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	check(t, e.upload("a", 30, sumOf(1)))
	attempt, err := e.BeginPart(ctx, "a", 0)
	check(t, err)
	later, err := e.BeginPart(ctx, "a", 0)
	check(t, err)
	if attempt != 1 || later != 2 {
		t.Errorf("attempts %d and %d", attempt, later)
	}
	part := store.UploadPart{Attempt: later, Size: 20, SHA256: sumOf(7), Tag: "tag"}
	check(t, e.KeepPart(ctx, "a", part, []byte("s1"), e.clock.Now().Add(time.Hour)))
	part.Attempt = attempt // the other one comes too late
	wantReason(t, e.KeepPart(ctx, "a", part, []byte("s2"), e.clock.Now()), apierr.Conflict, "offset")
	_, err = e.BeginPart(ctx, "a", 0)
	wantReason(t, err, apierr.Conflict, "offset")
	u, err := e.GetUpload(ctx, "a")
	check(t, err)
	if u.Received != 20 || string(u.HashState) != "s1" || u.Attempts != 2 {
		t.Errorf("got %+v", u)
	}
	parts, err := e.ListUploadParts(ctx, "a", 0, 10)
	check(t, err)
	if len(parts) != 1 || parts[0].Number != 1 || parts[0].Attempt != 2 || parts[0].Tag != "tag" {
		t.Errorf("parts %+v", parts)
	}
	if list, err := e.WholeUploads(ctx, 10); err != nil || len(list) != 0 {
		t.Errorf("whole: %v, %v", list, err)
	}
	check(t, e.KeepPart(ctx, "a", store.UploadPart{Attempt: 3, Offset: 20, Size: 10}, []byte("s3"), e.clock.Now().Add(time.Hour)))
	if list, err := e.WholeUploads(ctx, 10); err != nil || len(list) != 1 {
		t.Errorf("whole: %v, %v", list, err)
	}
	a, err := e.CompleteUpload(ctx, "a", sumOf(1), "p1", e.clock.Now().Add(time.Hour))
	check(t, err)
	again, err := e.CompleteUpload(ctx, "a", sumOf(1), "p1", e.clock.Now().Add(time.Hour))
	check(t, err)
	if a.Place != "p1" || again.Place != "p1" || a.Size != 30 {
		t.Errorf("completed to %+v and %+v", a, again)
	}
	there, err := e.CreateUpload(ctx, &store.Upload{ID: "b", Size: 30, SHA256: sumOf(1), HashState: []byte{}, Expires: e.clock.Now()}, roomy)
	if err != nil || there == nil || there.SHA256 != sumOf(1) {
		t.Errorf("what is there was begun: %v, %v", there, err)
	}
	// The same content by another way is trash.
	check(t, e.upload("c", 30, ""))
	a, err = e.CompleteUpload(ctx, "c", sumOf(1), "p2", e.clock.Now())
	if trash, terr := e.Trash(ctx, 10); err != nil || terr != nil || a.Place != "p1" || len(trash) != 1 || trash[0] != "p2" {
		t.Errorf("%+v, trash %v, %v %v", a, trash, err, terr)
	}
	check(t, e.Removed(ctx, "p2"))
	// What came of a complete upload is not its own any more.
	open, err := e.DropUpload(ctx, "c")
	if err != nil || open {
		t.Errorf("a complete upload was given up as open %v, %v", open, err)
	}
}

func (s suite) uploadLimits(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	begin := func(id string, size int64, limits store.UploadLimits) error {
		_, err := e.CreateUpload(ctx, &store.Upload{ID: id, Size: size, HashState: []byte{}, Expires: e.clock.Now().Add(time.Minute)}, limits)
		return err
	}
	check(t, begin("a", 60, store.UploadLimits{Uploads: 2, Bytes: 100}))
	if err := begin("b", 41, store.UploadLimits{Uploads: 2, Bytes: 100}); apierr.ReasonOf(err) != apierr.QuotaExceeded {
		t.Errorf("too many bytes: %v", err)
	}
	if err := begin("b", 40, store.UploadLimits{Uploads: 2, Bytes: 100, ArtifactBytes: 99}); apierr.ReasonOf(err) != apierr.StorageFull {
		t.Errorf("over the quota: %v", err)
	}
	check(t, begin("b", 40, store.UploadLimits{Uploads: 2, Bytes: 100}))
	if err := begin("c", 1, store.UploadLimits{Uploads: 2, Bytes: 1000}); apierr.ReasonOf(err) != apierr.QuotaExceeded {
		t.Errorf("too many: %v", err)
	}
	e.clock.Advance(time.Minute)
	if n, err := e.ExpireUploads(ctx); err != nil || n != 2 {
		t.Errorf("%d are over, %v", n, err)
	}
	_, err := e.GetUpload(ctx, "a")
	wantReason(t, err, apierr.NotFound, "upload")
	check(t, begin("c", 1, store.UploadLimits{Uploads: 1, Bytes: 1}))
	if list, err := e.DroppedUploads(ctx, 10); err != nil || len(list) != 2 {
		t.Errorf("dropped: %v, %v", list, err)
	}
	check(t, e.ForgetUpload(ctx, "a"))
	open, err := e.DropUpload(ctx, "c")
	if err != nil || !open {
		t.Errorf("an open upload was given up as open %v, %v", open, err)
	}
	_, err = e.DropUpload(ctx, "c")
	wantReason(t, err, apierr.NotFound, "upload")
}

func (s suite) artifactReferences(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	_, err := e.CreateVersion(ctx, "", referring(t, "m", 1, sumOf(1)))
	wantReason(t, err, apierr.FailedPrecondition, "spec.artifacts[0].uri")
	e.artifact(1)
	e.artifact(2)
	before := e.revision()
	bad := referring(t, "m", 1, sumOf(1))
	bad.Spec.Artifacts[0].SizeBytes = 11
	_, err = e.CreateVersion(ctx, "", bad)
	wantReason(t, err, apierr.InvalidArgument, "spec.artifacts[0].size_bytes")
	if e.revision() != before {
		t.Error("a refusal used up a revision")
	}
	_, err = e.CreateVersion(ctx, "", referring(t, "m", 1, sumOf(1), sumOf(1)))
	check(t, err)
	form := referring(t, "m", 2, sumOf(2))
	_, err = e.CreateVariant(ctx, "", number(1), &registryv1.Variant{Model: "m", Name: "q4", Digest: form.Digest, Spec: form.Spec})
	check(t, err)
	n, list, err := e.References(ctx, sumOf(2), 10)
	if err != nil || n != 1 || list[0] != (store.Reference{Model: "m", Version: 1, Variant: "q4"}) {
		t.Errorf("%d %v %v", n, list, err)
	}
	all, err := e.ListArtifacts(ctx, "", 10)
	if err != nil || len(all) != 2 || all[0].Referring != 1 || all[1].Referring != 1 {
		t.Errorf("listed as %+v, %v", all, err)
	}
	wantReason(t, e.DeleteArtifact(ctx, sumOf(1)), apierr.FailedPrecondition, "sha256")
	check(t, e.DeleteVariant(ctx, "", "m", number(1), "q4"))
	check(t, e.DeleteArtifact(ctx, sumOf(2)))
	wantReason(t, e.DeleteArtifact(ctx, sumOf(2)), apierr.NotFound, "sha256")
	check(t, e.PurgeModel(ctx, "", "m"))
	check(t, e.DeleteArtifact(ctx, sumOf(1)))
	if trash, err := e.Trash(ctx, 10); err != nil || len(trash) != 2 {
		t.Errorf("trash %v, %v", trash, err)
	}
}

func (s suite) artifactGrace(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	for n := range 3 {
		e.artifact(n)
	}
	_, err := e.CreateVersion(ctx, "", referring(t, "m", 1, sumOf(0)))
	check(t, err)
	check(t, e.MarkArtifacts(ctx))
	e.clock.Advance(time.Hour)
	if g, err := e.SweepArtifacts(ctx, e.clock.Now().Add(-2*time.Hour), 10); err != nil || len(g.Artifacts) != 0 || g.Waiting != 2 {
		t.Errorf("within the grace: %+v, %v", g, err)
	}
	// Whoever was told that it is there has another grace period.
	if _, err := e.HoldArtifact(ctx, sumOf(2)); err != nil {
		t.Fatal(err)
	}
	check(t, e.MarkArtifacts(ctx))
	g, err := e.Unreferenced(ctx, e.clock.Now().Add(-time.Minute), 10)
	check(t, err)
	swept, err := e.SweepArtifacts(ctx, e.clock.Now().Add(-time.Minute), 10)
	check(t, err)
	for _, got := range []store.Garbage{g, swept} {
		if len(got.Artifacts) != 1 || got.Artifacts[0].SHA256 != sumOf(1) || got.Waiting != 1 {
			t.Errorf("got %+v", got)
		}
	}
}

// Versions are made and removed, files uploaded and swept without any grace, all
// at once: whatever a version or a variant refers to is there, and nothing else
// is lost.
func (s suite) artifactSweeps(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	other := e.open() // another replica
	ctx := t.Context()
	const files, rounds = 4, 40
	models := []string{"a", "b", "c"}
	for _, m := range models {
		e.model(m)
	}
	together(5, func(i int) {
		r := rand.New(rand.NewPCG(uint64(i), 7))
		for round := range rounds {
			switch {
			case i < 2: // sweeps
				db := []*store.Store{e.Store, other}[i]
				if err := db.MarkArtifacts(ctx); err != nil {
					t.Error(err)
				}
				if _, err := db.SweepArtifacts(ctx, e.clock.Now().Add(time.Second), 1+r.IntN(10)); err != nil {
					t.Error(err)
				}
			default:
				model, n := models[i-2], r.IntN(files)
				if _, err := e.HoldArtifact(ctx, sumOf(n)); err != nil {
					t.Error(err)
				}
				_, err := other.GetArtifact(ctx, sumOf(n))
				if apierr.ReasonOf(err) == apierr.NotFound {
					e.artifact(n)
				}
				_, err = other.CreateVersion(ctx, "", referring(t, model, round, sumOf(n)))
				if err != nil && apierr.ReasonOf(err) != apierr.FailedPrecondition {
					t.Error(err)
				}
				if round%7 == 6 {
					if err := e.PurgeModel(ctx, "", model); err != nil {
						t.Error(err)
					}
					if _, err := e.CreateModel(ctx, "", &registryv1.Model{Name: model}); err != nil {
						t.Error(err)
					}
				}
			}
			e.sound()
		}
	})
}

// sound checks that every version has its files, and that these are no trash.
func (e *env) sound() {
	e.t.Helper()
	var lost int
	err := e.raw().QueryRowContext(e.t.Context(), `SELECT count(*) FROM registry_version_artifacts r
		WHERE NOT EXISTS (SELECT 1 FROM registry_artifacts a WHERE a.sha256 = r.sha256)
		OR EXISTS (SELECT 1 FROM registry_artifacts a JOIN registry_artifact_trash t ON t.place = a.place WHERE a.sha256 = r.sha256)`).Scan(&lost)
	if err != nil || lost > 0 {
		e.t.Errorf("%d references to what is not there, %v", lost, err)
	}
}

// A database from before artifacts keeps what it holds when it is brought up to
// date, and when it is taken back.
func (s suite) artifactMigration(t *testing.T) {
	ctx := t.Context()
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	old := e.version("m", 1)
	dialect := goose.DialectSQLite3
	if e.raw().Dialect == sqldb.Postgres {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, e.raw().DB, os.DirFS("migrations/"+string(e.raw().Dialect)),
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("registry_migrations"))
	check(t, err)
	for range 2 {
		e.artifact(1)
		_, err = e.CreateVersion(ctx, "", referring(t, "m", 2, sumOf(1)))
		check(t, err)
		_, err = provider.DownTo(ctx, 3)
		check(t, err)
		if _, err := e.raw().ExecContext(ctx, `SELECT 1 FROM registry_artifacts`); err == nil {
			t.Error("the table is there after going back")
		}
		_, err = provider.Up(ctx)
		check(t, err)
		got, err := e.GetVersion(ctx, "m", store.VersionKey{Number: 1})
		if err != nil || got.GetDigest() != old.GetDigest() {
			t.Errorf("got %v, %v", got, err)
		}
		if !strings.HasPrefix(old.GetDigest(), "sha256:") {
			t.Error(old)
		}
		check(t, e.PurgeModel(ctx, "", "m"))
		e.model("m")
		old = e.version("m", 1)
	}
}
