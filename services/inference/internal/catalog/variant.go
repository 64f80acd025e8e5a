package catalog

import (
	"cmp"
	"math"
	"slices"

	"github.com/poterne/poterne/pkg/signing"
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
	// Size is what its weights take on disk, in bytes: less than it needs in memory,
	// but known without asking anybody.
	Size int64
	// Loss is by which share it is worse than the version's own weights. Measured
	// says whether that is known.
	Loss     float64
	Measured bool
	// Signatures are those over the digest; read only.
	Signatures []*registryv1.Signature
}

// variantsOf returns the forms of a version, best first: those whose loss is
// known by their loss, then the others by their size, the largest first. The
// version's own weights are always among them.
//
// A variant that no trusted key has signed is left out where that is asked for.
//
// Weights that take less than the version's own are not taken to be better, however
// they did on a text: by chance or by a text that says nothing they may seem so.
func variantsOf(v *Version, listed []*registryv1.Variant, trust signing.Policy) []*Variant {
	out := make([]*Variant, 0, len(listed)+1)
	out = append(out, &Variant{
		Name: Base, Digest: v.Digest, Label: v.Name, Spec: v.Spec, Size: sizeOf(v.Spec), Measured: true,
		Signatures: v.signatures,
	})
	for _, l := range listed {
		if signing.Check(trust, l.GetDigest(), l.GetSignatures()) != nil {
			continue
		}
		if l.GetDigest() == "" || slices.ContainsFunc(out, func(o *Variant) bool { return o.Digest == l.GetDigest() }) {
			continue
		}
		out = append(out, &Variant{
			Name: l.GetName(), Digest: l.GetDigest(), Label: v.Name + "/" + l.GetName(), Spec: l.GetSpec(),
			Size: sizeOf(l.GetSpec()), Loss: l.GetQuality().GetLoss(), Measured: l.GetQuality() != nil,
			Signatures: l.GetSignatures(),
		})
	}
	own := out[0].Size
	slices.SortFunc(out, func(a, b *Variant) int { return compareVariants(a, b, own) })
	return out
}

func compareVariants(a, b *Variant, own int64) int {
	switch {
	case a.Measured && !b.Measured:
		return -1
	case b.Measured && !a.Measured:
		return 1
	case a.Measured:
		if c := cmp.Compare(a.lossBeside(own), b.lossBeside(own)); c != 0 {
			return c
		}
		if a.Name == Base || b.Name == Base {
			return truth(b.Name == Base) - truth(a.Name == Base)
		}
	}
	return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Name, b.Name))
}

// lossBeside is the loss that counts beside weights of the version's own size.
func (v *Variant) lossBeside(own int64) float64 {
	if v.Size > own {
		return v.Loss
	}
	return max(v.Loss, 0)
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sizeOf is what the weights of a specification take.
func sizeOf(spec *commonv1.ModelSpec) int64 {
	var n int64
	for _, a := range spec.GetArtifacts() {
		if r := a.GetRole(); r != "" && r != roleWeights {
			continue
		}
		if a.GetSizeBytes() > math.MaxInt64-n {
			return math.MaxInt64
		}
		n += a.GetSizeBytes()
	}
	return n
}

// roleWeights is an artifact's role, which is also that of one that says none.
const roleWeights = "weights"

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
