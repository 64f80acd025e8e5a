package catalog

import (
	"cmp"
	"slices"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Base is the name of the variant that is the version's own weights.
const Base = "base"

// Variant is one form in which a version can be loaded. It is not changed once
// made.
type Variant struct {
	// Name is Base for the version's own weights.
	Name string
	// Digest names it to workers.
	Digest string
	// Label is the version and the variant for people to read: name@v3/q4_k_m, and
	// name@v3 for the version's own weights.
	Label string
	// Spec says how to load it; read only.
	Spec *commonv1.ModelSpec
	// Size is what its files take, in bytes: less than it needs in memory, but
	// known without asking anybody.
	Size int64
	// Loss is by which share it is worse than the version's own weights. Measured
	// says whether that is known.
	Loss     float64
	Measured bool
}

// variantsOf returns the forms of a version, best first: those whose loss is
// known by their loss, then the others by their size, the largest first. The
// version's own weights are always among them.
func variantsOf(v *Version, listed []*registryv1.Variant) []*Variant {
	out := make([]*Variant, 0, len(listed)+1)
	out = append(out, &Variant{
		Name: Base, Digest: v.Digest, Label: v.Name, Spec: v.Spec, Size: sizeOf(v.Spec), Measured: true,
	})
	for _, l := range listed {
		if l.GetDigest() == "" || slices.ContainsFunc(out, func(o *Variant) bool { return o.Digest == l.GetDigest() }) {
			continue
		}
		out = append(out, &Variant{
			Name: l.GetName(), Digest: l.GetDigest(), Label: v.Name + "/" + l.GetName(), Spec: l.GetSpec(),
			Size: sizeOf(l.GetSpec()), Loss: l.GetQuality().GetLoss(), Measured: l.GetQuality() != nil,
		})
	}
	slices.SortFunc(out, compareVariants)
	return out
}

func compareVariants(a, b *Variant) int {
	switch {
	case a.Measured && !b.Measured:
		return -1
	case b.Measured && !a.Measured:
		return 1
	case a.Measured && a.Loss != b.Loss:
		return cmp.Compare(a.Loss, b.Loss)
	}
	return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Name, b.Name))
}

func sizeOf(spec *commonv1.ModelSpec) int64 {
	var n int64
	for _, a := range spec.GetArtifacts() {
		n += a.GetSizeBytes()
	}
	return n
}

// Variant returns the version's form of that digest, or nil.
func (v *Version) Variant(digest string) *Variant {
	for _, one := range v.Variants {
		if one.Digest == digest {
			return one
		}
	}
	return nil
}

// Named returns the version's form of that name, or nil.
func (v *Version) Named(name string) *Variant {
	for _, one := range v.Variants {
		if one.Name == name {
			return one
		}
	}
	return nil
}

// digest returns the version and its form that a digest names, or nil. A version
// goes before another one's variant.
func (m *Model) digest(digest string) (*Version, *Variant) {
	for _, v := range m.Versions {
		if v.Digest == digest {
			base := v.Named(Base)
			return v, base
		}
	}
	for _, v := range m.Versions {
		if one := v.Variant(digest); one != nil {
			return v, one
		}
	}
	return nil, nil
}

// onePerDigest leaves one of the versions of each digest, which are sorted by it:
// the first one, with the variants of all.
func onePerDigest(sorted []*Version) []*Version {
	out := sorted[:0]
	for _, v := range sorted {
		if last := len(out) - 1; last >= 0 && out[last].Digest == v.Digest {
			out[last] = out[last].with(v.Variants)
			continue
		}
		out = append(out, v)
	}
	return out
}

// with returns the version with more variants; v stays as it is.
func (v *Version) with(more []*Variant) *Version {
	var news []*Variant
	for _, one := range more {
		if v.Variant(one.Digest) == nil {
			news = append(news, one)
		}
	}
	if len(news) == 0 {
		return v
	}
	c := *v
	c.Variants = append(slices.Clone(v.Variants), news...)
	slices.SortFunc(c.Variants, compareVariants)
	return &c
}
