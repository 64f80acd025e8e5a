package store_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Whatever happens to a version's variants: its state changes exactly with the
// revision, its encoding is never larger than what is counted, names are in
// order, contents and names unique, losses numbers, and sources no rings.
func (s suite) randomVariants(t *testing.T) {
	const steps = 200
	e := newEnv(t, s.databases, store.Options{MaxModelBytes: 1300})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	e.model("m")
	e.version("m", 1)
	before, revision, bare := e.state("m"), e.revision(), e.versionBytes("m")
	outcomes := make(map[apierr.Reason]int)
	for range steps {
		err := e.mutateVariants(rnd)
		outcomes[apierr.ReasonOf(err)]++
		after, now := e.state("m"), e.revision()
		if same := proto.Equal(before.GetVersions()[0], after.GetVersions()[0]); same != (now == revision) || (err != nil && !same) {
			t.Fatalf("revision %d after %d, error %v\nbefore %v\nafter  %v", now, revision, err, before, after)
		}
		e.checkVariants(after.GetVersions()[0])
		before, revision = after, now
	}
	for _, v := range before.GetVersions()[0].GetVariants() {
		check(t, e.DeleteVariant(t.Context(), "", "m", number(1), v.GetName()))
	}
	if got := e.versionBytes("m"); got != bare {
		t.Errorf("%d bytes are counted without variants, want %d", got, bare)
	}
	t.Logf("outcomes: %v", outcomes)
	if outcomes[""] < steps/10 {
		t.Errorf("hardly anything was done: %v", outcomes)
	}
}

// mutateVariants makes one random change of the variants of m@v1.
func (e *env) mutateVariants(rnd *rand.Rand) error {
	e.t.Helper()
	name := func() string { return fmt.Sprintf("q%d", rnd.IntN(5)) }
	if rnd.IntN(4) == 0 {
		return e.DeleteVariant(e.t.Context(), "", "m", number(1), name())
	}
	var quality *registryv1.Quality
	switch rnd.IntN(3) {
	case 0:
		quality = &registryv1.Quality{Loss: float64(rnd.IntN(3))}
	case 1:
		quality = perplexities(float64(rnd.IntN(4)), float64(rnd.IntN(4)), []string{"", "base", name(), name()}[rnd.IntN(4)])
	}
	_, err := e.tryAdd("m", name(), rnd.IntN(5), quality)
	return err
}

func (e *env) checkVariants(version *registryv1.Version) {
	e.t.Helper()
	digests := map[string]bool{version.GetDigest(): true}
	var names []string
	sources := make(map[string]string)
	for _, v := range version.GetVariants() {
		names = append(names, v.GetName())
		if digests[v.GetDigest()] {
			e.t.Errorf("the content of %s is there twice", v.GetName())
		}
		digests[v.GetDigest()] = true
		if loss := v.GetQuality().GetLoss(); math.IsNaN(loss) || math.IsInf(loss, 0) || loss < -1 {
			e.t.Errorf("the loss of %s is %v", v.GetName(), loss)
		}
		sources[v.GetName()] = v.GetQuality().GetSource()
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		e.t.Errorf("the names are %q", names)
	}
	for _, name := range names {
		at := name
		for range names {
			at = sources[at]
		}
		if sources[at] != "" {
			e.t.Errorf("the sources of %s lead nowhere: %v", name, sources)
		}
	}
	// One byte of tag and up to three of length are the model's.
	if counted, taken := e.versionBytes("m"), int64(proto.Size(version)+4); taken > counted {
		e.t.Errorf("the version takes %d bytes, %d are counted", taken, counted)
	}
}

// state returns the whole state of a model.
func (e *env) state(model string) *registryv1.ModelState {
	e.t.Helper()
	page, err := e.Page(e.t.Context(), "")
	check(e.t, err)
	for _, st := range page.Models {
		if st.GetModel().GetName() == model {
			return st
		}
	}
	e.t.Fatalf("the model %s is not there", model)
	return nil
}

// versionBytes returns what is counted of a model.
func (e *env) versionBytes(model string) (n int64) {
	e.t.Helper()
	err := e.raw().QueryRowContext(e.t.Context(), `SELECT version_bytes FROM registry_models WHERE name = $1`, model).Scan(&n)
	check(e.t, err)
	return n
}
