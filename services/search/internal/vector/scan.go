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

// Nearest returns the rows among ranges that are nearest to the query by
// cosine, best first, at most limit. The query is scaled by the caller
// (Normalized) and has the matrix's width. id decides between equal scores; it
// is called by several goroutines at once.
func (m *Matrix) Nearest(query []float32, ranges []Range, limit int, id func(row uint32) string) []topk.Item {
	total := 0
	for _, r := range ranges {
		total += int(r.Count)
	}
	workers := 1
	if total >= parallelRows {
		workers = min(runtime.GOMAXPROCS(0), total/(parallelRows/2))
	}
	if workers == 1 {
		c := topk.New(limit, id)
		m.scan(query, ranges, c)
		return c.Best()
	}
	parts := split(ranges, total, workers)
	found := make([]*topk.Collector, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		found[i] = topk.New(limit, id)
		wg.Go(func() { m.scan(query, part, found[i]) })
	}
	wg.Wait()
	for _, c := range found[1:] {
		for _, it := range c.Items() {
			found[0].Offer(it)
		}
	}
	return found[0].Best()
}

func (m *Matrix) scan(query []float32, ranges []Range, c *topk.Collector) {
	for _, r := range ranges {
		for row := r.First; row < r.First+r.Count; row++ {
			score := float64(Dot(query, m.Row(int(row))))
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
	var part []Range
	left := size
	for _, r := range ranges {
		for r.Count > 0 {
			n := min(r.Count, left)
			part = append(part, Range{r.First, n})
			r.First, r.Count, left = r.First+n, r.Count-n, left-n
			if left == 0 {
				out, part, left = append(out, part), nil, size
			}
		}
	}
	if len(part) > 0 {
		out = append(out, part)
	}
	return out
}
