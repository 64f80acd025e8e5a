package store_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

func (s suite) models(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	labels := map[string]string{"team": "search", "note": "é \"quoted\" \x00"}
	made, err := e.CreateModel(ctx, "ana", &registryv1.Model{Name: "llama", DisplayName: "Llama", Labels: labels})
	check(t, err)
	if made.GetName() != "llama" || made.GetDisplayName() != "Llama" || !maps.Equal(made.GetLabels(), labels) {
		t.Errorf("made %v", made)
	}
	if !made.GetCreateTime().AsTime().Equal(start) || !made.GetUpdateTime().AsTime().Equal(start) {
		t.Errorf("times %v, %v; want %v", made.GetCreateTime().AsTime(), made.GetUpdateTime().AsTime(), start)
	}
	_, err = e.CreateModel(ctx, "ana", &registryv1.Model{Name: "llama"})
	wantReason(t, err, apierr.AlreadyExists, "name")

	e.clock.Advance(time.Minute)
	e.version("llama", 1)
	got, err := e.GetModel(ctx, "llama")
	check(t, err)
	if got.GetVersionCount() != 1 || !got.GetUpdateTime().AsTime().Equal(start.Add(time.Minute)) || !got.GetCreateTime().AsTime().Equal(start) {
		t.Errorf("after a version: %v", got)
	}

	check(t, e.PurgeModel(ctx, "ana", "llama"))
	_, err = e.GetModel(ctx, "llama")
	wantReason(t, err, apierr.ModelNotFound, "model")
	wantReason(t, e.DeleteModel(ctx, "ana", "llama"), apierr.ModelNotFound, "model")

	e.model("llama")
	if v := e.version("llama", 1); v.GetNumber() != 1 {
		t.Errorf("a model made again begins at version %d", v.GetNumber())
	}
}

// Names are compared byte by byte on every database, whatever its locale.
func (s suite) modelOrder(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	want := []string{"a", "a-b", "a.b", "a0", "a_b", "ab", "b", "b-a"}
	for _, name := range slices.Backward(want) {
		e.model(name)
	}
	var got []string
	for after := ""; ; {
		page, err := e.ListModels(t.Context(), after, 3)
		check(t, err)
		if len(page) == 0 {
			break
		}
		for _, m := range page {
			got = append(got, m.GetName())
		}
		after = got[len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
}

func (s suite) oddNames(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	for _, name := range []string{"", "A", "a b", "a\x00", "é", "a/b", "-a", string(make([]byte, 200))} {
		_, err := e.CreateModel(ctx, "", &registryv1.Model{Name: name})
		wantReason(t, err, apierr.InvalidArgument, "name")
		_, err = e.GetModel(ctx, name)
		wantReason(t, err, apierr.ModelNotFound, "model")
		_, err = e.GetVersion(ctx, name, store.VersionKey{Number: 1})
		wantReason(t, err, apierr.ModelNotFound, "model")
		_, err = e.GetAlias(ctx, "m", name)
		wantReason(t, err, apierr.NotFound, "alias")
		_, err = e.SetAlias(ctx, "", "m", name, 1, "")
		wantReason(t, err, apierr.InvalidArgument, "alias")
		_, err = e.GetSplit(ctx, name)
		wantReason(t, err, apierr.ModelNotFound, "model")
	}
	if _, err := e.CreateModel(ctx, "an actor\x00 with \xff", &registryv1.Model{Name: "n"}); err != nil {
		t.Errorf("an actor's odd name stopped a change: %v", err)
	}
}

func (s suite) limits(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{MaxModels: 2, MaxAliases: 1, MaxModelBytes: 700})
	ctx := t.Context()
	e.model("a")
	e.model("b")
	_, err := e.CreateModel(ctx, "", &registryv1.Model{Name: "c"})
	wantReason(t, err, apierr.FailedPrecondition, "")

	e.version("a", 1)
	e.version("a", 2)
	large := storetest.Version(t, "a", 3)
	large.Description = strings.Repeat("x", 700)
	_, err = e.CreateVersion(ctx, "", large)
	wantReason(t, err, apierr.FailedPrecondition, "model")
	if m, err := e.GetModel(ctx, "a"); err != nil || m.GetVersionCount() != 2 {
		t.Errorf("after a refused version: %v, %v", m, err)
	}

	alias, err := e.SetAlias(ctx, "", "a", "one", 1, "")
	check(t, err)
	_, err = e.SetAlias(ctx, "", "a", "two", 1, "")
	wantReason(t, err, apierr.FailedPrecondition, "alias")
	if _, err := e.SetAlias(ctx, "", "a", "one", 2, alias.GetEtag()); err != nil {
		t.Errorf("the limit keeps an alias from moving: %v", err)
	}
}

func (s suite) deletionRefused(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	alias, err := e.SetAlias(ctx, "", "m", "production", 1, "")
	check(t, err)
	split, err := e.SetSplit(ctx, "", "m", []*registryv1.Arm{{Name: "all", Version: 1, Weight: store.WholeSplit}}, "")
	check(t, err)

	err = e.DeleteModel(ctx, "", "m")
	wantReason(t, err, apierr.FailedPrecondition, "model")
	if got, want := apierr.From(err).Metadata["standing"], `alias "production", the split`; got != want {
		t.Errorf("names %q, want %q", got, want)
	}
	check(t, e.DeleteAlias(ctx, "", "m", "production", alias.GetEtag()))
	err = e.DeleteModel(ctx, "", "m")
	wantReason(t, err, apierr.FailedPrecondition, "model")
	if got := apierr.From(err).Metadata["standing"]; got != "the split" {
		t.Errorf("names %q, want the split", got)
	}
	check(t, e.DeleteSplit(ctx, "", "m", split.GetEtag()))
	check(t, e.DeleteModel(ctx, "", "m"))
	_, err = e.GetVersion(ctx, "m", store.VersionKey{Number: 1})
	wantReason(t, err, apierr.ModelNotFound, "model")
}
