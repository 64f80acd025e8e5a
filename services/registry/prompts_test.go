package registry_test

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// A prompt from its first version to its messages, through every method.
func TestPrompts(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	greeting := func(text string) *registryv1.CreatePromptVersionRequest {
		return &registryv1.CreatePromptVersionRequest{Prompt: "greeting", Spec: &registryv1.PromptSpec{
			Messages:  []*registryv1.PromptMessage{{Role: "system", Content: text}},
			Variables: []*registryv1.PromptVariable{{Name: "name", Required: true}},
		}}
	}
	asked := greeting("Greet {{name}}.")
	asked.ValidateOnly = true
	would, err := r.CreatePromptVersion(ctx, asked)
	fatal(t, err)
	_, err = r.GetPrompt(ctx, &registryv1.GetPromptRequest{Prompt: "greeting"})
	wantError(t, err, apierr.NotFound, "prompt")
	first, err := r.CreatePromptVersion(ctx, greeting("Greet {{name}}."))
	fatal(t, err)
	there, err := r.CreatePromptVersion(ctx, asked)
	fatal(t, err)
	if d := first.GetVersion().GetDigest(); would.GetVersion().GetDigest() != d || would.GetVersion().GetNumber() != 0 || there.GetVersion().GetNumber() != 1 {
		t.Errorf("only asked, it would be %v and is %v", would, there)
	}
	second, err := r.CreatePromptVersion(ctx, greeting("Greet {{name}} well."))
	fatal(t, err)
	_, err = r.CreatePromptVersion(ctx, greeting("{{> secret}}"))
	wantError(t, err, apierr.InvalidArgument, "spec.messages[0].content")
	_, err = r.CreatePromptVersion(ctx, greeting("{{#name}}Greet {{name}}."))
	wantError(t, err, apierr.InvalidArgument, "spec.messages[0].content")
	if text := apierr.From(err).Message; !strings.HasPrefix(text, "spec.messages[0].content: is not a template: ") {
		t.Errorf("its text does not name the place: %s", text)
	}
	_, err = r.RenderPrompt(ctx, &registryv1.RenderPromptRequest{Prompt: "greeting"})
	wantError(t, err, apierr.NotFound, "version")
	set, err := r.SetPromptAlias(ctx, &registryv1.SetPromptAliasRequest{Prompt: "greeting", Alias: "production", Version: 2})
	fatal(t, err)
	for version, want := range map[string]string{
		"": "Greet Ada well.", "production": "Greet Ada well.", "v1": "Greet Ada.", first.GetVersion().GetDigest(): "Greet Ada.",
	} {
		said, err := r.RenderPrompt(ctx, &registryv1.RenderPromptRequest{
			Prompt: "greeting", Version: version, Variables: map[string]string{"name": "Ada"},
		})
		fatal(t, err)
		if said.GetMessages()[0].GetContent() != want || said.GetMessages()[0].GetRole() != "system" {
			t.Errorf("version %q says %v, want %q", version, said, want)
		}
	}
	_, err = r.RenderPrompt(ctx, &registryv1.RenderPromptRequest{Prompt: "greeting"})
	wantError(t, err, apierr.InvalidArgument, "variables")
	got, err := r.GetPromptVersion(ctx, &registryv1.GetPromptVersionRequest{Prompt: "greeting", Version: "production"})
	fatal(t, err)
	if got.GetVersion().GetDigest() != second.GetVersion().GetDigest() {
		t.Errorf("got %v", got)
	}
	versions, err := r.ListPromptVersions(ctx, &registryv1.ListPromptVersionsRequest{Prompt: "greeting", PageSize: 1})
	fatal(t, err)
	versions, err = r.ListPromptVersions(ctx, &registryv1.ListPromptVersionsRequest{Prompt: "greeting", PageSize: 1, PageToken: versions.GetNextPageToken()})
	fatal(t, err)
	if len(versions.GetVersions()) != 1 || versions.GetVersions()[0].GetNumber() != 1 || versions.GetNextPageToken() != "" {
		t.Errorf("the second page is %v", versions)
	}
	prompts, err := r.ListPrompts(ctx, &registryv1.ListPromptsRequest{})
	fatal(t, err)
	if len(prompts.GetPrompts()) != 1 || len(prompts.GetPrompts()[0].GetAliases()) != 1 {
		t.Errorf("listed %v", prompts)
	}
	_, err = r.DeletePromptAlias(ctx, &registryv1.DeletePromptAliasRequest{Prompt: "greeting", Alias: "production", Etag: set.GetAlias().GetEtag()})
	fatal(t, err)
	history, err := r.ListPromptAliasHistory(ctx, &registryv1.ListPromptAliasHistoryRequest{Prompt: "greeting", Alias: "production"})
	fatal(t, err)
	if len(history.GetStates()) != 2 || history.GetStates()[0].GetVersion() != 0 {
		t.Errorf("the history is %v", history)
	}
}
