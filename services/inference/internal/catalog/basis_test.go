package catalog_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/split"
)

func sticking(by registryv1.StickyBy) func(*registryv1.Experiment) {
	return func(e *registryv1.Experiment) { e.StickyBy = by }
}

func all(changes ...func(*registryv1.Experiment)) func(*registryv1.Experiment) {
	return func(e *registryv1.Experiment) {
		for _, change := range changes {
			change(e)
		}
	}
}

func tester(e *registryv1.Experiment) {
	e.Overrides = []*registryv1.Override{{Tenant: "acme", Subject: "s1", Arm: "b"}}
}

func halved(e *registryv1.Experiment) {
	e.LayerRanges = []*registryv1.PointRange{{Start: 0, End: 500_000}}
}

func onHeader(e *registryv1.Experiment) {
	e.Targeting = &registryv1.Targeting{Conditions: []*registryv1.Condition{{Attribute: registryv1.Attribute_ATTRIBUTE_HEADER, Header: "x-a", Values: []string{"1"}}}}
}

// kinds are models of every kind that decides in its own way.
func kinds() []*registryv1.ModelState {
	request, session, tenant := sticking(registryv1.StickyBy_STICKY_BY_REQUEST), sticking(registryv1.StickyBy_STICKY_BY_SESSION), sticking(registryv1.StickyBy_STICKY_BY_TENANT)
	return []*registryv1.ModelState{
		fakes.Model("plain", 2, fakes.Alias("production", 2)),
		fakes.Model("split", 2, fakes.Split("p", 1, 500_000), fakes.Split("q", 2, 500_000)),
		fakes.Model("request", 3, fakes.Alias("production", 1), fakes.Experiment("e", request, 2, 3)),
		fakes.Model("session", 3, fakes.Alias("production", 1), fakes.Experiment("e", session, 2, 3)),
		fakes.Model("tenant", 3, fakes.Alias("production", 1), fakes.Experiment("e", tenant, 2, 3)),
		fakes.Model("tested", 3, fakes.Alias("production", 1), fakes.Experiment("e", all(request, tester), 2, 3)),
		fakes.Model("targeted", 3, fakes.Alias("production", 1), fakes.Experiment("e", all(request, onHeader), 2, 3)),
		fakes.Model("layered", 4, fakes.Split("p", 1, 500_000), fakes.Split("q", 2, 500_000), fakes.Experiment("e", all(session, halved), 3, 4)),
		fakes.Model("twice", 4, fakes.Alias("production", 1), fakes.Experiment("d", forTenant("acme"), 2, 3), fakes.Experiment("e", all(request, halved), 3, 4)),
	}
}

func someone(r *rand.Rand, request int) *split.Subject {
	pick := func(prefix string, n int) string {
		if i := r.IntN(n + 1); i > 0 {
			return fmt.Sprint(prefix, i)
		}
		return ""
	}
	who := &split.Subject{
		User: pick("u", 3), Session: pick("c", 3), Request: fmt.Sprint("r", request), Tenant: []string{"", "acme", "globex"}[r.IntN(3)],
		Caller: pick("s", 2), Headers: map[string]string{"x-a": pick("", 2)},
	}
	return who
}

func decided(t *testing.T, s *catalog.Snapshot, model string, who *split.Subject) string {
	t.Helper()
	got, err := s.Decide(model, who)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(got.Version.Name, " ", got.Experiment, " ", got.Arm)
}

// TestBasis: requests that agree in what a decision is said to rest on are decided alike,
// and those that are said to be decided each by itself are not.
func TestBasis(t *testing.T) {
	t.Parallel()
	s, r := snapshot(kinds()...), rand.New(rand.NewPCG(1, 2))
	met := make(map[string]map[inferencev1.ServingBasis]bool)
	for _, state := range kinds() {
		name := state.GetModel().GetName()
		met[name] = make(map[inferencev1.ServingBasis]bool)
		for _, model := range []string{name, name + "@v1"} {
			for range 300 {
				who := someone(r, 0)
				basis, want := s.Basis(model, who), decided(t, s, model, who)
				if model == name {
					met[name][basis] = true
				} else if basis != inferencev1.ServingBasis_SERVING_BASIS_MODEL {
					t.Errorf("%s rests on %v", model, basis)
				}
				differ := false
				for i := range 64 {
					other := *who
					other.Request = fmt.Sprint("r", i+1)
					switch basis {
					case inferencev1.ServingBasis_SERVING_BASIS_MODEL:
						other = *someone(r, i+1)
						other.Tenant = who.Tenant
					case inferencev1.ServingBasis_SERVING_BASIS_SUBJECT, inferencev1.ServingBasis_SERVING_BASIS_REQUEST:
					case inferencev1.ServingBasis_SERVING_BASIS_UNSPECIFIED:
						t.Fatalf("%s: nothing is said", model)
					}
					if s.Basis(model, &other) != basis {
						t.Errorf("%s: the basis of %+v and of %+v differ", model, who, other)
					}
					differ = differ || decided(t, s, model, &other) != want
				}
				if differ != (basis == inferencev1.ServingBasis_SERVING_BASIS_REQUEST) {
					t.Errorf("%s for %+v rests on %v, and others are decided otherwise: %t", model, who, basis, differ)
				}
			}
		}
	}
	for name, want := range map[string][]inferencev1.ServingBasis{
		"plain": {1}, "split": {2, 3}, "request": {3}, "session": {2, 3}, "tenant": {2, 3}, "tested": {2, 3}, "targeted": {2, 3}, "layered": {2, 3}, "twice": {2, 3},
	} {
		for _, b := range want {
			if !met[name][b] {
				t.Errorf("%s never rests on %v", name, b)
			}
		}
		if len(met[name]) != len(want) {
			t.Errorf("%s rests on %v", name, met[name])
		}
	}
}
