package store

import (
	"cmp"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/allocation"
)

// The owners of a layer's points, besides those that run.
const (
	own  = 0 // the experiment that is placed
	free = 1 // nobody
)

// place gives an experiment its share of its layer: points that it had stay or come
// back where they are free, and the rest is taken from those that nobody has. It
// fails when the running experiments of the layer leave too few.
func place(e *registryv1.Experiment, others []*registryv1.Experiment) error {
	ranges, shares, holders := layer(e, others)
	var left int32 = allocation.Whole
	for _, n := range shares[free+1:] {
		left -= n
	}
	if e.GetShare() > left {
		return apierr.New(apierr.FailedPrecondition,
			"the layer %q has %d millionths left, and the experiment %q needs %d: %s of it run",
			e.GetLayer(), left, e.GetName(), e.GetShare(), strings.Join(holders, ", ")).
			WithField("share").WithMetadata("running", strings.Join(holders, ", "))
	}
	shares[own], shares[free] = e.GetShare(), left-e.GetShare()
	ranges = slices.DeleteFunc(allocation.Move(ranges, shares), func(r allocation.Range) bool { return r.Owner != own })
	if len(ranges) > maxRanges {
		return apierr.New(apierr.FailedPrecondition,
			"the experiment %q would lie in %d pieces of the layer %q, and may in %d", e.GetName(), len(ranges), e.GetLayer(), maxRanges).
			WithField("share")
	}
	e.LayerRanges = nil
	for _, r := range ranges {
		e.LayerRanges = append(e.LayerRanges, &registryv1.PointRange{Start: r.Start, End: r.End})
	}
	return nil
}

// layer returns who has which points of the experiment's layer now, how many each
// of the others has, and their names.
func layer(e *registryv1.Experiment, others []*registryv1.Experiment) (ranges []allocation.Range, shares []int32, holders []string) {
	var taken []allocation.Range
	shares = append(shares, 0, 0) // own and free
	for _, o := range others {
		if e.GetLayer() == "" || o.GetLayer() != e.GetLayer() || o.GetState() != running {
			continue
		}
		holders = append(holders, o.GetName())
		shares = append(shares, 0)
		for _, r := range o.GetLayerRanges() {
			owner := len(shares) - 1
			taken = append(taken, allocation.Range{Start: r.GetStart(), End: r.GetEnd(), Owner: owner})
			shares[owner] += r.GetEnd() - r.GetStart()
		}
	}
	ranges = fill(taken, []allocation.Range{{Start: 0, End: allocation.Whole}}, free)
	// What it had is its own where that is free.
	var had []allocation.Range
	for _, r := range e.GetLayerRanges() {
		had = append(had, allocation.Range{Start: r.GetStart(), End: r.GetEnd(), Owner: own})
	}
	kept := slices.DeleteFunc(slices.Clone(ranges), func(r allocation.Range) bool { return r.Owner == free })
	for _, r := range ranges {
		if r.Owner == free {
			kept = append(kept, overlap(had, r)...)
		}
	}
	return fill(kept, []allocation.Range{{Start: 0, End: allocation.Whole}}, free), shares, holders
}

// overlap returns the parts of ranges that lie in within.
func overlap(ranges []allocation.Range, within allocation.Range) []allocation.Range {
	var out []allocation.Range
	for _, r := range ranges {
		if start, end := max(r.Start, within.Start), min(r.End, within.End); start < end {
			out = append(out, allocation.Range{Start: start, End: end, Owner: r.Owner})
		}
	}
	return out
}

// fill returns taken, which do not overlap, with what they leave of whole given to
// the owner.
func fill(taken, whole []allocation.Range, owner int) []allocation.Range {
	taken = slices.SortedFunc(slices.Values(taken), func(a, b allocation.Range) int { return cmp.Compare(a.Start, b.Start) })
	var out []allocation.Range
	for _, w := range whole {
		at := w.Start
		for _, r := range overlap(taken, w) {
			out = append(out, allocation.Range{Start: at, End: r.Start, Owner: owner}, r)
			at = r.End
		}
		out = append(out, allocation.Range{Start: at, End: w.End, Owner: owner})
	}
	return allocation.Join(out)
}

func weights(e *registryv1.Experiment) []int32 {
	out := make([]int32, len(e.GetArms()))
	for i, a := range e.GetArms() {
		out[i] = a.GetWeight()
	}
	return out
}

func armRanges(e *registryv1.Experiment) []allocation.Range {
	out := make([]allocation.Range, len(e.GetArmRanges()))
	for i, r := range e.GetArmRanges() {
		out[i] = allocation.Range{Start: r.GetStart(), End: r.GetEnd(), Owner: int(r.GetArm())}
	}
	return out
}

func setArmRanges(e *registryv1.Experiment, ranges []allocation.Range) {
	e.ArmRanges = make([]*registryv1.ArmRange, len(ranges))
	for i, r := range ranges {
		e.ArmRanges[i] = &registryv1.ArmRange{Start: r.Start, End: r.End, Arm: int32(r.Owner)}
	}
}
