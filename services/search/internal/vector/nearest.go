package vector

import "github.com/poterne/poterne/services/search/internal/topk"

const (
	// perHit is how many rows are compared for each one that is wanted, at
	// first, and leastCompared how many in any case.
	perHit        = 20
	leastCompared = 512
	// sketchGain is how many times as many rows there must be as will be
	// compared: below it, to compare all is as fast.
	sketchGain = 2
	// parallelSketches is how many sketches make a second processor worth waking.
	parallelSketches = 32768
)

// sketchable reports whether total rows are better searched by sketches. A
// query without a direction has the same score with every row, so that no
// sketch can tell which are best; and where rows differ in length, their
// directions alone do not tell.
func (m *Matrix) sketchable(query []float32, total, limit int) bool {
	return m.sketches.made() && limit > 0 && total >= sketchRows &&
		total >= sketchGain*firstCompared(limit) && Dot(query, query) > 0 &&
		(m.layout.Metric == Cosine || m.lengths.even())
}

func firstCompared(limit int) int { return max(perHit*limit, leastCompared) }

// sketched compares the rows whose sketches differ least from the query's. If
// many of the best are found among the last that were compared, there may be
// better ones among the next, and it goes on with those: rows whose sketches
// tell little are compared all in the end, and nothing is lost in silence.
//
// All rows whose sketches differ in equally many bits are compared together,
// so that what is found does not depend on the rows' order.
func (m *Matrix) sketched(query []float32, ranges []Range, total, limit int, id func(row uint32) string) []topk.Item {
	wanted := limit
	limit = max(limit, leastJudged)
	parts := deal(ranges, total, parallelSketches)
	surveys := make([]*survey, len(parts))
	found := make([]*topk.Collector, len(parts))
	q, bits := m.question(query), m.sketches.of(m.scaled(query))
	each(len(parts), func(i int) {
		surveys[i], found[i] = m.survey(), topk.New(limit, topk.ByID(id))
		surveys[i].measure(&m.sketches, bits, parts[i])
	})
	at := surveys[0].counts
	for _, s := range surveys[1:] {
		for d, n := range s.counts {
			at[d] += n
		}
	}
	var best []topk.Item
	from := 0
	for want := firstCompared(limit); ; want *= widening {
		if want > total/mostShare {
			want = total
		}
		to, reached := radius(at, want)
		each(len(parts), func(i int) { m.compare(q, surveys[i], from, to, found[i]) })
		best = merged(found, limit, id)
		if reached == total || m.settled(best, bits, at, reached) {
			break
		}
		from = to + 1
	}
	for _, s := range surveys {
		m.surveys.Put(s)
	}
	return best[:min(wanted, len(best))]
}

const (
	// widening is how many times as many rows are compared when too many of the
	// best were among the last.
	widening = 2
	// coreShare is the share of the compared rows, nearest first, that must hold
	// the best but for one in edgeShare. Where 5 of 100 come from beyond it, less
	// than one in 100 was found to lie outside of what was compared.
	coreShare = 4
	edgeShare = 20
	// leastJudged is how many of the best are looked at in any case: fewer may lie
	// well by chance.
	leastJudged = 32
	// mostShare is the share of all rows beyond which all are compared: sketches
	// that have not told until then tell too little.
	mostShare = 2
)

// settled reports whether the best lie well within the compared rows.
func (m *Matrix) settled(best []topk.Item, bits []uint64, at []uint32, reached int) bool {
	core, _ := radius(at, reached/coreShare)
	edge := 0
	var distance [1]uint16
	for _, it := range best {
		hamming(m.sketches.at(it.Key, 1), bits, distance[:])
		if int(distance[0]) > core {
			edge++
		}
	}
	return edge <= len(best)/edgeShare
}

// radius returns the least distance within which there are at least want rows,
// and how many there are.
func radius(at []uint32, want int) (distance, rows int) {
	for d, n := range at {
		if rows += int(n); rows >= want {
			return d, rows
		}
	}
	return len(at) - 1, rows
}

// compareBatch is how many rows are asked of memory at once.
const compareBatch = 8

// compare offers the rows whose sketches differ in from to to bits.
func (m *Matrix) compare(q *question, s *survey, from, to int, c *topk.Collector) {
	s.within(from, to, func(rows []uint32) {
		s.touched ^= m.touch(rows)
		for _, row := range rows {
			if score := m.score(q, int(row)); c.Wants(score) {
				c.Offer(topk.Item{Key: row, Score: score})
			}
		}
	})
}

// cacheLine is how many bytes come from memory together.
const cacheLine = 64

// touch reads a byte of every line of the rows, which lie far apart: a processor
// waits for several lines at once as long as nothing is computed from them.
func (m *Matrix) touch(rows []uint32) (read byte) {
	stride := m.layout.Stride()
	for _, row := range rows {
		b := m.blocks[row/blockRows].raw(m.layout)
		at := int(row%blockRows) * stride
		b = b[at : at+stride]
		for i := 0; i < len(b); i += cacheLine {
			read ^= b[i]
		}
	}
	return read
}
