package lexical

import (
	"context"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/topk"
)

// scorer is one variant of one word in one segment.
type scorer struct {
	list   *list
	weight float64
}

// Search returns the rows that have any of the terms, best first, at most
// limit. Each word of the query counts as often as the query has it; its
// variants count as one word that is as frequent as the most frequent of them
// (as in Lucene's SynonymQuery), so that a rare spelling does not outweigh a
// common one.
func (v *View) Search(ctx context.Context, terms []analysis.Term, stats Stats, rows Rows, limit int) ([]topk.Item, error) {
	if stats.Passages == 0 || limit <= 0 {
		return nil, nil
	}
	scorers, err := v.scorers(ctx, terms, stats)
	if err != nil {
		return nil, err
	}
	s := v.index.scratch()
	defer v.index.putBack(s)
	s.model.set(stats)
	x := finder{scratch: s, rows: rows, top: topk.New(limit, rows.Order), threshold: -1}
	if rows.Few != nil {
		if err := x.passOnly(v, rows.Few); err != nil {
			return nil, err
		}
	}
	for i := range v.segments {
		if len(scorers[i]) == 0 {
			continue
		}
		if x.numbers, err = v.segments[i].number(rows); err != nil {
			return nil, err
		}
		if err := x.segment(ctx, &v.segments[i], scorers[i]); err != nil {
			return nil, err
		}
	}
	return x.top.Best(), nil
}

// scorers returns the words' postings in each of the view's segments.
func (v *View) scorers(ctx context.Context, terms []analysis.Term, stats Stats) ([][]scorer, error) {
	out := make([][]scorer, len(v.segments))
	var lists []*list // of one word: of each variant in each segment
	var entries []*entry
	for _, t := range terms {
		entries, lists = entries[:0], lists[:0]
		var found uint64
		for _, variant := range t.Variants {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			entries = v.index.cache.entries(entries[:0], v.segments, variant)
			var having uint64
			for i, e := range entries {
				p := &v.segments[i]
				l, err := p.postings(e)
				if err != nil {
					return nil, err
				}
				having += p.live(l)
				lists = append(lists, l)
			}
			found = max(found, having)
		}
		weight := min(float64(t.Count)*stats.idf(found), maxWeight)
		for i, l := range lists {
			if len(l.places) > 0 {
				at := i % len(v.segments)
				out[at] = append(out[at], scorer{list: l, weight: weight})
			}
		}
	}
	return out, nil
}

// finder is one search in the view's segments, one after another.
type finder struct {
	*scratch
	rows    Rows
	top     *topk.Collector
	numbers []uint32 // of the segment

	// threshold is the least score that is of interest: below it are only
	// passages that are worse than limit others.
	threshold float64
	few       bool // pass says which passages may be found
}

// passOnly notes the places of the few rows.
func (x *finder) passOnly(v *View, few func(yield func(uint32) bool)) error {
	where, err := v.where(x.rows)
	if err != nil {
		return err
	}
	x.few = true
	x.pass = resized(x.pass, int(v.span/64))
	clear(x.pass)
	for row := range few {
		if int(row) < len(where) && where[row] > 0 {
			at := where[row] - 1
			x.pass[at/64] |= 1 << (at % 64)
		}
	}
	return nil
}

// passing returns which passages of a block may be found.
func (x *finder) passing(p *placed, number uint32) marks {
	return marks(x.pass[p.base/64+number*blockWords:])
}

// segment offers what the segment has. Block by block, it adds up what the
// words could give there at most, begins with the most promising blocks, and
// leaves those out that cannot reach the threshold (Chakrabarti, Chaudhuri and
// Ganti, "Interval-based pruning for top-k processing over compressed lists",
// ICDE 2011).
func (x *finder) segment(ctx context.Context, p *placed, scorers []scorer) error {
	x.cursors = resized(x.cursors, len(scorers))
	clear(x.cursors)
	step := max(minWindow, maxContributions/len(scorers))
	for first := 0; first < p.blocks(); first += step {
		x.gather(p, scorers, uint32(first), uint32(min(p.blocks(), first+step)))
		for i, at := range x.promising() {
			if i%checkEvery == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if x.windows[at].bound >= x.threshold {
				x.block(p, scorers, uint32(first)+at)
			}
		}
	}
	return nil
}

// gather collects the words' contributions to the blocks from first to last.
func (x *finder) gather(p *placed, scorers []scorer, first, last uint32) {
	x.first = first
	x.windows = resized(x.windows, int(last-first))
	for i := range x.windows {
		x.windows[i] = window{head: none}
	}
	x.contributions = x.contributions[:0]
	for i := range scorers {
		l, weight, at := scorers[i].list, scorers[i].weight, x.cursors[i]
		for ; at < len(l.blocks) && l.blocks[at].number < last; at++ {
			bl := &l.blocks[at]
			if x.few && x.passing(p, bl.number).empty() {
				continue
			}
			bound := 0.0
			base := p.lengths[bl.number*blockDocs:]
			for j := bl.start; j < bl.start+bl.unbeaten; j++ {
				bound = max(bound, part(weight, l.freq(j), x.model.norm(base[l.places[j]].Load())))
			}
			w := &x.windows[bl.number-first]
			x.contributions = append(x.contributions, contribution{
				bound: bound, start: bl.start, end: l.end(at), scorer: int32(i), next: w.head,
			})
			w.head = int32(len(x.contributions) - 1)
			w.bound += bound
		}
		x.cursors[i] = at
	}
}

// promising returns the windows that have contributions, those with the highest
// bounds first: sorted into some ranges of bounds, which is enough.
func (x *finder) promising() []uint32 {
	highest := 0.0
	for _, w := range x.windows {
		highest = max(highest, w.bound)
	}
	var ends [ranges + 1]int
	rangeOf := func(w window) int { return int((1 - w.bound/highest) * (ranges - 1)) }
	count := 0
	for _, w := range x.windows {
		if w.head != none && highest > 0 {
			ends[rangeOf(w)+1]++
		}
		if w.head != none {
			count++
		}
	}
	x.order = resized(x.order, count)
	if highest == 0 { // words that weigh nothing
		x.order = x.order[:0]
		for i, w := range x.windows {
			if w.head != none {
				x.order = append(x.order, uint32(i))
			}
		}
		return x.order
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	for i, w := range x.windows {
		if w.head != none {
			r := rangeOf(w)
			x.order[ends[r]] = uint32(i)
			ends[r]++
		}
	}
	return x.order
}
