package store_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/archive"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// only has those things of an archive that want says.
func only(all store.Items, want func(archive.Item) bool) store.Items {
	return func(each func(archive.Item) error) error {
		return all(func(item archive.Item) error {
			if !want(item) {
				return nil
			}
			return each(item)
		})
	}
}

// promptsLast has the things of an archive in another order.
func promptsLast(all store.Items) store.Items {
	return func(each func(archive.Item) error) error {
		err := only(all, func(i archive.Item) bool { return i.Prompt == nil })(each)
		if err == nil {
			err = only(all, func(i archive.Item) bool { return i.Prompt != nil })(each)
		}
		return err
	}
}

// Arms bring the prompts that they name with them, whatever stands first, or are
// refused in words.
func (s suite) archivePrompts(t *testing.T) {
	from, ctx := newEnv(t, storetest.SQLite, store.Options{}), t.Context()
	from.everyKind()
	whole, lines := from.archived()
	split, err := from.GetSplit(ctx, "big")
	check(t, err)

	to := newEnv(t, s.databases, store.Options{})
	for model, arms := range map[string]string{"big": `the split of "big": `, "m": `experiment "draft" of "m": `} {
		_, err := to.ImportAll(ctx, "ben", only(items(whole), func(i archive.Item) bool { return i.Model.GetModel().GetName() == model }), fail, false)
		wantReason(t, err, apierr.NotFound, "models")
		if err != nil && !strings.Contains(err.Error(), arms+`there is no prompt "greeting"`) {
			t.Errorf("refused as %v", err)
		}
	}
	if _, nothing := to.archived(); len(nothing) != 0 || to.revision() != 0 {
		t.Errorf("what was refused left %v", nothing)
	}
	_, err = to.ImportAll(ctx, "ben", promptsLast(items(whole)), fail, false)
	check(t, err)
	if _, again := to.archived(); !slices.Equal(again, lines) {
		t.Error("with the prompts last another registry came out")
	}

	// Archives of models alone carry the prompts of arms to where these are there.
	to = newEnv(t, s.databases, store.Options{})
	models := from.everything()[:1]
	_, err = to.Import(ctx, "ben", models, fail, false)
	wantReason(t, err, apierr.NotFound, "models")
	to.promptVersion("greeting", 1)
	to.promptVersion("greeting", 3)
	to.promptAlias("greeting", "production", 2)
	_, err = to.Import(ctx, "ben", models, fail, false)
	check(t, err)
	got, err := to.GetSplit(ctx, "big")
	check(t, err)
	if !slices.EqualFunc(got.GetArms(), split.GetArms(), func(a, b *registryv1.Arm) bool { return proto.Equal(a, b) }) {
		t.Errorf("the arms are %v", got.GetArms())
	}
	outcomes, err := to.Import(ctx, "ben", models, fail, false)
	if err != nil || outcomes["big"] != unchanged {
		t.Errorf("again: %v, %v", outcomes, err)
	}
	// By its number a prompt must be what it was: the archive's 2 stays away.
	_, err = to.ImportAll(ctx, "ben", items(whole), skip, false)
	wantReason(t, err, apierr.InvalidArgument, "models")
	if err != nil && !strings.Contains(err.Error(), `of "m": prompt.digest is not the digest of version 2`) {
		t.Errorf("refused as %v", err)
	}
}

// A prompt is replaced under the arms that name it, if they still have what they name.
func (s suite) archiveReplacesPrompts(t *testing.T) {
	ctx, opts := t.Context(), store.Options{MaxModelBytes: 3000}
	from := newEnv(t, storetest.SQLite, opts)
	arm := func(ref *registryv1.PromptReference) []*registryv1.Arm {
		return []*registryv1.Arm{{Name: "a", Version: 1, Weight: store.WholeSplit, Prompt: ref}}
	}
	from.model("m")
	from.version("m", 1)
	// Version 1 is sent for its arm's sake only, when it comes.
	for seed := 1; seed <= 5; seed++ {
		text := strings.Repeat("x", 900+seed)
		_, err := from.CreatePromptVersion(ctx, "", &registryv1.PromptVersion{
			Prompt: "p", Digest: text[:seed], Spec: &registryv1.PromptSpec{Messages: []*registryv1.PromptMessage{{Role: "user", Content: text}}},
		})
		check(t, err)
		if seed == 1 {
			_, err = from.SetSplit(ctx, "", "m", arm(promptRef("p", 1, "")), "")
			check(t, err)
		}
	}
	whole, lines := from.archived()
	to := newEnv(t, s.databases, opts)
	_, err := to.ImportAll(ctx, "ben", items(whole), fail, false)
	check(t, err)
	if _, again := to.archived(); !slices.Equal(again, lines) {
		t.Error("what was imported is not what was exported")
	}
	page, err := to.PromptPage(ctx, "")
	check(t, err)
	if first := page.Prompts[0].GetVersions()[0]; first.GetNumber() != 1 || page.Prompts[0].GetOmittedVersions() == 0 {
		t.Errorf("watchers get %v", page.Prompts[0])
	}

	to.promptVersion("p", 6)
	got, err := to.ImportAll(ctx, "ben", items(whole), replace, false)
	check(t, err)
	if got.GetPrompts()["p"] != replaced || got.GetModels()["m"] != unchanged {
		t.Errorf("replace: %v", got)
	}
	sp, err := to.GetSplit(ctx, "m")
	check(t, err)
	if ref := sp.GetArms()[0].GetPrompt(); ref.GetVersion() != 1 || ref.GetDigest() != "x" {
		t.Errorf("the arm names %v", ref)
	}

	to.model("other")
	to.version("other", 1)
	for _, ref := range []*registryv1.PromptReference{promptRef("p", 6, ""), promptRef("p", 0, "production")} {
		to.promptVersion("p", 6)
		to.promptAlias("p", "production", 6)
		_, err = to.SetSplit(ctx, "", "other", arm(ref), store.AnyEtag)
		check(t, err)
		before := to.revision()
		_, err = to.ImportAll(ctx, "ben", items(whole), replace, false)
		wantReason(t, err, apierr.FailedPrecondition, "models")
		if err != nil && !strings.Contains(err.Error(), `is needed by the split of "other"`) || to.revision() != before {
			t.Errorf("refused as %v", err)
		}
	}
	check(t, to.DeleteSplit(ctx, "", "other", store.AnyEtag))
	_, err = to.ImportAll(ctx, "ben", items(whole), replace, false)
	check(t, err)
}
