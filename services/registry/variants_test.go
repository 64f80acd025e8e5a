package registry_test

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// One variant from its creation to its deletion, through every method and as a
// watcher sees it.
func TestLifeOfAVariant(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	version, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1")})
	fatal(t, err)
	digest := version.GetVersion().GetDigest()
	watcher := watch(t, r, 2)

	form := spec("1")
	form.Engine = "llama-server"
	form.Artifacts = []*commonv1.Artifact{{Uri: "file:///q4.gguf", Sha256: strings.Repeat("0", 64), SizeBytes: 77}}
	made, err := r.CreateVariant(ctx, &registryv1.CreateVariantRequest{
		Model: "m", Version: digest, Variant: "q4_k_m", Spec: form, Description: "small\nand fast",
		Quality: &registryv1.Quality{Perplexity: 22, SourcePerplexity: 20, Source: "base", Tokens: 1000, Window: 512},
	})
	fatal(t, err)
	v := made.GetVariant()
	if v.GetVersion() != 1 || v.GetSizeBytes() != 77 || v.GetQuality().GetSource() != "" || math.Abs(v.GetQuality().GetLoss()-0.1) > 1e-12 {
		t.Errorf("made %v", v)
	}
	if again, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: form}); err != nil || again.GetVersion().GetDigest() != v.GetDigest() {
		t.Errorf("the same content as a version: %v, %v; want the digest %s", again, err, v.GetDigest())
	}
	for _, ref := range []string{"1", "v1", digest} {
		got, err := r.GetVariant(ctx, &registryv1.GetVariantRequest{Model: "m", Version: ref, Variant: "q4_k_m"})
		fatal(t, err)
		list, err := r.ListVariants(ctx, &registryv1.ListVariantsRequest{Model: "m", Version: ref})
		fatal(t, err)
		whole, err := r.GetVersion(ctx, &registryv1.GetVersionRequest{Model: "m", Version: ref})
		fatal(t, err)
		if len(list.GetVariants()) != 1 || len(whole.GetVersion().GetVariants()) != 1 || !proto.Equal(got.GetVariant(), v) ||
			!proto.Equal(list.GetVariants()[0], v) || !proto.Equal(whole.GetVersion().GetVariants()[0], v) {
			t.Errorf("%s: got %v, %v and %v, want %v", ref, got, list, whole, v)
		}
		if whole.GetVersion().GetDigest() != digest {
			t.Errorf("the variant changed the version's digest to %s", whole.GetVersion().GetDigest())
		}
	}
	if m := next(t, watcher); len(m.GetChanged().GetVersions()[0].GetVariants()) != 1 {
		t.Errorf("the watcher is told %v", m)
	}
	_, err = r.DeleteVariant(ctx, &registryv1.DeleteVariantRequest{Model: "m", Version: "v1", Variant: "q4_k_m"})
	fatal(t, err)
	_, err = r.GetVariant(ctx, &registryv1.GetVariantRequest{Model: "m", Version: "v1", Variant: "q4_k_m"})
	wantError(t, err, apierr.NotFound, "variant")
}

func TestBadVariants(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	_, err = r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1")})
	fatal(t, err)
	quality := func(q *registryv1.Quality) func(*registryv1.CreateVariantRequest) {
		return func(req *registryv1.CreateVariantRequest) { req.Quality = q }
	}
	tests := map[string]struct {
		change func(*registryv1.CreateVariantRequest)
		reason apierr.Reason
		field  string
	}{
		"base":             {func(req *registryv1.CreateVariantRequest) { req.Variant = "base" }, apierr.InvalidArgument, "variant"},
		"a name":           {func(req *registryv1.CreateVariantRequest) { req.Variant = "Q4" }, apierr.InvalidArgument, "variant"},
		"a version":        {func(req *registryv1.CreateVariantRequest) { req.Version = "latest" }, apierr.InvalidArgument, "version"},
		"no specification": {func(req *registryv1.CreateVariantRequest) { req.Spec = nil }, apierr.InvalidArgument, "spec"},
		"credentials":      {func(req *registryv1.CreateVariantRequest) { req.Spec.Artifacts[0].Uri = "https://ana:hunter2@host/a" }, apierr.InvalidArgument, "spec.artifacts[0].uri"},
		"unknown fields": {func(req *registryv1.CreateVariantRequest) {
			req.Spec.ProtoReflect().SetUnknown([]byte{0x98, 0x06, 0x01})
		}, apierr.InvalidArgument, "spec"},
		"control characters":   {func(req *registryv1.CreateVariantRequest) { req.Description = "\a" }, apierr.InvalidArgument, "description"},
		"another length":       {func(req *registryv1.CreateVariantRequest) { req.Spec.ContextLength = 7 }, apierr.InvalidArgument, "spec.context_length"},
		"the version itself":   {func(req *registryv1.CreateVariantRequest) { req.Spec = spec("1") }, apierr.AlreadyExists, "spec"},
		"no number":            {quality(&registryv1.Quality{Perplexity: math.NaN(), SourcePerplexity: 1}), apierr.InvalidArgument, "quality.perplexity"},
		"no finite number":     {quality(&registryv1.Quality{Loss: math.Inf(1)}), apierr.InvalidArgument, "quality.loss"},
		"one perplexity alone": {quality(&registryv1.Quality{Perplexity: 2}), apierr.InvalidArgument, "quality.source_perplexity"},
		"a source":             {quality(&registryv1.Quality{Source: "f16"}), apierr.NotFound, "quality.source"},
		"a model":              {func(req *registryv1.CreateVariantRequest) { req.Model = "absent" }, apierr.ModelNotFound, "model"},
		"no such version":      {func(req *registryv1.CreateVariantRequest) { req.Version = "9" }, apierr.NotFound, "version"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			form := spec("2")
			form.Artifacts = []*commonv1.Artifact{{Uri: "file:///a", Sha256: strings.Repeat("0", 64)}}
			req := &registryv1.CreateVariantRequest{Model: "m", Version: "1", Variant: "q4", Spec: form}
			tt.change(req)
			_, err := r.CreateVariant(ctx, req)
			wantError(t, err, tt.reason, tt.field)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a password: %v", err)
			}
		})
	}
	_, err = r.ListVariants(ctx, &registryv1.ListVariantsRequest{Model: "m", Version: "2"})
	wantError(t, err, apierr.NotFound, "version")
	_, err = r.DeleteVariant(ctx, &registryv1.DeleteVariantRequest{Model: "m", Version: "1", Variant: "q4"})
	wantError(t, err, apierr.NotFound, "variant")
}
