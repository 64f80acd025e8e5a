package store_test

import (
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

func (s suite) variantQuality(t *testing.T) {
	var kinds []string
	e := newEnv(t, s.databases, store.Options{Committed: func(c store.Commit) { kinds = append(kinds, c.Kind) }})
	e.model("m")
	e.version("m", 1)
	steps := []struct {
		name    string
		quality *registryv1.Quality
		loss    float64
		changes bool
	}{
		{"not measured", nil, 0, true},
		{"the same again", nil, 0, false},
		{"measured", perplexities(10.5, 10, ""), 0.05, true},
		{"the same measured", perplexities(10.5, 10, "base"), 0.05, false},
		{"with a loss of its own", &registryv1.Quality{Perplexity: 10.5, SourcePerplexity: 10, Loss: 7}, 0.05, false},
		{"without a quality", nil, 0.05, false},
		{"measured again, and better", perplexities(9, 10, ""), -0.1, true},
		{"told", &registryv1.Quality{Loss: 0.3}, 0.3, true},
		{"all is 0", &registryv1.Quality{}, 0, true},
		{"all is 0 again", &registryv1.Quality{}, 0, false},
	}
	want := e.revision()
	for i, step := range steps {
		if step.changes {
			want++
		}
		made := e.add("m", "q4", 1, step.quality)
		got, err := e.GetVariant(t.Context(), "m", number(1), "q4")
		check(t, err)
		if !proto.Equal(got, made) {
			t.Errorf("%s: answered %v, is %v", step.name, made, got)
		}
		if math.Abs(got.GetQuality().GetLoss()-step.loss) > 1e-12 || (got.GetQuality() == nil) != (i < 2) {
			t.Errorf("%s: quality %v, want the loss %v", step.name, got.GetQuality(), step.loss)
		}
		if now := e.revision(); now != want {
			t.Fatalf("%s: revision %d, want %d", step.name, now, want)
		}
	}
	wantKinds := []string{"model created", "version created", "variant created", "variant measured", "variant measured", "variant measured", "variant measured"}
	if !slices.Equal(kinds, wantKinds) {
		t.Errorf("commits %q, want %q", kinds, wantKinds)
	}
}

// A loss is counted from the version's own weights, over however many steps.
func (s suite) variantSources(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	e.add("m", "q8", 1, perplexities(10.1, 10, ""))
	e.add("m", "q4", 2, perplexities(11, 10, "q8"))
	e.add("m", "q2", 3, perplexities(20, 10, "q4"))
	loss := func(name string) float64 {
		v, err := e.GetVariant(ctx, "m", number(1), name)
		check(t, err)
		return v.GetQuality().GetLoss()
	}
	want := func(name string, want float64) {
		t.Helper()
		if got := loss(name); math.Abs(got-want) > 1e-12 {
			t.Errorf("the loss of %s is %v, want %v", name, got, want)
		}
	}
	want("q8", 0.01)
	want("q4", 1.01*1.1-1)
	want("q2", 1.01*1.1*2-1)

	for _, ring := range [][2]string{{"q8", "q8"}, {"q8", "q4"}, {"q8", "q2"}, {"q4", "q2"}} {
		_, err := e.tryAdd("m", ring[0], map[string]int{"q8": 1, "q4": 2}[ring[0]], perplexities(2, 1, ring[1]))
		wantReason(t, err, apierr.InvalidArgument, "quality.source")
	}

	// A loss is that of the moment it was measured.
	e.add("m", "q8", 1, perplexities(10.2, 10, ""))
	want("q4", 1.01*1.1-1)
	before := e.revision()
	e.add("m", "q2", 3, perplexities(20, 10, "q4"))
	if now := e.revision(); now != before {
		t.Errorf("the same again moved the revision from %d to %d", before, now)
	}
	e.add("m", "q4", 2, perplexities(11, 10, "q8")) // counts what q8 lost by now
	want("q4", 1.02*1.1-1)

	// A source may go; what was made from it may be told again, and no more.
	check(t, e.DeleteVariant(ctx, "", "m", number(1), "q8"))
	want("q4", 1.02*1.1-1)
	before = e.revision()
	e.add("m", "q4", 2, perplexities(11, 10, "q8"))
	if now := e.revision(); now != before {
		t.Errorf("the same again moved the revision from %d to %d", before, now)
	}
	_, err := e.tryAdd("m", "q4", 2, perplexities(12, 10, "q8"))
	wantReason(t, err, apierr.NotFound, "quality.source")
	_, err = e.tryAdd("m", "new", 9, perplexities(11, 10, "q8"))
	wantReason(t, err, apierr.NotFound, "quality.source")
}
