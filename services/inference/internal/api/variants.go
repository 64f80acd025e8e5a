package api

import (
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
)

// baseVariant is the name of a version's own weights among its variants.
const baseVariant = "base"

// sourceOf returns the variant of a version that has the name; the version's own
// weights for an empty one.
func sourceOf(snapshot *catalog.Snapshot, v *catalog.Version, name string) (source, error) {
	if name == "" || name == baseVariant {
		return source{digest: v.Digest, name: v.Name, spec: v.Spec}, nil
	}
	names := []string{baseVariant}
	for _, variant := range variantsOf(snapshot, v) {
		if variant.GetName() == name {
			return source{digest: variant.GetDigest(), name: v.Name + " " + name, spec: variant.GetSpec()}, nil
		}
		names = append(names, variant.GetName())
	}
	return source{}, apierr.New(apierr.NotFound, "%s has no variant %q; there are: %s", v.Name, name, strings.Join(names, ", ")).
		WithField("source").WithMetadata("model", v.Name)
}

// variantsOf are a version's variants as the registry tells them.
func variantsOf(snapshot *catalog.Snapshot, v *catalog.Version) []*registryv1.Variant {
	m, ok := snapshot.Model(v.Model)
	if !ok {
		return nil
	}
	for _, state := range m.State.GetVersions() {
		if state.GetNumber() == v.Number {
			return state.GetVariants()
		}
	}
	return nil
}
