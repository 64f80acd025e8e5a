package placement_test

import (
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/placement"
)

// Its use is no use of the forms that may serve the name.
func TestWhatIsAskedForByItsDigestStaysWhileItIsUsed(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 0, Max: 2, IdleUnload: 3 * time.Minute}}
	inPair(t, 1, 120, policies, func(p *pair) {
		m := fakes.Model("m", 1, append(slices.Clone(variants), fakes.Label(placement.LabelMaxQualityLoss, "0"))...)
		p.registry.put(m)
		q4 := fakes.VariantDigest("m", 1, "q4")
		gone := 0
		for range 120 {
			if p.digestReady(q4) == 0 {
				gone++
				p.replicas[0].Pending(q4, true)
			}
			fakes.Pass(p, 5*time.Second)
			for _, w := range p.workers {
				w.load(q4, 1)
			}
			fakes.Pass(p, 5*time.Second)
		}
		if p.begins() != 1 {
			p.Errorf("flaps: %d loads in 20 min of constant use", p.begins())
		}
	})
}

// A promise holds for the forms that may serve.
func TestAFormThatMayServeNoMoreMakesRoom(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 1, Max: 2, IdleUnload: 3 * time.Minute}}
	inPair(t, 1, 120, policies, func(p *pair) {
		x := sized("x", 60)
		p.registry.put(x)
		fakes.Pass(p, 10*time.Second)
		with := append(slices.Clone(variants), fakes.Label(placement.LabelMinReplicas, "1"))
		p.registry.put(x, fakes.Model("m", 1, with...))
		fakes.Pass(p, 2*time.Minute)
		p.wantForms(0, 1, 0, "beside x")
		p.registry.put(fakes.Model("m", 1, append(with, fakes.Label(placement.LabelMaxQualityLoss, "0"))...))
		fakes.Pass(p, time.Hour)
		b, _, _ := p.forms()
		if b != 1 {
			p.Error("promised base never loaded")
		}
	})
}

// Two models have the very same version, and each its own policy and variants: what
// one needs the other does not take away.
func TestModelsThatShareAVersion(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 0, Max: 1, IdleUnload: 2 * time.Minute}}
	inPair(t, 2, 300, policies, func(p *pair) {
		a := fakes.Model("a", 1, fakes.Sized(90), fakes.Variant(1, "large", 180, 0), fakes.Label(placement.LabelMinReplicas, "1"))
		a.Versions[0].Variants[0].Quality.Loss = -0.01
		b := fakes.Model("b", 1, fakes.Sized(90), fakes.Label(placement.LabelMinReplicas, "1"))
		c := fakes.Model("c", 1, fakes.Sized(90)) // is loaded when it is asked for
		base, large := fakes.VersionDigest("a", 1), fakes.VariantDigest("a", 1, "large")
		b.Versions[0].Digest, c.Versions[0].Digest = base, base
		p.registry.put(a, b, c)
		fakes.Pass(p, 30*time.Minute)
		if p.digestReady(base) != 1 || p.digestReady(large) != 1 || p.begins() != 2 {
			p.Errorf("the version itself on %d workers, its variant on %d, after %d loads", p.digestReady(base), p.digestReady(large), p.begins())
		}
		p.registry.put(a, c)
		fakes.Pass(p, 30*time.Minute)
		if p.digestReady(base) != 0 || p.digestReady(large) != 1 {
			p.Errorf("what nobody needs any more is on %d workers, and the variant on %d", p.digestReady(base), p.digestReady(large))
		}
		p.registry.put(c)
		p.replicas[0].Pending(base, false)
		fakes.Pass(p, time.Minute)
		if p.digestReady(base) != 1 {
			p.Error("what was asked for is not loaded")
		}
	})
}

// Two models have one form, and only one of them promises copies.
func TestAPinOfAFormThatTwoModelsHaveHolds(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 1, Max: 1, IdleUnload: 3 * time.Minute}}
	inPair(t, 1, 60, policies, func(p *pair) {
		a := fakes.Model("a", 1, fakes.Sized(90), fakes.Variant(1, "q8", 50, 0.01), fakes.Label(placement.LabelMinReplicas, "1"))
		b := fakes.Model("b", 1, fakes.Sized(91), fakes.Variant(1, "q8", 50, 0.01))
		b.Versions[0].Variants[0].Digest = a.Versions[0].Variants[0].Digest
		p.registry.put(a, b)
		fakes.Pass(p, time.Minute)
		asks := len(p.workers[0].asks())
		fakes.Pass(p, 10*time.Minute)
		pins := map[bool]int{}
		for _, r := range p.workers[0].asks()[asks:] {
			if r.GetDigest() == a.Versions[0].Variants[0].Digest {
				pins[r.GetPinned()]++
			}
		}
		if pins[true] > 2 && pins[false] > 2 {
			p.Error("pin flips")
		}
	})
}

// A form that is used by its digest does not keep copies of others that nobody needs.
func TestAFormInUseKeepsNoOthers(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 1, Max: 2, IdleUnload: 3 * time.Minute}}
	inPair(t, 2, 200, policies, func(p *pair) {
		m := fakes.Model("m", 1, append(slices.Clone(variants), fakes.Label(placement.LabelMaxQualityLoss, "0"))...)
		p.registry.put(m)
		fakes.Pass(p, 10*time.Second)
		base, q4 := fakes.VersionDigest("m", 1), fakes.VariantDigest("m", 1, "q4")
		p.replicas[1].Pending(q4, true)
		for range 6 {
			for _, w := range p.workers {
				w.load(base, 6)
				w.load(q4, 1)
			}
			fakes.Pass(p, 20*time.Second)
		}
		p.wantForms(2, 0, 1, "under load")
		for range 120 {
			for _, w := range p.workers {
				w.load(base, 0)
				w.load(q4, 1)
			}
			fakes.Pass(p, 30*time.Second)
		}
		p.wantForms(1, 0, 1, "after an hour without load on base")
	})
}

// Of a model that is loaded when it is asked for, the form that was.
func TestOnlyWhatWasAskedForIsLoaded(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 0, Max: 2, IdleUnload: 3 * time.Minute}}
	inPair(t, 1, 300, policies, func(p *pair) {
		p.registry.put(fakes.Model("m", 1, variants...))
		fakes.Pass(p, 10*time.Second)
		q4 := fakes.VariantDigest("m", 1, "q4")
		p.replicas[1].Pending(q4, true)
		for range 6 {
			fakes.Pass(p, time.Minute)
			for _, w := range p.workers {
				w.load(q4, 1)
			}
		}
		p.wantForms(0, 0, 1, "only q4 was asked for, by its digest")
	})
}
