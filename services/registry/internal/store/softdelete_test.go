package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

func (s suite) softModels(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{KeepDeleted: time.Hour})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	before := e.state("m")
	revision := e.revision()
	check(t, e.DeleteModel(ctx, "", "m"))

	_, err := e.GetModel(ctx, "m")
	wantReason(t, err, apierr.ModelNotFound, "model")
	_, err = e.GetVersion(ctx, "m", number(1))
	wantReason(t, err, apierr.ModelNotFound, "model")
	_, err = e.CreateVersion(ctx, "", storetest.Version(t, "m", 2))
	wantReason(t, err, apierr.ModelNotFound, "model")
	_, err = e.SetAlias(ctx, "", "m", "a", 1, "")
	wantReason(t, err, apierr.ModelNotFound, "model")
	_, err = e.CreateModel(ctx, "", &registryv1.Model{Name: "m"})
	wantReason(t, err, apierr.AlreadyExists, "name")
	batch, err := e.Changes(ctx, store.Position{Revision: revision})
	check(t, err)
	if len(batch.Changes) != 1 || batch.Changes[0].State != nil {
		t.Errorf("watchers are told %+v", batch)
	}
	page, err := e.Page(ctx, "")
	check(t, err)
	if len(page.Models) != 0 || !page.Last {
		t.Errorf("a page has it: %v", page)
	}
	for deleted, want := range map[bool]int{false: 0, true: 1} {
		list, err := e.FindModels(ctx, store.Query{Deleted: deleted, Limit: 9})
		check(t, err)
		if len(list) != want {
			t.Errorf("listed with deleted ones %v: %v", deleted, list)
		}
		for _, m := range list {
			if !m.GetDeleteTime().AsTime().Equal(start) || !m.GetPurgeTime().AsTime().Equal(start.Add(time.Hour)) {
				t.Errorf("deleted at %v until %v", m.GetDeleteTime().AsTime(), m.GetPurgeTime().AsTime())
			}
		}
	}
	back, err := e.UndeleteModel(ctx, "", "m")
	check(t, err)
	if back.GetDeleteTime() != nil || !proto.Equal(e.state("m"), before) {
		t.Errorf("restored as %v, was %v", e.state("m"), before)
	}
	now := e.revision()
	_, err = e.UndeleteModel(ctx, "", "m")
	check(t, err)
	if e.revision() != now {
		t.Error("restoring what is there used up a revision")
	}
	_, err = e.UndeleteModel(ctx, "", "absent")
	wantReason(t, err, apierr.ModelNotFound, "model")
}

func (s suite) softVersions(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{KeepDeleted: time.Hour})
	ctx := t.Context()
	e.model("m")
	for seed := 1; seed <= 3; seed++ {
		e.version("m", seed)
	}
	_, err := e.SetAlias(ctx, "", "m", "production", 1, "")
	check(t, err)
	_, err = e.SetSplit(ctx, "", "m", []*registryv1.Arm{arm("all", 2, store.WholeSplit)}, "")
	check(t, err)
	for n, standing := range map[int32]string{1: `alias "production"`, 2: `arm "all"`} {
		err := e.DeleteVersion(ctx, "", "m", number(n))
		wantReason(t, err, apierr.FailedPrecondition, "version")
		if got := apierr.From(err).Metadata["standing"]; got != standing {
			t.Errorf("version %d is kept by %q, want %q", n, got, standing)
		}
		wantReason(t, e.PurgeVersion(ctx, "", "m", number(n)), apierr.FailedPrecondition, "version")
	}
	bytes := e.versionBytes("m")
	before := e.state("m")
	check(t, e.DeleteVersion(ctx, "", "m", number(3)))
	_, err = e.GetVersion(ctx, "m", number(3))
	wantReason(t, err, apierr.NotFound, "version")
	_, err = e.SetAlias(ctx, "", "m", "b", 3, "")
	wantReason(t, err, apierr.NotFound, "version")
	_, err = e.SetSplit(ctx, "", "m", []*registryv1.Arm{arm("all", 3, store.WholeSplit)}, "*")
	wantReason(t, err, apierr.NotFound, "arms[0].version")
	_, err = e.CreateVersion(ctx, "", storetest.Version(t, "m", 3))
	wantReason(t, err, apierr.AlreadyExists, "spec")
	if st := e.state("m"); len(st.GetVersions()) != 2 || st.GetModel().GetVersionCount() != 2 || st.GetOmittedVersions() != 0 || e.versionBytes("m") >= bytes {
		t.Errorf("watchers are sent %v, %d bytes are counted", st, e.versionBytes("m"))
	}
	list, err := e.FindVersions(ctx, "m", store.Query{Deleted: true, Limit: 9})
	check(t, err)
	if len(list) != 3 || list[0].GetDeleteTime() == nil {
		t.Errorf("listed %v", list)
	}
	v, err := e.UndeleteVersion(ctx, "", "m", number(3))
	check(t, err)
	before.Model.UpdateTime = e.state("m").GetModel().GetUpdateTime()
	if v.GetDeleteTime() != nil || !proto.Equal(e.state("m"), before) || e.versionBytes("m") != bytes {
		t.Errorf("restored as %v", e.state("m"))
	}
	// Gone for good, its number is not given again.
	check(t, e.PurgeVersion(ctx, "", "m", number(3)))
	wantReason(t, e.PurgeVersion(ctx, "", "m", number(3)), apierr.NotFound, "version")
	if v := e.version("m", 3); v.GetNumber() != 4 {
		t.Errorf("the next version has number %d", v.GetNumber())
	}
}

func (s suite) purging(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{KeepDeleted: time.Hour})
	ctx := t.Context()
	for _, name := range []string{"kept", "gone", "back"} {
		e.model(name)
		e.version(name, 1)
		e.version(name, 2)
	}
	check(t, e.DeleteModel(ctx, "", "gone"))
	check(t, e.DeleteModel(ctx, "", "back"))
	check(t, e.DeleteVersion(ctx, "", "kept", number(1)))
	e.clock.Advance(time.Hour - time.Second)
	before := e.revision()
	n, err := e.Purge(ctx)
	check(t, err)
	if n != 0 || e.revision() != before {
		t.Errorf("%d are purged before their time", n)
	}
	_, err = e.UndeleteModel(ctx, "", "back")
	check(t, err)
	e.clock.Advance(time.Second)
	n, err = e.Purge(ctx)
	check(t, err)
	if n != 2 || e.revision() != before+3 {
		t.Errorf("%d are purged, at revision %d after %d", n, e.revision(), before)
	}
	_, err = e.UndeleteModel(ctx, "", "gone")
	wantReason(t, err, apierr.ModelNotFound, "model")
	_, err = e.UndeleteVersion(ctx, "", "kept", number(1))
	wantReason(t, err, apierr.NotFound, "version")
	e.model("gone")
	if st := e.state("kept"); len(st.GetVersions()) != 1 || len(e.state("back").GetVersions()) != 2 {
		t.Errorf("what was not deleted is %v", st)
	}
	if n, err := e.Purge(ctx); n != 0 || err != nil {
		t.Errorf("once more: %d, %v", n, err)
	}
}

// A model with more versions than fit into a message: the newest are sent, and
// the old ones that something needs.
func (s suite) carried(t *testing.T) {
	const versions, room = 40, 4000
	e := newEnv(t, s.databases, store.Options{MaxModelBytes: room})
	ctx := t.Context()
	e.model("m")
	e.version("m", 0)
	_, err := e.SetAlias(ctx, "", "m", "production", 1, "")
	check(t, err)
	sent := func() string {
		t.Helper()
		st := e.state("m")
		var numbers []string
		for _, v := range st.GetVersions() {
			numbers = append(numbers, fmt.Sprint(v.GetNumber()))
		}
		if counted := e.versionBytes("m"); counted > room || int64(proto.Size(&registryv1.ModelState{Versions: st.GetVersions()})) > counted {
			t.Fatalf("%d bytes are counted, %d are sent, %d may be", counted, proto.Size(st), room)
		}
		if int(st.GetOmittedVersions()) != int(st.GetModel().GetVersionCount())-len(numbers) {
			t.Fatalf("%d versions are left out of %d: %v are sent", st.GetOmittedVersions(), st.GetModel().GetVersionCount(), numbers)
		}
		return strings.Join(numbers, " ")
	}
	for seed := 1; seed < versions; seed++ {
		e.version("m", seed)
		sent()
	}
	first := sent()
	if !strings.HasPrefix(first, "1 ") || !strings.HasSuffix(first, " 39 40") || strings.Contains(first, " 5 ") {
		t.Fatalf("sent are %s", first)
	}
	// What is left out is there, and sent once something needs it.
	if v, err := e.GetVersion(ctx, "m", number(5)); err != nil || v.GetNumber() != 5 {
		t.Fatal(err)
	}
	_, err = e.SetAlias(ctx, "", "m", "old", 5, "")
	check(t, err)
	e.add("m", "q4", 99, nil) // of version 1
	if got := sent(); !strings.HasPrefix(got, "1 5 ") || len(e.state("m").GetVersions()[0].GetVariants()) != 1 {
		t.Errorf("with an alias on 5: %s", got)
	}
	check(t, e.DeleteAlias(ctx, "", "m", "old", "*"))
	if got := sent(); strings.Contains(got, " 5 ") {
		t.Errorf("without it: %s", got)
	}
	// More than fits cannot be needed.
	for n := int32(2); ; n++ {
		_, err = e.SetAlias(ctx, "", "m", fmt.Sprintf("a%d", n), n, "")
		sent()
		if err != nil {
			break
		}
	}
	wantReason(t, err, apierr.FailedPrecondition, "model")
}

func (s suite) signatures(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	v := e.version("m", 1)
	e.add("m", "q4", 1, nil)
	sig := func(key string, b byte) *registryv1.Signature {
		return &registryv1.Signature{KeyId: strings.Repeat(key, 16), Signature: []byte(strings.Repeat(string(b), 64))}
	}
	var digest string
	sign := func(variant string, s *registryv1.Signature) (*registryv1.Version, error) {
		return e.SignVersion(ctx, "", "m", number(1), variant, s, func(d string) error { digest = d; return nil })
	}
	for _, s := range []*registryv1.Signature{sig("a", 'x'), sig("b", 'x'), sig("a", 'y')} {
		_, err := sign("", s)
		check(t, err)
	}
	if digest != v.GetDigest() {
		t.Errorf("signed was %s, not %s", digest, v.GetDigest())
	}
	before := e.revision()
	got, err := sign("base", sig("a", 'y'))
	check(t, err)
	if len(keys(got.GetSignatures())) != 2 || got.GetSignatures()[0].GetSignature()[0] != 'y' || e.revision() != before {
		t.Errorf("signed %v at revision %d", got, e.revision())
	}
	if got, err = sign("q4", sig("c", 'z')); err != nil || digest == v.GetDigest() || len(got.GetVariants()[0].GetSignatures()) != 1 {
		t.Errorf("a variant: %v, %v", got, err)
	}
	if sent := e.state("m").GetVersions()[0]; len(sent.GetSignatures()) != 2 || len(sent.GetVariants()[0].GetSignatures()) != 1 {
		t.Errorf("watchers are sent %v", sent)
	}
	_, err = sign("absent", sig("c", 'z'))
	wantReason(t, err, apierr.NotFound, "variant")
	for i := range 6 {
		_, err = sign("", sig(fmt.Sprint(i), 'x'))
		check(t, err)
	}
	_, err = sign("", sig("9", 'x'))
	wantReason(t, err, apierr.FailedPrecondition, "signature")
	list, err := e.FindVersions(ctx, "m", store.Query{Filter: parse(t, `signed = "true"`), Limit: 1})
	check(t, err)
	if len(list) != 1 {
		t.Error("it is not found by being signed")
	}
}

func (s suite) mayServe(t *testing.T) {
	refused := apierr.New(apierr.FailedPrecondition, "not signed").WithField("version")
	e := newEnv(t, s.databases, store.Options{May: func(v *registryv1.Version) error {
		if len(v.GetSignatures()) == 0 {
			return refused
		}
		return nil
	}})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	_, err := e.SetAlias(ctx, "", "m", "a", 1, "")
	wantReason(t, err, apierr.FailedPrecondition, "version")
	_, err = e.SetSplit(ctx, "", "m", []*registryv1.Arm{arm("a", 1, store.WholeSplit)}, "")
	wantReason(t, err, apierr.FailedPrecondition, "arms[0].version")
	_, err = e.SignVersion(ctx, "", "m", number(1), "", &registryv1.Signature{KeyId: "k"}, func(string) error { return nil })
	check(t, err)
	_, err = e.SetAlias(ctx, "", "m", "a", 1, "")
	check(t, err)
}
