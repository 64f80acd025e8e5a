package registry_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

func TestChainIsInOrder(t *testing.T) {
	r := start(t, nil)
	want := []string{
		grpcserver.NameRecover, grpcserver.NameRequestID, grpcserver.NameTelemetry, grpcserver.NameErrors,
		identity.Name, grpcserver.NameValidate, "tenants",
	}
	if got := r.service.Interceptors().Names(); !slices.Equal(got, want) {
		t.Errorf("the chain is %v, want %v", got, want)
	}
}

// One model from its creation to its deletion, through every method.
func TestLifeOfAModel(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	created, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m", DisplayName: "M", Labels: map[string]string{"a": "b"}})
	fatal(t, err)
	got, err := r.GetModel(ctx, &registryv1.GetModelRequest{Model: "m"})
	fatal(t, err)
	if !proto.Equal(got.GetModel(), created.GetModel()) || got.GetModel().GetLabels()["a"] != "b" {
		t.Errorf("got %v, created %v", got, created)
	}
	changed, err := r.UpdateModel(ctx, &registryv1.UpdateModelRequest{Model: "m", Labels: map[string]string{"c": "d"}, RemoveLabels: []string{"a"}})
	fatal(t, err)
	if l := changed.GetModel().GetLabels(); len(l) != 1 || l["c"] != "d" || changed.GetModel().GetDisplayName() != "M" {
		t.Errorf("changed to %v", changed)
	}
	_, err = r.UpdateModel(ctx, &registryv1.UpdateModelRequest{Model: "m", Labels: map[string]string{"a": "b"}, RemoveLabels: []string{"a"}})
	if apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("a label that is set and removed at once: %v", err)
	}
	v, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1"), Description: "first\nline"})
	fatal(t, err)
	for _, ref := range []string{"1", "v1", v.GetVersion().GetDigest()} {
		got, err := r.GetVersion(ctx, &registryv1.GetVersionRequest{Model: "m", Version: ref})
		fatal(t, err)
		if !proto.Equal(got.GetVersion(), v.GetVersion()) {
			t.Errorf("%s: got %v, want %v", ref, got, v)
		}
	}
	alias, err := r.SetAlias(ctx, &registryv1.SetAliasRequest{Model: "m", Alias: "production", Version: 1})
	fatal(t, err)
	gotAlias, err := r.GetAlias(ctx, &registryv1.GetAliasRequest{Model: "m", Alias: "production"})
	fatal(t, err)
	if !proto.Equal(gotAlias.GetAlias(), alias.GetAlias()) {
		t.Errorf("got %v, want %v", gotAlias, alias)
	}
	split, err := r.SetSplit(ctx, &registryv1.SetSplitRequest{Model: "m", Arms: []*registryv1.Arm{{Name: "a", Version: 1, Weight: 1_000_000}}})
	fatal(t, err)
	gotSplit, err := r.GetSplit(ctx, &registryv1.GetSplitRequest{Model: "m"})
	fatal(t, err)
	if !proto.Equal(gotSplit.GetSplit(), split.GetSplit()) {
		t.Errorf("got %v, want %v", gotSplit, split)
	}
	_, err = r.DeleteModel(ctx, &registryv1.DeleteModelRequest{Model: "m"})
	wantError(t, err, apierr.FailedPrecondition, "model")
	_, err = r.DeleteAlias(ctx, &registryv1.DeleteAliasRequest{Model: "m", Alias: "production", Etag: alias.GetAlias().GetEtag()})
	fatal(t, err)
	_, err = r.DeleteSplit(ctx, &registryv1.DeleteSplitRequest{Model: "m", Etag: split.GetSplit().GetEtag()})
	fatal(t, err)
	_, err = r.DeleteModel(ctx, &registryv1.DeleteModelRequest{Model: "m"})
	fatal(t, err)
	_, err = r.GetModel(ctx, &registryv1.GetModelRequest{Model: "m"})
	wantError(t, err, apierr.ModelNotFound, "model")
}

func TestConflictGivesThePresentEtag(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	_, err = r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1")})
	fatal(t, err)
	alias, err := r.SetAlias(ctx, &registryv1.SetAliasRequest{Model: "m", Alias: "a", Version: 1})
	fatal(t, err)
	_, err = r.SetAlias(ctx, &registryv1.SetAliasRequest{Model: "m", Alias: "a", Version: 1, Etag: "stale"})
	wantError(t, err, apierr.Conflict, "etag")
	if got := apierr.From(err).Metadata["etag"]; got != alias.GetAlias().GetEtag() {
		t.Errorf("the error gives %q, want %q", got, alias.GetAlias().GetEtag())
	}
}

func TestBadRequests(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	version := func(change func(*commonv1.ModelSpec)) func() error {
		return func() error {
			s := spec("1")
			s.Artifacts = []*commonv1.Artifact{{Uri: "file:///a", Sha256: strings.Repeat("0", 64)}}
			change(s)
			_, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: s})
			return err
		}
	}
	uri := func(uri string) func() error {
		return version(func(s *commonv1.ModelSpec) { s.Artifacts[0].Uri = uri })
	}
	tests := map[string]struct {
		call  func() error
		field string
	}{
		"a model's name": {func() error {
			_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "No Good"})
			return err
		}, "name"},
		"control characters": {func() error {
			_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "n", DisplayName: "bell\a"})
			return err
		}, "display_name"},
		"a NUL in a description": {func() error {
			_, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1"), Description: "\x00"})
			return err
		}, "description"},
		"no specification": {func() error {
			_, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m"})
			return err
		}, "spec"},
		"a task that is not said":  {version(func(s *commonv1.ModelSpec) { s.Task = 0 }), "spec.task"},
		"a checksum":               {version(func(s *commonv1.ModelSpec) { s.Artifacts[0].Sha256 = "abc" }), "spec.artifacts[0].sha256"},
		"a NUL in a parameter":     {version(func(s *commonv1.ModelSpec) { s.Parameters["seed"] = "\x00" }), `spec.parameters["seed"]`},
		"a path without a scheme":  {uri("/models/a.gguf"), "spec.artifacts[0].uri"},
		"a relative file":          {uri("file:models/a.gguf"), "spec.artifacts[0].uri"},
		"a file elsewhere":         {uri("file://host/a.gguf"), "spec.artifacts[0].uri"},
		"credentials in a URI":     {uri("https://ana:hunter2@example.org/a"), "spec.artifacts[0].uri"},
		"credentials in a query":   {uri("https://example.org/a?X-Amz-Signature=hunter2"), "spec.artifacts[0].uri"},
		"a bucket without a key":   {uri("s3://models"), "spec.artifacts[0].uri"},
		"a query in a bucket":      {uri("s3://models/a?versionId=1"), "spec.artifacts[0].uri"},
		"a hub without a path":     {uri("hf://org/"), "spec.artifacts[0].uri"},
		"a registry with a folder": {uri("oci://host/a/"), "spec.artifacts[0].uri"},
		"an artifact by no hash":   {uri("registry://sha256/abc"), "spec.artifacts[0].uri"},
		"an artifact in capitals":  {uri("REGISTRY://sha256/" + strings.Repeat("0", 64)), "spec.artifacts[0].uri"},
		"an artifact, encoded":     {uri("registry://sha256/%30" + strings.Repeat("0", 63)), "spec.artifacts[0].uri"},
		"a URI that is none":       {uri("https://exa mple/%zz"), "spec.artifacts[0].uri"},
		"unknown fields of a spec": {version(func(s *commonv1.ModelSpec) { s.ProtoReflect().SetUnknown([]byte{0x98, 0x06, 0x01}) }), "spec"},
		"a version's name": {func() error {
			_, err := r.GetVersion(ctx, &registryv1.GetVersionRequest{Model: "m", Version: "latest"})
			return err
		}, "version"},
		"an alias's name": {func() error {
			_, err := r.SetAlias(ctx, &registryv1.SetAliasRequest{Model: "m", Alias: "3", Version: 1})
			return err
		}, "alias"},
		"no etag to delete by": {func() error {
			_, err := r.DeleteSplit(ctx, &registryv1.DeleteSplitRequest{Model: "m"})
			return err
		}, "etag"},
		"weights": {func() error {
			_, err := r.SetSplit(ctx, &registryv1.SetSplitRequest{Model: "m", Arms: []*registryv1.Arm{{Name: "a", Version: 1, Weight: 7}}})
			return err
		}, "arms"},
		"a page's size": {func() error {
			_, err := r.ListModels(ctx, &registryv1.ListModelsRequest{PageSize: 1001})
			return err
		}, "page_size"},
		"a page token": {func() error {
			_, err := r.ListModels(ctx, &registryv1.ListModelsRequest{PageToken: "AAAA"})
			return err
		}, "page_token"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.call()
			wantError(t, err, apierr.InvalidArgument, tt.field)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a password: %v", err)
			}
		})
	}
}

// The places that workers fetch from are taken.
func TestRemoteArtifacts(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	s := spec("1")
	for _, uri := range []string{
		"https://models.example.org/a.gguf?download=true", "s3://models/llm/a.gguf", "oci://registry.example.org/llm/tiny:v1#a.gguf",
		"oci://localhost:5000/tiny@sha256:" + strings.Repeat("0", 64), "hf://org/name@v1/a.gguf",
	} {
		s.Artifacts = append(s.Artifacts, &commonv1.Artifact{Uri: uri, Sha256: strings.Repeat("0", 64), Name: "models/a.gguf"})
	}
	_, err = r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: s})
	fatal(t, err)
}

func TestPaging(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	const n = 7
	for _, model := range []string{"m", "other"} {
		_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: model})
		fatal(t, err)
	}
	for i := range n {
		_, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec(strconv.Itoa(i))})
		fatal(t, err)
		_, err = r.SetAlias(ctx, &registryv1.SetAliasRequest{Model: "m", Alias: "a" + strconv.Itoa(i), Version: 1})
		fatal(t, err)
	}
	var numbers []int32
	var token string
	for pages := 1; ; pages++ {
		resp, err := r.ListVersions(ctx, &registryv1.ListVersionsRequest{Model: "m", PageSize: 3, PageToken: token})
		fatal(t, err)
		for _, v := range resp.GetVersions() {
			numbers = append(numbers, v.GetNumber())
		}
		if resp.GetNextPageToken() == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
		token = resp.GetNextPageToken()
	}
	if want := []int32{7, 6, 5, 4, 3, 2, 1}; !slices.Equal(numbers, want) {
		t.Errorf("listed %v, want %v", numbers, want)
	}
	// A token belongs to its list.
	_, err := r.ListVersions(ctx, &registryv1.ListVersionsRequest{Model: "other", PageToken: token})
	wantError(t, err, apierr.InvalidArgument, "page_token")
	_, err = r.ListAliases(ctx, &registryv1.ListAliasesRequest{Model: "m", PageToken: token})
	wantError(t, err, apierr.InvalidArgument, "page_token")

	// A full last page has no token that leads to an empty one.
	resp, err := r.ListAliases(ctx, &registryv1.ListAliasesRequest{Model: "m", PageSize: n})
	fatal(t, err)
	if len(resp.GetAliases()) != n || resp.GetNextPageToken() != "" {
		t.Errorf("%d aliases and the token %q", len(resp.GetAliases()), resp.GetNextPageToken())
	}
	models, err := r.ListModels(ctx, &registryv1.ListModelsRequest{PageSize: 1})
	fatal(t, err)
	if len(models.GetModels()) != 1 || models.GetNextPageToken() == "" {
		t.Errorf("got %v", models)
	}
	models, err = r.ListModels(ctx, &registryv1.ListModelsRequest{PageSize: 1, PageToken: models.GetNextPageToken()})
	fatal(t, err)
	if len(models.GetModels()) != 1 || models.GetModels()[0].GetName() != "other" || models.GetNextPageToken() != "" {
		t.Errorf("got %v", models)
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
