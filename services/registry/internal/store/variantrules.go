package store

import (
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// checkVariant returns what is wrong with a variant by itself.
func checkVariant(v *registryv1.Variant) error {
	if !names.MatchString(v.GetName()) {
		return apierr.Invalid("variant", "a variant's name is made of lower-case letters, digits, '.', '_' and '-'")
	}
	if v.GetName() == Base {
		return apierr.Invalid("variant", "%q is what the version's own weights are called", Base)
	}
	if weightBytes(v.GetSpec()) < 0 {
		return apierr.Invalid("spec.artifacts", "the sizes add up to more than 64 bits hold")
	}
	return checkQuality(v.GetQuality())
}

// weightBytes returns what the weights take on disk; below 0 when their sizes do
// not add up in 64 bits.
func weightBytes(spec *commonv1.ModelSpec) int64 {
	var sum int64
	for _, a := range spec.GetArtifacts() {
		if role := a.GetRole(); role != "" && role != "weights" {
			continue
		}
		if sum += a.GetSizeBytes(); sum < 0 {
			return -1
		}
	}
	return sum
}

// checkForm lists where a variant would not answer in the version's place: for
// another task, to fewer tokens, with other vectors, or with other promises.
// The engine and what it needs may differ.
func checkForm(version, variant *commonv1.ModelSpec) error {
	var bad []apierr.Violation
	same := func(field string, want, got any) {
		if want != got {
			bad = append(bad, apierr.Violation{
				Field: "spec." + field, Description: fmt.Sprintf("must be that of the version, which is %v", want),
			})
		}
	}
	same("task", version.GetTask(), variant.GetTask())
	same("context_length", version.GetContextLength(), variant.GetContextLength())
	same("embedding_dimensions", version.GetEmbeddingDimensions(), variant.GetEmbeddingDimensions())
	same("continuation", version.GetContinuation(), variant.GetContinuation())
	return invalid(bad)
}

// checkNew refuses content that the version has already, under another name.
func checkNew(version *registryv1.Version, digest string) error {
	name := ""
	if version.GetDigest() == digest {
		name = Base
	}
	for _, v := range version.GetVariants() {
		if v.GetDigest() == digest {
			name = v.GetName()
		}
	}
	if name == "" {
		return nil
	}
	return apierr.New(apierr.AlreadyExists, "version %d of %q has this content already, as %q",
		version.GetNumber(), version.GetModel(), name).WithField("spec").WithMetadata(metaVariant, name)
}
