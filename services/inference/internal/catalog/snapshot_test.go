package catalog_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

func snapshot(models ...*registryv1.ModelState) *catalog.Snapshot {
	return catalog.NewSnapshot(7, models)
}

func TestResolve(t *testing.T) {
	t.Parallel()
	s := snapshot(
		fakes.Model("one", 1),
		fakes.Model("prod", 3, fakes.Alias("production", 2), fakes.Alias("candidate", 3)),
		fakes.Model("split", 2, fakes.Alias("production", 1), fakes.Split("new", 2, 1_000_000), fakes.Split("old", 1, 0)),
		fakes.Model("many", 2),
		fakes.Model("empty", 0),
		fakes.Model("broken", 2, fakes.Alias("production", 9), fakes.Split("half", 1, 500_000)),
	)
	for _, c := range []struct {
		ref     string
		version int32
		arm     string
		reason  apierr.Reason
	}{
		{ref: "one", version: 1},
		{ref: "prod", version: 2},
		{ref: "prod@candidate", version: 3},
		{ref: "prod@v1", version: 1},
		{ref: "prod@" + fakes.VersionDigest("prod", 3), version: 3},
		{ref: "split", version: 2, arm: "new"},
		{ref: "split@production", version: 1},
		{ref: "split@v2", version: 2},
		{ref: "many", reason: apierr.FailedPrecondition},
		{ref: "many@v2", version: 2},
		{ref: "empty", reason: apierr.FailedPrecondition},
		// What names a version that is not there, or does not add up, is left out.
		{ref: "broken", reason: apierr.FailedPrecondition},
		{ref: "none", reason: apierr.ModelNotFound},
		{ref: "prod@v4", reason: apierr.ModelNotFound},
		{ref: "prod@staging", reason: apierr.ModelNotFound},
		{ref: "prod@" + fakes.VersionDigest("one", 1), reason: apierr.ModelNotFound},
		{ref: "one@production", reason: apierr.ModelNotFound},
		{ref: "Bad Name", reason: apierr.InvalidArgument},
		{ref: "", reason: apierr.InvalidArgument},
	} {
		got, err := s.Resolve(c.ref, "key")
		if c.reason != "" {
			if apierr.ReasonOf(err) != c.reason || apierr.From(err).Field != "model" {
				t.Errorf("Resolve(%q): %v; want %s of the field model", c.ref, err, c.reason)
			}
			continue
		}
		if err != nil || got.Version.Number != c.version || got.Arm != c.arm {
			t.Errorf("Resolve(%q) = %+v, %v; want version %d, arm %q", c.ref, got, err, c.version, c.arm)
		}
	}
}

func TestResolveFollowsTheSplit(t *testing.T) {
	t.Parallel()
	s := snapshot(fakes.Model("m", 2, fakes.Split("control", 1, 900_000), fakes.Split("candidate", 2, 100_000)))
	const n = 20_000
	candidates := 0
	for i := range n {
		key := fmt.Sprintf("user:%d", i)
		first, err := s.Resolve("m", key)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := s.Resolve("m", key)
		if first != again {
			t.Fatalf("key %q fell into %q and then into %q", key, first.Arm, again.Arm)
		}
		if want := map[string]int32{"control": 1, "candidate": 2}[first.Arm]; first.Version.Number != want {
			t.Fatalf("arm %q is served by version %d", first.Arm, first.Version.Number)
		}
		if first.Arm == "candidate" {
			candidates++
		}
	}
	if share := float64(candidates) / n; math.Abs(share-0.1) > 0.011 { // five standard deviations
		t.Errorf("%.4f of the keys met the candidate; want 0.1", share)
	}
}

func TestServing(t *testing.T) {
	t.Parallel()
	shared := fakes.Model("twin", 1)
	shared.Versions[0].Digest = fakes.VersionDigest("one", 1)
	s := snapshot(
		fakes.Model("one", 1), shared,
		fakes.Model("prod", 4, fakes.Alias("production", 2), fakes.Alias("old", 1)),
		fakes.Model("split", 3, fakes.Split("a", 1, 1_000_000), fakes.Split("warm", 2, 0)),
		fakes.Model("many", 2),
	)
	var got []string
	for _, v := range s.Serving() {
		got = append(got, v.Digest)
	}
	want := []string{
		fakes.VersionDigest("one", 1), fakes.VersionDigest("one", 1), // each model's own
		fakes.VersionDigest("prod", 1), fakes.VersionDigest("prod", 2),
		fakes.VersionDigest("split", 1), fakes.VersionDigest("split", 2),
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("serving %v; want %v", got, want)
	}
	for _, d := range want {
		if !s.Serves(d) {
			t.Errorf("Serves(%s) = false", d)
		}
	}
	if s.Serves(fakes.VersionDigest("many", 1)) || s.Serves(fakes.VersionDigest("split", 3)) {
		t.Error("a version that no name leads to is said to serve")
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := snapshot(fakes.Model("b", 1), fakes.Model("d", 1), fakes.Model("a", 1), fakes.Model("c", 1))
	var names []string
	after := ""
	for {
		page, more := s.Page(after, 3)
		for _, m := range page {
			names = append(names, m.Name())
			after = m.Name()
		}
		if !more {
			break
		}
	}
	if !slices.Equal(names, []string{"a", "b", "c", "d"}) {
		t.Errorf("pages hold %v", names)
	}
	if page, more := s.Page("bb", 1); len(page) != 1 || page[0].Name() != "c" || !more {
		t.Errorf("the page after a name that is gone is %v, more %t", page, more)
	}
}
