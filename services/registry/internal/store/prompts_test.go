package store_test

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

func (e *env) promptVersion(name string, seed int) *registryv1.PromptVersion {
	e.t.Helper()
	text := fmt.Sprintf("say %d to {{a}}", seed)
	v, err := e.CreatePromptVersion(e.t.Context(), "ada", &registryv1.PromptVersion{
		Prompt: name, Digest: fmt.Sprintf("sha256:%d", seed), Description: text,
		Spec: &registryv1.PromptSpec{Messages: []*registryv1.PromptMessage{{Role: "user", Content: text}}},
	})
	return must(e.t, v, err)
}

// Prompts have versions and aliases as models have, and are watched beside them.
func (s suite) prompts(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("p")
	first, second := e.promptVersion("p", 1), e.promptVersion("p", 2)
	at := e.revision()
	if again := e.promptVersion("p", 1); !proto.Equal(again, first) || e.revision() != at || second.GetNumber() != 2 {
		t.Errorf("the same again is %v at %d, want %v at %d", again, e.revision(), first, at)
	}
	a, err := e.ChangePromptAlias(ctx, "ada", store.AliasWish{Model: "p", Alias: "production", Version: 1, Reason: "why"})
	check(t, err)
	if a.GetDigest() != first.GetDigest() || a.GetVersion() != 1 {
		t.Errorf("set %v", a)
	}
	_, err = e.ChangePromptAlias(ctx, "ada", store.AliasWish{Model: "p", Alias: "production", Version: 2})
	wantReason(t, err, apierr.Conflict, "etag")
	if got := apierr.From(err).Metadata["etag"]; got != a.GetEtag() {
		t.Errorf("the conflict gives %q, want %q", got, a.GetEtag())
	}
	_, err = e.ChangePromptAlias(ctx, "ada", store.AliasWish{Model: "p", Alias: "production", Version: 9, Etag: "*"})
	wantReason(t, err, apierr.NotFound, "version")
	_, err = e.ChangePromptAlias(ctx, "ada", store.AliasWish{Model: "p", Alias: "v3", Version: 1})
	wantReason(t, err, apierr.InvalidArgument, "alias")
	moved, err := e.ChangePromptAlias(ctx, "bob", store.AliasWish{Model: "p", Alias: "production", Version: 2, Etag: a.GetEtag()})
	check(t, err)
	for _, tt := range []struct {
		key   store.VersionKey
		alias string
	}{{store.VersionKey{Number: 2}, ""}, {store.VersionKey{Digest: second.GetDigest()}, ""}, {store.VersionKey{}, "production"}} {
		if got, err := e.GetPromptVersion(ctx, "p", tt.key, tt.alias); err != nil || !proto.Equal(got, second) {
			t.Errorf("%+v: %v, %v", tt, got, err)
		}
	}
	_, err = e.GetPromptVersion(ctx, "p", store.VersionKey{}, "canary")
	wantReason(t, err, apierr.NotFound, "version")
	list, err := e.ListPrompts(ctx, "", 10)
	check(t, err)
	if len(list) != 1 || list[0].GetVersionCount() != 2 || !proto.Equal(list[0].GetAliases()[0], moved) {
		t.Errorf("listed %v", list)
	}
	versions, err := e.ListPromptVersions(ctx, "p", 0, 10)
	check(t, err)
	if len(versions) != 2 || versions[0].GetNumber() != 2 || versions[0].GetSpec() != nil {
		t.Errorf("versions %v", versions)
	}
	_, err = e.ListPromptVersions(ctx, "absent", 0, 10)
	wantReason(t, err, apierr.NotFound, "prompt")
	_, err = e.ChangePromptAlias(ctx, "bob", store.AliasWish{Model: "p", Alias: "production", Etag: moved.GetEtag()})
	check(t, err)
	_, err = e.ChangePromptAlias(ctx, "bob", store.AliasWish{Model: "p", Alias: "production", Etag: "*"})
	wantReason(t, err, apierr.NotFound, "alias")
	history, err := e.PromptAliasHistory(ctx, "p", "production", 0, 10)
	check(t, err)
	if len(history) != 3 || history[0].GetVersion() != 0 || history[1].GetActor() != "bob" || history[2].GetReason() != "why" || history[2].GetModel() != "p" {
		t.Errorf("history %v", history)
	}
	if own, err := e.AliasHistory(ctx, "p", "production", 0, 10); err != nil || len(own) != 0 {
		t.Errorf("the model of that name has the history %v, %v", own, err)
	}

	// Prompts are told of beside the models, and both bring to the newest revision.
	batch, err := e.Changes(ctx, store.Position{})
	check(t, err)
	if len(batch.Changes) != 1 || batch.Changes[0].Model != "p" || batch.To.Revision != e.revision() || batch.More {
		t.Errorf("watchers get %+v at revision %d", batch, e.revision())
	}
	if len(batch.Prompts) != 1 || len(batch.Prompts[0].GetVersions()) != 2 || batch.Prompts[0].GetVersions()[0].GetSpec() == nil {
		t.Errorf("watchers get the prompts %v", batch.Prompts)
	}
	if batch, err = e.Changes(ctx, store.Position{Revision: 1}); err != nil || len(batch.Changes) != 0 || len(batch.Prompts) != 1 || batch.To.Revision != e.revision() {
		t.Errorf("watchers get %+v, %v", batch, err)
	}
}
