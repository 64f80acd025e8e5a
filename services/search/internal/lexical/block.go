package lexical

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/poterne/poterne/services/search/internal/topk"
)

// maxPartition is the most contributions to a block of which it is asked which
// are needed: with more, every posting is added up.
const maxPartition = 64

// block offers what one block has.
func (x *finder) block(p *placed, scorers []scorer, number uint32) {
	x.here = x.here[:0]
	postings := 0
	for i := x.windows[number-x.first].head; i != none; i = x.contributions[i].next {
		x.here = append(x.here, x.contributions[i])
		postings += int(x.contributions[i].end - x.contributions[i].start)
	}
	if len(x.here) <= maxPartition {
		slices.SortFunc(x.here, func(a, b contribution) int { return cmp.Compare(a.bound, b.bound) })
	}
	x.below = append(x.below[:0], 0)
	for _, c := range x.here {
		x.below = append(x.below, x.below[len(x.below)-1]+c.bound)
	}
	if x.few {
		if pass := x.passing(p, number); 4*pass.count()*len(x.here) < postings {
			x.eachPassing(p, scorers, number, pass)
			return
		}
	}
	x.addUp(p, scorers, number)
}

// eachPassing looks the passages up that may be found.
func (x *finder) eachPassing(p *placed, scorers []scorer, number uint32, pass marks) {
	for word, set := range pass[:blockWords] {
		for ; set != 0; set &= set - 1 {
			place := uint8(word*64 + bits.TrailingZeros64(set))
			if score, found := x.rest(p, scorers, number, place, 0, len(x.here)); found {
				x.offer(p, number, place, score)
			}
		}
	}
}

// addUp adds up the postings block by block. Words whose bounds together do not
// reach the threshold bring no passage in: they are only asked of passages that
// others have brought (MaxScore; Turtle and Flood, "Query evaluation: strategies
// and optimizations", IPM 31(6), 1995).
func (x *finder) addUp(p *placed, scorers []scorer, number uint32) {
	needed := 0
	if len(x.here) <= maxPartition {
		for needed < len(x.here) && x.below[needed+1] < x.threshold {
			needed++
		}
	}
	lengths := p.lengths[number*blockDocs:]
	for _, c := range x.here[needed:] {
		sc := &scorers[c.scorer]
		for j := c.start; j < c.end; j++ {
			place := sc.list.places[j]
			x.sums[place] += part(sc.weight, sc.list.freq(j), x.model.norm(lengths[place].Load()))
			x.touched[place/64] |= 1 << (place % 64)
		}
	}
	for word := range x.touched {
		for set := x.touched[word]; set != 0; set &= set - 1 {
			place := uint8(word*64 + bits.TrailingZeros64(set))
			score := x.sums[place]
			x.sums[place] = 0
			if score+x.below[needed] < x.threshold || x.few && !x.passing(p, number).has(place) {
				continue
			}
			if score, ok := x.rest(p, scorers, number, place, score, needed); ok {
				x.offer(p, number, place, score)
			}
		}
		x.touched[word] = 0
	}
}

// rest adds what the first contributions have for a passage. It reports false
// as soon as the passage cannot reach the threshold, or when nothing has it.
func (x *finder) rest(p *placed, scorers []scorer, number uint32, place uint8, score float64, first int) (float64, bool) {
	found := first < len(x.here)
	norm := x.model.norm(p.lengths[number*blockDocs+uint32(place)].Load())
	for i := first - 1; i >= 0; i-- {
		if score+x.below[i+1] < x.threshold {
			return 0, false
		}
		c := &x.here[i]
		sc := &scorers[c.scorer]
		if j, ok := sc.list.find(c.start, c.end, place); ok {
			score += part(sc.weight, sc.list.freq(j), norm)
			found = true
		}
	}
	return score, found && score >= x.threshold
}

// offer offers a passage, unless it is deleted or may not be found.
func (x *finder) offer(p *placed, number uint32, place uint8, score float64) {
	doc := number*blockDocs + uint32(place)
	row := x.numbers[doc]
	if row == 0 || p.isDeleted(doc) {
		return
	}
	row--
	if x.rows.Allowed != nil && !x.rows.Allowed(row) {
		return
	}
	x.top.Offer(topk.Item{Key: row, Score: score})
	if worst, full := x.top.Worst(); full {
		x.threshold = worst
	}
}
