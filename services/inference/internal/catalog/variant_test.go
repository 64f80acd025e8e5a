package catalog_test

import (
	"slices"
	"testing"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

func TestVariantsAreBestFirst(t *testing.T) {
	t.Parallel()
	s := catalog.NewSnapshot(1, []*registryv1.ModelState{fakes.Model("m", 1, fakes.Sized(100),
		fakes.Variant(1, "q4", 30, 0.06), fakes.Variant(1, "small", 10, -1), fakes.Variant(1, "q8", 60, 0.01),
		fakes.Variant(1, "lucky", 20, 0), fakes.Variant(1, "large", 200, -1), func(m *registryv1.ModelState) {
			fakes.Variant(1, "f32", 400, 0)(m)
			m.Versions[0].Variants[5].Quality.Loss = -0.002
			m.Versions[0].Variants[3].Quality.Loss = -0.5 // on a text that says nothing
		})})
	var got []string
	for _, one := range s.Serving()[0].Variants {
		got = append(got, one.Name)
	}
	if want := []string{"f32", catalog.Base, "lucky", "q8", "q4", "large", "small"}; !slices.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}
}

func TestADigestNamesAVariant(t *testing.T) {
	t.Parallel()
	m := fakes.Model("m", 2, fakes.Alias("production", 1), fakes.Variant(1, "q4", 30, 0.1))
	// Another version is published from the very weights of that variant.
	same := fakes.VariantDigest("m", 2, "q8")
	fakes.Variant(2, "q8", 60, 0.1)(m)
	n := fakes.Model("n", 1, fakes.Variant(1, "q4", 30, 0.1))
	n.Versions[0].Variants[0].Digest = n.Versions[0].Digest // a mistake: it is the version itself
	s := catalog.NewSnapshot(1, []*registryv1.ModelState{m, n})
	resolve := func(ref string) (version int32, variant string) {
		t.Helper()
		target, err := s.Resolve(ref, "")
		if err != nil {
			t.Fatal(err)
		}
		if target.Variant != nil {
			variant = target.Variant.Name
		}
		return target.Version.Number, variant
	}
	for ref, want := range map[string]struct {
		version int32
		variant string
	}{
		"m":                                      {1, ""},
		"m@v1":                                   {1, ""},
		"m@v2":                                   {2, ""},
		"m@" + fakes.VersionDigest("m", 1):       {1, catalog.Base},
		"m@" + fakes.VariantDigest("m", 1, "q4"): {1, "q4"},
		"m@" + same:                              {2, "q8"},
	} {
		if version, variant := resolve(ref); version != want.version || variant != want.variant {
			t.Errorf("%s is version %d, variant %q", ref, version, variant)
		}
	}
	if !s.Serves(fakes.VariantDigest("m", 1, "q4")) || s.Serves(same) {
		t.Error("a variant serves if its version does")
	}
	if got := len(s.Serving()[1].Variants) + len(s.Serving()[0].Variants); got != 3 {
		t.Errorf("%d variants; want that of m, and one of each version itself", got)
	}
}

// Of two models that have the very same version, each has variants of its own.
func TestAVersionThatTwoModelsHave(t *testing.T) {
	t.Parallel()
	a, b := fakes.Model("a", 1, fakes.Sized(90)), fakes.Model("b", 1, fakes.Sized(90), fakes.Variant(1, "q8", 50, 0.01))
	b.Versions[0].Digest = a.Versions[0].Digest
	s := catalog.NewSnapshot(1, []*registryv1.ModelState{a, b})
	if !s.Serves(fakes.VariantDigest("b", 1, "q8")) || len(s.Serving()) != 2 || s.Serving()[0].Model != "a" || len(s.Serving()[1].Variants) != 2 {
		t.Errorf("%d versions serve", len(s.Serving()))
	}
	m, _ := s.Model("a")
	if len(m.Versions[0].Variants) != 1 {
		t.Error("the other model's own version was changed")
	}
}
