package placement_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/placement"
)

// forms counts the workers that have each form of m ready.
func (p *pair) forms() (base, q8, q4 int) {
	return p.ready("m"), p.digestReady(fakes.VariantDigest("m", 1, "q8")), p.digestReady(fakes.VariantDigest("m", 1, "q4"))
}

func (p *pair) wantForms(base, q8, q4 int, when string) {
	p.Helper()
	if b, e, f := p.forms(); b != base || e != q8 || f != q4 {
		p.Errorf("%s: the version itself on %d workers, q8 on %d, q4 on %d; want %d, %d, %d", when, b, e, f, base, q8, q4)
	}
}

var variants = []fakes.Change{fakes.Sized(90), fakes.Variant(1, "q8", 50, 0.01), fakes.Variant(1, "q4", 25, 0.05)}

func TestWhatDoesNotFitIsServedByAVariant(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 1, Max: 2, IdleUnload: 3 * time.Minute}}
	inPair(t, 1, 140, policies, func(p *pair) {
		p.workers[0].more = 20
		x := sized("x", 30) // and 20: 90 bytes are left, where the version needs 110
		p.registry.put(x)
		fakes.Pass(p, 10*time.Second)
		p.registry.put(x, fakes.Model("m", 1, variants...))
		fakes.Pass(p, 20*time.Second)
		p.wantForms(0, 1, 0, "beside another model")
		asks := len(p.workers[0].asks())
		fakes.Pass(p, 20*time.Minute)
		if n := len(p.workers[0].asks()) - asks; n > 4 {
			p.Errorf("the worker was asked %d times for what it refused, with no more room than it had", n)
		}
		if s, _ := p.replicas[0].Status(version("m")); s.Problem != "" || s.Desired != 1 {
			p.Errorf("status %+v: it serves", s)
		}
		base := fakes.VersionDigest("m", 1)
		// Only the replica that asked was told.
		if problem := p.replicas[0].Problem(base) + p.replicas[1].Problem(base); !strings.Contains(problem, "needs 110 bytes") {
			p.Errorf("of the version itself nothing is said: %q", problem)
		}
	})
}

func TestABetterVariantTakesTheWorsesPlace(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 1, Max: 2, IdleUnload: 3 * time.Minute}}
	inPair(t, 1, 200, policies, func(p *pair) {
		x := sized("x", 120)
		p.registry.put(x)
		fakes.Pass(p, 10*time.Second)
		p.registry.put(x, fakes.Model("m", 1, variants...))
		fakes.Pass(p, 10*time.Second)
		p.wantForms(0, 1, 0, "beside another model")
		p.registry.put(fakes.Model("m", 1, variants...)) // x goes
		fakes.Pass(p, 4*time.Minute)
		p.wantForms(1, 1, 0, "with more room")
		fakes.Pass(p, 4*time.Minute)
		p.wantForms(1, 0, 0, "once nobody needs the worse one")
		begun := p.begins()
		fakes.Pass(p, time.Hour)
		p.wantForms(1, 0, 0, "for good")
		if p.begins() != begun {
			p.Error("loaded again and again")
		}
	})
}

func TestALossThatIsNotAllowedIsNotLoaded(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 1, Max: 1}}
	inPair(t, 1, 40, policies, func(p *pair) {
		m := fakes.Model("m", 1, append(slices.Clone(variants), fakes.Label(placement.LabelMaxQualityLoss, "0.02"))...)
		p.registry.put(m)
		fakes.Pass(p, 10*time.Minute)
		p.wantForms(0, 0, 0, "q4 would fit, and is worse than allowed")
		s, _ := p.replicas[0].Status(version("m"))
		if !strings.Contains(s.Problem, "needs") {
			p.Errorf("status %+v", s)
		}
		p.registry.put(fakes.Model("m", 1, variants...))
		fakes.Pass(p, time.Minute)
		p.wantForms(0, 0, 1, "without that bound")
	})
}

func TestWorseVariantsTakeWhatTheBetterHaveNoRoomFor(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 1, Max: 3, IdleUnload: 3 * time.Minute}}
	inPair(t, 3, 60, policies, func(p *pair) {
		p.workers[0].total = 100
		p.workers[0].change(func() {})
		with := append(slices.Clone(variants), fakes.Label(placement.LabelSaturationFallback, "true"))
		press := func(n int32, with ...string) {
			for _, w := range p.workers {
				for _, d := range with {
					w.load(d, n)
				}
			}
		}
		base, q8 := fakes.VersionDigest("m", 1), fakes.VariantDigest("m", 1, "q8")
		p.registry.put(fakes.Model("m", 1, variants...))
		fakes.Pass(p, 10*time.Second)
		press(8, base)
		fakes.Pass(p, 2*time.Minute)
		p.wantForms(1, 0, 0, "a model that did not opt in")
		p.registry.put(fakes.Model("m", 1, with...))
		fakes.Pass(p, 30*time.Second)
		press(4, base, q8)
		fakes.Pass(p, time.Minute)
		p.wantForms(1, 2, 0, "one that did")
		press(0, q8)
		for range 12 {
			press(1, base) // the worse ones are not used any more
			fakes.Pass(p, time.Minute)
		}
		p.wantForms(1, 0, 0, "when the load is gone")
	})
}

func TestAVariantThatIsAskedForByItsDigest(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 1, Max: 1, IdleUnload: 3 * time.Minute}}
	inPair(t, 2, 120, policies, func(p *pair) {
		m := fakes.Model("m", 1, append(slices.Clone(variants), fakes.Label(placement.LabelMaxQualityLoss, "0"))...)
		p.registry.put(m)
		fakes.Pass(p, 10*time.Second)
		p.wantForms(1, 0, 0, "unasked")
		q4 := fakes.VariantDigest("m", 1, "q4")
		if !p.replicas[1].Pending(q4, true) {
			p.Error("not pending though it was just asked for")
		}
		fakes.Pass(p, 10*time.Second)
		p.wantForms(1, 0, 1, "asked for")
		for range 5 {
			for _, w := range p.workers {
				w.load(q4, 0) // somebody used it
			}
			fakes.Pass(p, time.Minute)
		}
		p.wantForms(1, 0, 1, "while it is used")
		fakes.Pass(p, 8*time.Minute)
		p.wantForms(1, 0, 0, "when it is not")
	})
}
