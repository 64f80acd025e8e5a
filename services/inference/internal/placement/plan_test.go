package placement_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/placement"
)

const gib = 1 << 30

func facts(id string, free int64, holds ...string) placement.Facts {
	f := placement.Facts{
		Worker: new(fleet.Worker), ID: id, Usable: true, Engines: []string{fakes.Engine}, FreeBytes: free,
		Holds: make(map[string]bool), Blocked: make(map[string]bool), Refused: make(map[string]bool),
	}
	for _, d := range holds {
		f.Holds[d] = true
	}
	return f
}

// version stands for the first version of a model.
func version(model string) *catalog.Version {
	return &catalog.Version{Model: model, Digest: fakes.VersionDigest(model, 1)}
}

func versions(names ...string) []*catalog.Version {
	var models []*registryv1.ModelState
	for _, n := range names {
		models = append(models, fakes.Model(n, 1))
	}
	return catalog.NewSnapshot(1, models).Serving()
}

// wants wants every version on so many workers.
func wants(replicas int, versions []*catalog.Version) []placement.Want {
	var out []placement.Want
	for _, v := range versions {
		out = append(out, placement.Want{Version: v, Replicas: replicas})
	}
	return out
}

// ids names the workers of a plan.
func ids(plan []placement.Load, workers []placement.Facts) []string {
	var out []string
	for _, l := range plan {
		i := slices.IndexFunc(workers, func(f placement.Facts) bool { return f.Worker == l.Worker })
		out = append(out, workers[i].ID)
	}
	return out
}

func TestPlan(t *testing.T) {
	t.Parallel()
	want := versions("m")
	d := want[0].Digest
	unusable := facts("down", 64*gib)
	unusable.Usable = false
	other := facts("other", 64*gib)
	other.Engines = []string{"llama-server"}
	blocked := facts("blocked", 64*gib)
	blocked.Blocked[d] = true
	for _, c := range []struct {
		name     string
		workers  []placement.Facts
		replicas int
		want     []string
	}{
		{"the ones with most memory", []placement.Facts{facts("a", 4*gib), facts("b", 32*gib), facts("c", 16*gib)}, 2, []string{"b", "c"}},
		{"what is there counts", []placement.Facts{facts("a", 4*gib), facts("b", 32*gib, d), facts("c", 16*gib)}, 2, []string{"c"}},
		{"enough is enough", []placement.Facts{facts("a", 4*gib, d), facts("b", 32*gib, d), facts("c", 16*gib)}, 2, nil},
		{"as many as there are", []placement.Facts{facts("a", 4*gib)}, 2, []string{"a"}},
		{"a refusal goes to the next", []placement.Facts{facts("a", 4*gib), blocked}, 1, []string{"a"}},
		{"only those that can", []placement.Facts{unusable, other, facts("a", 1*gib)}, 3, []string{"a"}},
		{"nobody", nil, 2, nil},
	} {
		if got := ids(placement.Spread{}.Plan(wants(c.replicas, want), c.workers), c.workers); !slices.Equal(got, c.want) {
			t.Errorf("%s: planned %v; want %v", c.name, got, c.want)
		}
	}
}

func TestPlanPrefersWhereItFits(t *testing.T) {
	t.Parallel()
	m := fakes.Model("big", 1)
	m.Versions[0].Spec.Artifacts = []*commonv1.Artifact{{SizeBytes: 6 * gib}}
	want := catalog.NewSnapshot(1, []*registryv1.ModelState{m}).Serving()
	workers := []placement.Facts{facts("small", 5*gib), facts("large", 7*gib)}
	if got := ids(placement.Spread{}.Plan(wants(1, want), workers), workers); !slices.Equal(got, []string{"large"}) {
		t.Errorf("planned %v; want large", got)
	}
	// Workers are the authority on their memory: where nothing fits by our
	// reckoning they are asked all the same.
	if got := ids(placement.Spread{}.Plan(wants(1, want), workers[:1]), workers); !slices.Equal(got, []string{"small"}) {
		t.Errorf("planned %v; want small", got)
	}
}

// TestReplicasPlanAlike: what two replicas see differs in order and a little in
// memory; their plans must not differ, or twice as much would be loaded.
func TestReplicasPlanAlike(t *testing.T) {
	t.Parallel()
	want := versions("a", "b", "c", "d", "e", "f", "g", "h")
	var seen []placement.Facts
	for _, id := range []string{"w1", "w2", "w3", "w4", "w5", "w6"} {
		seen = append(seen, facts(id, 12*gib))
	}
	plan := func(workers []placement.Facts) map[string][]string {
		out := make(map[string][]string)
		loads := placement.Spread{}.Plan(wants(2, want), workers)
		for i, id := range ids(loads, workers) {
			out[loads[i].Version.Digest] = append(out[loads[i].Version.Digest], id)
		}
		return out
	}
	first := plan(seen)
	used := make(map[string]int)
	for _, list := range first {
		for _, id := range list {
			used[id]++
		}
	}
	if len(used) < 4 {
		t.Errorf("8 versions twice are on %v: not spread", used)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		other := slices.Clone(seen)
		rng.Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
		for i := range other {
			other[i].FreeBytes += rng.Int64N(gib) - gib/2
		}
		second := plan(other)
		for digest, list := range first {
			if !slices.Equal(second[digest], list) {
				t.Fatalf("%s goes to %v for one replica and to %v for another", digest, list, second[digest])
			}
		}
	}
}

// TestPlanReckonsWithItself: one plan does not put everything where there was
// most memory at its start.
func TestPlanReckonsWithItself(t *testing.T) {
	t.Parallel()
	var models []*registryv1.ModelState
	for _, n := range []string{"a", "b", "c", "d"} {
		m := fakes.Model(n, 1)
		m.Versions[0].Spec.Artifacts = []*commonv1.Artifact{{SizeBytes: 10 * gib}}
		models = append(models, m)
	}
	workers := []placement.Facts{facts("w1", 21*gib), facts("w2", 21*gib)}
	counts := make(map[string]int)
	for _, id := range ids(placement.Spread{}.Plan(wants(1, catalog.NewSnapshot(1, models).Serving()), workers), workers) {
		counts[id]++
	}
	if counts["w1"] != 2 || counts["w2"] != 2 {
		t.Errorf("four versions of 10 GiB are on %v; want two on each worker of 21 GiB", counts)
	}
}

// TestTheOrderOfPreference: where it fits, then where its files are, then most
// memory, then idle; and where something must go, last.
func TestTheOrderOfPreference(t *testing.T) {
	t.Parallel()
	m := fakes.Model("m", 1)
	sum := strings.Repeat("0123456789abcdef", 4)
	m.Versions[0].Spec.Artifacts = []*commonv1.Artifact{{SizeBytes: 6 * gib, Sha256: sum}}
	want := catalog.NewSnapshot(1, []*registryv1.ModelState{m}).Serving()
	with := func(id string, free int64, change func(f *placement.Facts)) placement.Facts {
		f := facts(id, free)
		change(&f)
		return f
	}
	has := map[uint64]bool{0x0123456789abcdef: true}
	all := []placement.Facts{
		with("cached", 8*gib, func(f *placement.Facts) { f.Files = has }),
		with("roomy", 64*gib, func(*placement.Facts) {}),
		with("idle", 8*gib, func(*placement.Facts) {}),
		with("busy", 8*gib, func(f *placement.Facts) { f.Busy = 3 }),
		with("cached but full", 4*gib, func(f *placement.Facts) { f.Files, f.EvictableBytes = has, 4*gib }),
		with("could make room", 4*gib, func(f *placement.Facts) { f.EvictableBytes = 32 * gib }),
		with("has enough models", 4*gib, func(f *placement.Facts) { f.Full = true }),
	}
	order := []string{"cached", "roomy", "idle", "busy", "cached but full", "could make room", "has enough models"}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if got := ids(placement.Spread{}.Plan(wants(7, want), all), all); !slices.Equal(got, order) {
			t.Fatalf("planned %v; want %v", got, order)
		}
	}
	w := placement.Want{Version: want[0], Replicas: 3, Pinned: 2, Evict: true, WarmUp: true}
	all[0].Holds[want[0].Digest] = true
	plan := placement.Spread{}.Plan([]placement.Want{w}, all)
	if len(plan) != 2 || !plan[0].Pin || plan[1].Pin || !plan[0].Evict || !plan[1].WarmUp {
		t.Errorf("planned %+v", plan)
	}
}
