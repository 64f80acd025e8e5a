package store_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/registry/internal/store"
)

func (s suite) aliases(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	second := e.version("m", 2)

	e.clock.Advance(time.Second)
	alias, err := e.SetAlias(ctx, "", "m", "production", 2, "")
	check(t, err)
	if alias.GetModel() != "m" || alias.GetName() != "production" || alias.GetVersion() != 2 ||
		alias.GetDigest() != second.GetDigest() || !alias.GetUpdateTime().AsTime().Equal(start.Add(time.Second)) {
		t.Errorf("set %v", alias)
	}
	got, err := e.GetAlias(ctx, "m", "production")
	check(t, err)
	if !proto.Equal(got, alias) {
		t.Errorf("got %v, want %v", got, alias)
	}
	m, err := e.GetModel(ctx, "m")
	check(t, err)
	if !m.GetUpdateTime().AsTime().Equal(start.Add(time.Second)) {
		t.Errorf("the model's update time is %v", m.GetUpdateTime().AsTime())
	}

	_, err = e.SetAlias(ctx, "", "m", "canary", 3, "")
	wantReason(t, err, apierr.NotFound, "version")
	_, err = e.SetAlias(ctx, "", "absent", "canary", 1, "")
	wantReason(t, err, apierr.ModelNotFound, "model")
	_, err = e.GetAlias(ctx, "m", "canary")
	wantReason(t, err, apierr.NotFound, "alias")
	_, err = e.GetAlias(ctx, "absent", "canary")
	wantReason(t, err, apierr.ModelNotFound, "model")
	wantReason(t, e.DeleteAlias(ctx, "", "m", "canary", "*"), apierr.NotFound, "alias")
	_, err = e.ListAliases(ctx, "absent", "", 10)
	wantReason(t, err, apierr.ModelNotFound, "model")

	before := e.revision()
	for _, name := range []string{"v3", "v12", "v0", "v007", "sha256", "sha256-0a", "sha2560"} {
		_, err := e.SetAlias(ctx, "", "m", name, 1, "")
		wantReason(t, err, apierr.InvalidArgument, "alias")
	}
	if e.revision() != before {
		t.Error("a refused alias used up a revision")
	}
	for _, name := range []string{"v", "v3-beta", "v1.2", "vision", "sha1"} {
		a, err := e.SetAlias(ctx, "", "m", name, 1, "")
		check(t, err)
		check(t, e.DeleteAlias(ctx, "", "m", name, a.GetEtag()))
	}

	for _, name := range []string{"canary", "staging", "a"} {
		_, err := e.SetAlias(ctx, "", "m", name, 1, "")
		check(t, err)
	}
	var names []string
	for after := ""; len(names) < 4; after = names[len(names)-1] {
		page, err := e.ListAliases(ctx, "m", after, 2)
		check(t, err)
		for _, a := range page {
			names = append(names, a.GetName())
		}
	}
	if want := []string{"a", "canary", "production", "staging"}; !slices.Equal(names, want) {
		t.Errorf("listed %v, want %v", names, want)
	}
}

func (s suite) aliasEtags(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	for seed := range 3 {
		e.version("m", seed)
	}
	first, err := e.SetAlias(ctx, "", "m", "a", 1, "")
	check(t, err)

	conflict := func(err error, present string) {
		t.Helper()
		wantReason(t, err, apierr.Conflict, "etag")
		if got, ok := apierr.From(err).Metadata["etag"]; !ok || got != present {
			t.Errorf("the error gives the etag %q, want %q", got, present)
		}
	}
	_, err = e.SetAlias(ctx, "", "m", "a", 2, "")
	conflict(err, first.GetEtag())
	_, err = e.SetAlias(ctx, "", "m", "a", 2, "r999")
	conflict(err, first.GetEtag())

	before := e.revision()
	same, err := e.SetAlias(ctx, "", "m", "a", 1, first.GetEtag())
	check(t, err)
	if !proto.Equal(same, first) || e.revision() != before {
		t.Errorf("an alias that stays became %v at revision %d, want %v at %d", same, e.revision(), first, before)
	}

	second, err := e.SetAlias(ctx, "", "m", "a", 2, first.GetEtag())
	check(t, err)
	if second.GetVersion() != 2 || second.GetEtag() == first.GetEtag() {
		t.Errorf("moved from %v to %v", first, second)
	}
	_, err = e.SetAlias(ctx, "", "m", "a", 3, first.GetEtag())
	conflict(err, second.GetEtag())
	conflict(e.DeleteAlias(ctx, "", "m", "a", first.GetEtag()), second.GetEtag())

	third, err := e.SetAlias(ctx, "", "m", "a", 3, store.AnyEtag)
	check(t, err)
	if third.GetVersion() != 3 || third.GetEtag() == second.GetEtag() {
		t.Errorf("with any etag: %v", third)
	}
	check(t, e.DeleteAlias(ctx, "", "m", "a", third.GetEtag()))
	_, err = e.SetAlias(ctx, "", "m", "a", 1, third.GetEtag())
	conflict(err, "")

	back, err := e.SetAlias(ctx, "", "m", "a", 1, "")
	check(t, err)
	if back.GetEtag() == first.GetEtag() {
		t.Errorf("an alias made again has the etag %q that it once had", back.GetEtag())
	}
}

// Of writers that read the same etag, one wins, on whatever replica.
func (s suite) concurrentAliases(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	replicas := []*store.Store{e.Store, e.open()}
	e.model("m")
	const writers = 8
	for seed := range writers + 1 {
		e.version("m", seed)
	}
	alias, err := e.SetAlias(t.Context(), "", "m", "a", writers+1, "")
	check(t, err)
	var won atomic.Int32
	together(writers, func(w int) {
		_, err := replicas[w%2].SetAlias(t.Context(), "", "m", "a", int32(w+1), alias.GetEtag())
		switch apierr.ReasonOf(err) {
		case "":
			won.Add(1)
		case apierr.Conflict:
		default:
			t.Errorf("writer %d: %v", w, err)
		}
	})
	if won.Load() != 1 {
		t.Errorf("%d writers won with one etag", won.Load())
	}
}
