package placement

import (
	"slices"

	"github.com/poterne/poterne/services/inference/internal/catalog"
)

// Allowed returns the forms of a version that may serve, best first, and whether
// a later one may while those before have no room.
func (p Policies) Allowed(m *catalog.Model, v *catalog.Version) (allowed []*catalog.Variant, fallback bool) {
	policy := p.Of(m.Name(), m.State.GetModel().GetLabels())
	return policy.allowed(v), policy.Fallback
}

// allowed returns the forms of a version that may serve, best first. The version's
// own weights always may.
func (p Policy) allowed(v *catalog.Version) []*catalog.Variant {
	if p.MaxLoss == nil {
		return v.Variants
	}
	out := make([]*catalog.Variant, 0, len(v.Variants))
	for _, one := range v.Variants {
		if one.Name == catalog.Base || one.Measured && one.Loss <= *p.MaxLoss {
			out = append(out, one)
		}
	}
	return out
}

// forms are the variants that the version may be loaded in, best first.
func (w *Want) forms() []*catalog.Variant {
	if len(w.Variants) == 0 {
		return w.Version.Variants
	}
	return w.Variants
}

// rankOf is a variant's place among those of a want; what is not allowed comes
// after all that is.
func (w *Want) rankOf(digest string) int {
	forms := w.forms()
	i := slices.IndexFunc(forms, func(one *catalog.Variant) bool { return one.Digest == digest })
	if i < 0 {
		return len(forms)
	}
	return i
}

// exactly begins the key under which a request for this very variant is noted.
const exactly = "="

func exact(digest string) string { return exactly + digest }
