package catalog_test

import (
	"slices"
	"strconv"
	"testing"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/split"
)

func forTenant(tenant string) func(*registryv1.Experiment) {
	return func(e *registryv1.Experiment) {
		e.Targeting = &registryv1.Targeting{Conditions: []*registryv1.Condition{
			{Attribute: registryv1.Attribute_ATTRIBUTE_TENANT, Values: []string{tenant}},
		}}
	}
}

// The first experiment that is for the subject decides, then the plain split; a
// name with a version passes all of them by.
func TestExperimentsDecide(t *testing.T) {
	t.Parallel()
	s := snapshot(fakes.Model("m", 4, fakes.Alias("staging", 4), fakes.Split("plain", 1, 1_000_000),
		fakes.Experiment("acme", forTenant("acme"), 2),
		fakes.Experiment("part", func(e *registryv1.Experiment) {
			e.LayerRanges = []*registryv1.PointRange{{Start: 0, End: 500_000}}
			e.Overrides = []*registryv1.Override{{Tenant: "globex", Subject: "tess", Arm: "b"}}
			e.Arms[1].Version, e.Arms[1].Alias = 0, "staging"
		}, 3, 3)))
	seen := map[string]int{}
	for i := range 2000 {
		got, err := s.Decide("m", &split.Subject{User: strconv.Itoa(i), Tenant: "globex"})
		if err != nil {
			t.Fatal(err)
		}
		seen[got.Experiment+"/"+got.Arm+"/"+got.Version.Name]++
	}
	if len(seen) != 3 || seen["/plain/m@v1"] < 900 || seen["part/a/m@v3"] < 400 || seen["part/b/m@v4"] < 400 {
		t.Errorf("decided %v", seen)
	}
	for name, c := range map[string]struct {
		ref              string
		who              split.Subject
		experiment, want string
	}{
		"targeted":  {"m", split.Subject{User: "u", Tenant: "acme"}, "acme", "m@v2"},
		"a tester":  {"m", split.Subject{User: "u", Tenant: "globex", Caller: "tess"}, "part", "m@v4"},
		"a version": {"m@v1", split.Subject{User: "u", Tenant: "acme"}, "", "m@v1"},
	} {
		got, err := s.Decide(c.ref, &c.who)
		if err != nil || got.Experiment != c.experiment || got.Version.Name != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	var names []string
	m, _ := s.Model("m")
	for _, v := range m.Reachable() {
		names = append(names, v.Name)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"m@v1", "m@v2", "m@v3", "m@v4"}) {
		t.Errorf("reachable are %v", names)
	}
}

// What is not whole decides nothing.
func TestExperimentsThatAreLeftOut(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*registryv1.Experiment){
		"a version":   func(e *registryv1.Experiment) { e.Arms[1].Version = 9 },
		"an alias":    func(e *registryv1.Experiment) { e.Arms[1].Version, e.Arms[1].Alias = 0, "gone" },
		"stopped":     func(e *registryv1.Experiment) { e.State = registryv1.ExperimentState_EXPERIMENT_STATE_STOPPED },
		"a gap":       func(e *registryv1.Experiment) { e.ArmRanges[1].Start++ },
		"an end":      func(e *registryv1.Experiment) { e.ArmRanges[1].End-- },
		"no such arm": func(e *registryv1.Experiment) { e.ArmRanges[1].Arm = 2 },
		"no points":   func(e *registryv1.Experiment) { e.LayerRanges = nil },
		"no order":    func(e *registryv1.Experiment) { e.LayerRanges = append(e.LayerRanges, e.LayerRanges[0]) },
		"beyond":      func(e *registryv1.Experiment) { e.LayerRanges[0].End++ },
		"a shadow":    func(e *registryv1.Experiment) { e.Shadow = &registryv1.Shadow{Version: 9, Share: 1} },
	} {
		s := snapshot(fakes.Model("m", 2, fakes.Alias("production", 1), fakes.Experiment("x", change, 2, 2)))
		got, err := s.Decide("m", &split.Subject{User: "u"})
		if err != nil || got.Experiment != "" || got.Version.Number != 1 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// A shadow takes its share of the requests, whatever decides for them, and its
// version is kept loaded.
func TestShadows(t *testing.T) {
	t.Parallel()
	s := snapshot(fakes.Model("m", 2, fakes.Alias("production", 1), fakes.Experiment("x", func(e *registryv1.Experiment) {
		e.LayerRanges, e.Shadow = nil, &registryv1.Shadow{Version: 2, Share: 250_000, RequestsPerMinute: 7}
		forTenant("acme")(e)
	})))
	taken := 0
	for i := range 4000 {
		got, err := s.Decide("m", &split.Subject{User: "u", Tenant: "acme", Request: strconv.Itoa(i)})
		if err != nil || got.Version.Number != 1 || got.Experiment != "" {
			t.Fatalf("%+v, %v", got, err)
		}
		if got.Shadow != nil {
			taken++
			if got.Shadow.Version.Number != 2 || got.Shadow.Requests != 7 || got.Shadow.Experiment != "x" {
				t.Fatalf("%+v", got.Shadow)
			}
		}
	}
	if taken < 850 || taken > 1150 {
		t.Errorf("%d of 4000 are copied, want about 1000", taken)
	}
	if got, _ := s.Decide("m", &split.Subject{User: "u", Request: "1"}); got.Shadow != nil {
		t.Error("a request that the experiment is not for is copied")
	}
	if got, _ := s.Decide("m@v1", &split.Subject{User: "u", Tenant: "acme", Request: "1"}); got.Shadow != nil {
		t.Error("a request that names its version is copied")
	}
	if !s.Serves(fakes.VersionDigest("m", 2)) {
		t.Error("what a shadow copies to is not kept loaded")
	}
}
