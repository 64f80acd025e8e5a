package placement_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/placement"
)

// Whatever the memory, the policies and a demand that does not change: once what
// serves has settled nothing is loaded and unloaded again and again.
func TestSteadyDemandMovesNothing(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			policies := placement.Policies{Default: placement.Policy{Min: 1, Max: 3, IdleUnload: 3 * time.Minute}}
			inPair(t, 1+r.IntN(3), 60+int64(r.IntN(200)), policies, func(p *pair) {
				var models []*registryv1.ModelState
				type ask struct {
					name, desc string
					forms      []string
					n          int32
				}
				var asks []ask
				for i := range 1 + r.IntN(3) {
					name := fmt.Sprintf("m%d", i)
					size := int64(60 + r.IntN(60))
					ch := []fakes.Change{fakes.Sized(size), fakes.Variant(1, "q8", size/2, 0.01), fakes.Variant(1, "q4", size/4, 0.05)}
					forms := []string{fakes.VersionDigest(name, 1), fakes.VariantDigest(name, 1, "q8"), fakes.VariantDigest(name, 1, "q4")}
					desc := fmt.Sprintf("%s size %d", name, size)
					if r.IntN(3) == 0 {
						ch = append(ch, fakes.Label(placement.LabelSaturationFallback, "true"))
						desc += " fallback"
					}
					if k := r.IntN(4); k < 3 {
						ch = append(ch, fakes.Label(placement.LabelMinReplicas, fmt.Sprint(k)))
						desc += fmt.Sprintf(" min %d", k)
					}
					if r.IntN(3) == 0 {
						ch = append(ch, fakes.Label(placement.LabelMaxQualityLoss, "0.02"))
						forms = forms[:2]
						desc += " loss .02"
					}
					n := int32(r.IntN(10)) - 2
					desc += fmt.Sprintf(" n %d", n)
					models = append(models, fakes.Model(name, 1, ch...))
					asks = append(asks, ask{name, desc, forms, n})
				}
				p.registry.put(models...)
				step := func() {
					for _, a := range asks {
						if a.n <= 0 {
							continue
						}
						found := false
						for _, d := range a.forms {
							if p.digestReady(d) > 0 && !found {
								found = true
								each := (a.n + int32(p.digestReady(d)) - 1) / int32(p.digestReady(d))
								for _, w := range p.workers {
									w.load(d, each)
								}
							} else {
								for _, w := range p.workers {
									if w.has(d) == ready {
										w.change(func() { w.models[d].Active = 0 })
									}
								}
							}
						}
						if !found {
							p.replicas[r.IntN(2)].Pending(a.forms[0], false)
						}
					}
					fakes.Pass(p, 20*time.Second)
				}
				for range 120 {
					step()
				}
				begun := p.begins()
				for range 360 {
					step()
				}
				if n := p.begins() - begun; n > 6 {
					var d []string
					for _, a := range asks {
						d = append(d, a.desc)
					}
					p.Errorf("%d loads in 2 h of steady demand: %d workers of %d: %v", n, len(p.workers), p.workers[0].total, d)
				}
			})
		})
	}
}
