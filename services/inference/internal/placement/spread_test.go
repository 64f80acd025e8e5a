package placement_test

import (
	"slices"
	"strconv"
	"testing"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/placement"
)

// formed is a version of 100 bytes with variants of 50 and 25.
func formed() *catalog.Version {
	return catalog.NewSnapshot(1, []*registryv1.ModelState{fakes.Model("m", 1, fakes.Sized(100),
		fakes.Variant(1, "q8", 50, 0.01), fakes.Variant(1, "q4", 25, 0.05))}).Serving()[0]
}

// loadsOf names the variants and workers of a plan.
func loadsOf(plan []placement.Load, workers []placement.Facts) []string {
	var out []string
	for i, id := range ids(plan, workers) {
		out = append(out, plan[i].Variant.Name+"@"+id)
	}
	return out
}

func TestThePlanTakesTheBestVariantThatFits(t *testing.T) {
	t.Parallel()
	v := formed()
	base, q8, q4 := v.Digest, fakes.VariantDigest("m", 1, "q8"), fakes.VariantDigest("m", 1, "q4")
	with := func(f placement.Facts, change func(*placement.Facts)) placement.Facts { change(&f); return f }
	for name, c := range map[string]struct {
		workers  []placement.Facts
		replicas int
		fallback bool
		want     []string
	}{
		"the best, though a worse one fits in more places": {
			workers: []placement.Facts{facts("a", 60), facts("b", 120)}, replicas: 1, want: []string{"base@b"},
		},
		"the best that fits anywhere": {
			workers: []placement.Facts{facts("a", 60), facts("b", 60)}, replicas: 2, want: []string{"q8@b", "q8@a"},
		},
		"one variant at a time": {
			workers: []placement.Facts{facts("a", 60), facts("b", 120)}, replicas: 2, want: []string{"base@b", "base@a"},
		},
		"unless worse ones may serve beside it": {
			workers: []placement.Facts{facts("a", 60), facts("b", 120), facts("c", 30)}, replicas: 3, fallback: true,
			want: []string{"base@b", "q8@a", "q4@c"},
		},
		"a worse one beside the better on the same worker, if there is no other": {
			workers: []placement.Facts{facts("b", 160)}, replicas: 2, fallback: true, want: []string{"base@b", "q8@b"},
		},
		"rather elsewhere": {
			workers: []placement.Facts{facts("a", 60), facts("b", 900, base)}, replicas: 2, fallback: true, want: []string{"q8@a"},
		},
		"what was refused is not asked for again": {
			workers:  []placement.Facts{with(facts("a", 120), func(f *placement.Facts) { f.Blocked[base] = true })},
			replicas: 1, want: []string{"q8@a"},
		},
		"nothing fits: the worker says why": {
			workers: []placement.Facts{facts("a", 10)}, replicas: 1, want: []string{"base@a"},
		},
		"and then of the next": {
			workers:  []placement.Facts{with(facts("a", 10), func(f *placement.Facts) { f.Blocked[base] = true })},
			replicas: 1, want: []string{"q8@a"},
		},
		"more of what is held": {
			workers: []placement.Facts{facts("a", 10, q8), facts("b", 60)}, replicas: 2, want: []string{"q8@b"},
		},
		"a better one beside, when there is room enough": {
			workers: []placement.Facts{facts("a", 125, q8)}, replicas: 1, want: []string{"base@a"},
		},
		"but not when it hardly fits": {
			workers: []placement.Facts{facts("a", 124, q8)}, replicas: 1,
		},
		"nor when it was refused with as much room": {
			workers:  []placement.Facts{with(facts("a", 900, q8), func(f *placement.Facts) { f.Refused[base] = true })},
			replicas: 1,
		},
		"nor for one copy of two": {
			workers: []placement.Facts{facts("a", 125, q4), facts("b", 20, q4)}, replicas: 2,
		},
		"the better of two better ones": {
			workers: []placement.Facts{facts("a", 70, q4), facts("b", 70, q4)}, replicas: 2, want: []string{"q8@a", "q8@b"},
		},
		"the worst of several is improved, and one at a time": {
			workers:  []placement.Facts{facts("a", 20, base), facts("b", 200, q4), facts("c", 200, q4)},
			replicas: 3, fallback: true, want: []string{"base@c"},
		},
		"and not once there are enough better ones": {
			workers: []placement.Facts{facts("a", 20, base), facts("b", 200, q4, base)}, replicas: 2, fallback: true,
		},
	} {
		want := placement.Want{Version: v, Replicas: c.replicas, Fallback: c.fallback, Improve: true}
		got := loadsOf(placement.Spread{}.Plan([]placement.Want{want}, c.workers), c.workers)
		sorted := slices.Clone(got)
		slices.Sort(sorted)
		expected := slices.Clone(c.want)
		slices.Sort(expected)
		if !slices.Equal(sorted, expected) {
			t.Errorf("%s: %v; want %v", name, got, c.want)
		}
	}
}

func TestAPolicyBoundsTheLoss(t *testing.T) {
	t.Parallel()
	m := fakes.Model("m", 1, fakes.Sized(100), fakes.Variant(1, "q8", 50, 0.01), fakes.Variant(1, "q4", 25, 0.05),
		fakes.Variant(1, "odd", 10, -1))
	names := func(p placement.Policies, labels ...string) []string {
		one := labelled(m, labels...)
		model, _ := catalog.NewSnapshot(1, []*registryv1.ModelState{one}).Model("m")
		allowed, _ := p.Allowed(model, model.Versions[0])
		var out []string
		for _, v := range allowed {
			out = append(out, v.Name)
		}
		return out
	}
	none := placement.Policies{}
	for bound, want := range map[string][]string{
		"":     {"base", "q8", "q4", "odd"},
		"0":    {"base"},
		"0.01": {"base", "q8"},
		"0.5":  {"base", "q8", "q4"},
		"-1":   {"base"}, // cannot be used: nothing worse serves until it is known
		"5%":   {"base"},
		"NaN":  {"base"},
	} {
		var labels []string
		if bound != "" {
			labels = []string{placement.LabelMaxQualityLoss, bound}
		}
		if got := names(none, labels...); !slices.Equal(got, want) {
			t.Errorf("loss up to %q: %v; want %v", bound, got, want)
		}
		if problem := none.Of("m", m.GetModel().GetLabels()).Problem; (problem == "") != (bound == "" || isLoss(bound)) {
			t.Errorf("loss up to %q: problem %q", bound, problem)
		}
	}
	loss, yes := 0.02, true
	configured := placement.Policies{Models: map[string]placement.Override{"m": {MaxQualityLoss: &loss, SaturationFallback: &yes}}}
	if got := names(configured, placement.LabelMaxQualityLoss, "0.9"); !slices.Equal(got, []string{"base", "q8"}) {
		t.Errorf("the configuration goes before the label: %v", got)
	}
	if !configured.Of("m", nil).Fallback || none.Of("m", map[string]string{placement.LabelSaturationFallback: "true"}).Fallback != true {
		t.Error("worse ones may not serve though it was said that they may")
	}
}

func isLoss(text string) bool {
	n, err := strconv.ParseFloat(text, 64)
	return err == nil && n >= 0
}

// One plan does not load twice what two wants ask for.
func TestThePlanCountsWhatItPlans(t *testing.T) {
	t.Parallel()
	v := formed()
	workers := []placement.Facts{facts("a", 130), facts("b", 130)}
	wants := []placement.Want{{Version: v, Replicas: 1, Evict: true}, {Version: v, Variants: v.Variants[:1], Replicas: 1, Evict: true}}
	if got := loadsOf(placement.Spread{}.Plan(wants, workers), workers); len(got) != 1 {
		t.Errorf("%v", got)
	}
}
