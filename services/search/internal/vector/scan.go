package vector

import (
	"runtime"
	"sync"

	"github.com/poterne/poterne/services/search/internal/topk"
)

// Range is rows that lie together.
type Range struct{ First, Count uint32 }

// parallelRows is how many rows make a second processor worth waking.
const parallelRows = 8192

// Nearest returns the rows among ranges that are nearest to the query by the
// matrix's metric, best first, at most limit. For the cosine the query is scaled
// by the caller (Normalized). It has the matrix's width. id decides between equal scores; it
// is called by several goroutines at once.
//
// Few rows are all compared; of many, those whose sketches are like the
// query's, until the best no longer come from the edge of what was compared
// (see sketched).
func (m *Matrix) Nearest(query []float32, ranges []Range, limit int, id func(row uint32) string) []topk.Item {
	total := rowsIn(ranges)
	if m.sketchable(query, total, limit) {
		return m.sketched(query, ranges, total, limit, id)
	}
	return m.exact(query, ranges, total, limit, id)
}

func rowsIn(ranges []Range) (total int) {
	for _, r := range ranges {
		total += int(r.Count)
	}
	return total
}

// exact compares all rows.
func (m *Matrix) exact(query []float32, ranges []Range, total, limit int, id func(row uint32) string) []topk.Item {
	q, parts := m.question(query), deal(ranges, total, parallelRows)
	found := make([]*topk.Collector, len(parts))
	each(len(parts), func(i int) {
		found[i] = topk.New(limit, topk.ByID(id))
		m.scan(q, parts[i], found[i])
	})
	return merged(found, limit, id)
}

// deal parts the ranges among the processors that are worth waking.
func deal(ranges []Range, total, parallel int) [][]Range {
	if total < parallel {
		return [][]Range{ranges}
	}
	return split(ranges, total, min(runtime.GOMAXPROCS(0), total/(parallel/2)))
}

// each calls fn with 0 to n-1, side by side, and waits.
func each(n int, fn func(i int)) {
	if n == 1 {
		fn(0)
		return
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

// merged returns the best of what several collectors found.
func merged(found []*topk.Collector, limit int, id func(row uint32) string) []topk.Item {
	if len(found) == 1 {
		return found[0].Best()
	}
	all := topk.New(limit, topk.ByID(id))
	for _, c := range found {
		for _, it := range c.Items() {
			all.Offer(it)
		}
	}
	return all.Best()
}

func (m *Matrix) scan(q *question, ranges []Range, c *topk.Collector) {
	for _, r := range ranges {
		for row := r.First; row < r.First+r.Count; row++ {
			score := m.score(q, int(row))
			if c.Wants(score) {
				c.Offer(topk.Item{Key: row, Score: score})
			}
		}
	}
}

// split deals the ranges out in parts of about as many rows each.
func split(ranges []Range, total, parts int) [][]Range {
	size := uint32((total + parts - 1) / parts)
	var out [][]Range
	part := make([]Range, 0, len(ranges)/parts+2)
	left := size
	for _, r := range ranges {
		for r.Count > 0 {
			n := min(r.Count, left)
			part = append(part, Range{r.First, n})
			r.First, r.Count, left = r.First+n, r.Count-n, left-n
			if left == 0 {
				out, part, left = append(out, part), make([]Range, 0, len(ranges)/parts+2), size
			}
		}
	}
	if len(part) > 0 {
		out = append(out, part)
	}
	return out
}

// Exact is Nearest by comparing all rows, whatever their number: what Nearest is
// measured by.
func (m *Matrix) Exact(query []float32, ranges []Range, limit int, id func(row uint32) string) []topk.Item {
	return m.exact(query, ranges, rowsIn(ranges), limit, id)
}
