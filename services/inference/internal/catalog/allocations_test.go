//go:build !race

package catalog_test

import (
	"testing"

	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/split"
)

// With the race detector a sync.Pool forgets now and then, so that these are built
// without it; make test runs them by themselves.

func TestResolveOfANameAllocatesNothing(t *testing.T) {
	s := snapshot(fakes.Model("m", 2, fakes.Split("a", 1, 900_000), fakes.Split("b", 2, 100_000)))
	if n := testing.AllocsPerRun(100, func() { _, _ = s.Resolve("m", "user:1") }); n != 0 {
		t.Errorf("Resolve allocates %v times", n)
	}
}

// A decision on the way of every request, with the look-up of the model.
func TestDecideAllocatesNothing(t *testing.T) {
	s := snapshot(fakes.Model("m", 2, fakes.Experiment("acme", forTenant("acme"), 1), fakes.Experiment("x", nil, 1, 2)))
	who := split.Subject{User: "6f9619ff-8b86-d011-b42d-00c04fc964ff", Tenant: "globex", Request: "r"}
	var got catalog.Target
	if n := testing.AllocsPerRun(100, func() { got, _ = s.Decide("m", &who) }); n != 0 || got.Experiment != "x" {
		t.Errorf("Decide allocates %v times, %+v", n, got)
	}
}
