package placement

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// Spread keeps every wanted version on as many workers as it wants.
type Spread struct{}

// Plan takes of each version the best variant that fits somewhere, and where none
// does, the best that may be asked for at all. Of workers it prefers, in this
// order: those on which the variant fits as they are; those without another
// variant of the version; those that have its files; those with more free memory,
// in steps of a power of two, because replicas do not see the same number at the
// same time; those with nothing in hand; and the rendezvous hash. Where it does
// not fit, it is asked for last, and there first where the most could be unloaded.
func (Spread) Plan(wanted []Want, workers []Facts) []Load {
	p := planning{
		workers: workers, holders: holders(workers), planned: make(map[spot]bool), free: make(map[*fleet.Worker]int64, len(workers)),
	}
	for _, w := range workers {
		p.free[w.Worker] = w.FreeBytes
	}
	for i := range wanted {
		p.add(&wanted[i])
	}
	return p.loads
}

// planning is a plan as far as it is made.
type planning struct {
	workers []Facts
	holders map[string]int // of each digest, those that are planned included
	planned map[spot]bool
	free    map[*fleet.Worker]int64
	loads   []Load
}

func (p *planning) add(w *Want) {
	forms := w.forms()
	held, best, worst := p.held(w)
	if best < 0 {
		p.begin(w, forms)
		return
	}
	have := held[best]
	if w.Fallback {
		have = 0
		for _, n := range held {
			have += n
		}
	}
	switch missing := w.Replicas - have; {
	case missing > 0 && w.Fallback:
		p.fill(w, forms, missing, have)
	case missing > 0:
		p.take(w, forms[best], p.candidates(forms[best]), missing, have)
	case !w.Improve:
	case w.Fallback:
		better := 0
		for _, n := range held[:worst] {
			better += n
		}
		p.improve(w, forms[:worst], min(1, w.Replicas-better), have)
	default:
		p.improve(w, forms[:best], w.Replicas, have)
	}
}

// held counts the workers that have each form of a version, and says which is the
// best and the worst that some have; below 0 none.
func (p *planning) held(w *Want) (held []int, best, worst int) {
	forms := w.forms()
	held, best, worst = make([]int, len(forms)), -1, -1
	for i, one := range forms {
		if held[i] = p.holders[one.Digest]; held[i] == 0 {
			continue
		}
		if worst = i; best < 0 {
			best = i
		}
	}
	return held, best, worst
}

// begin places a version that nobody has.
func (p *planning) begin(w *Want, forms []*catalog.Variant) {
	if w.Fallback {
		p.fill(w, forms, w.Replicas, 0)
		return
	}
	for _, one := range forms {
		if list := p.candidates(one); len(p.fitting(one, list, 0)) > 0 {
			p.take(w, one, list, w.Replicas, 0)
			return
		}
	}
	p.insist(w, forms, w.Replicas, 0)
}

// fill adds copies, each of the best variant that fits.
func (p *planning) fill(w *Want, forms []*catalog.Variant, missing, have int) {
	for _, one := range forms {
		n := p.take(w, one, p.fitting(one, p.candidates(one), 0), missing, have)
		missing, have = missing-n, have+n
	}
	p.insist(w, forms, missing, have)
}

// insist asks for the best variant that may be asked for, though it does not seem
// to fit: the worker knows better, and says why not.
func (p *planning) insist(w *Want, forms []*catalog.Variant, missing, have int) {
	for _, one := range forms {
		if p.take(w, one, p.candidates(one), missing, have) > 0 {
			return
		}
	}
}

// slack is how much more than a variant's size must be free for it to be loaded
// in a worse one's place, as a divisor: it is not worth trying what hardly fits.
const slack = 4

// improve adds n copies of the best of some variants for which there is room
// beside the worse ones that are held; these go once nobody needs them.
func (p *planning) improve(w *Want, better []*catalog.Variant, n, have int) {
	for _, one := range better {
		list := slices.DeleteFunc(p.candidates(one), func(f Facts) bool { return f.Refused[one.Digest] })
		list = p.fitting(one, list, one.Size/slack)
		if n > 0 && len(list) >= n {
			p.take(w, one, list, n, have)
			return
		}
	}
}

// take adds up to n copies of a variant and returns how many.
func (p *planning) take(w *Want, one *catalog.Variant, list []Facts, n, have int) int {
	taken := 0
	for _, f := range p.rank(w, one, list) {
		if taken >= n {
			break
		}
		p.free[f.Worker] -= one.Size
		p.holders[one.Digest]++
		p.planned[spot{f.ID, one.Digest}] = true
		p.loads = append(p.loads, Load{Want: *w, Variant: one, Worker: f.Worker, Pin: have+taken < w.Pinned})
		taken++
	}
	return taken
}

// candidates are the workers that can be asked for a variant.
func (p *planning) candidates(one *catalog.Variant) []Facts {
	var out []Facts
	for _, w := range p.workers {
		if w.Usable && !w.Holds[one.Digest] && !p.planned[spot{w.ID, one.Digest}] && !w.Blocked[one.Digest] && slices.Contains(w.Engines, one.Spec.GetEngine()) {
			out = append(out, w)
		}
	}
	return out
}

// fitting are those workers on which a variant fits as they are.
func (p *planning) fitting(one *catalog.Variant, list []Facts, more int64) []Facts {
	var out []Facts
	for _, f := range list {
		if p.fits(f, one.Size+more) {
			out = append(out, f)
		}
	}
	return out
}

func (p *planning) fits(f Facts, need int64) bool {
	return !f.Full && p.free[f.Worker] > 0 && p.free[f.Worker] >= need
}

func (p *planning) rank(w *Want, one *catalog.Variant, workers []Facts) []Facts {
	files := Files(one.Spec)
	fits := func(f Facts) int { return truth(p.fits(f, one.Size)) }
	// Two forms of one version on one worker share what makes it slow.
	other := func(f Facts) int {
		return truth(slices.ContainsFunc(w.Version.Variants, func(o *catalog.Variant) bool { return f.Holds[o.Digest] }))
	}
	cached := func(f Facts) int {
		return truth(len(files) > 0 && !slices.ContainsFunc(files, func(file uint64) bool { return !f.Files[file] }))
	}
	step := func(f Facts) int {
		left := p.free[f.Worker]
		if fits(f) == 0 {
			left += f.EvictableBytes
		}
		return bits.Len64(uint64(max(left, 0)))
	}
	idle := func(f Facts) int { return truth(f.Busy == 0) }
	slices.SortFunc(workers, func(a, b Facts) int {
		return cmp.Or(
			cmp.Compare(fits(b), fits(a)),
			cmp.Compare(other(a), other(b)),
			cmp.Compare(cached(b), cached(a)),
			cmp.Compare(step(b), step(a)),
			cmp.Compare(idle(b), idle(a)),
			cmp.Compare(routing.Rendezvous(one.Digest, b.ID), routing.Rendezvous(one.Digest, a.ID)),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return workers
}
