package lexical

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/blevesearch/bleve/v2/index/scorch"

	"github.com/poterne/poterne/services/search/internal/topk"
)

// View is the index as it was at one moment. It is safe for concurrent use.
type View struct {
	index    *Index
	snapshot *scorch.IndexSnapshot
	segments []placed // largest first
	span     uint32   // passages, with gaps between segments
	places   atomic.Pointer[places]
}

// places are where the rows lie among the view's passages, plus one; 0: nowhere.
type places struct {
	layout any
	of     []uint32
}

// Rows tells what the rest of the index knows of passages.
type Rows struct {
	// Layout is the same, by ==, as long as a passage keeps its row.
	Layout any
	// Row returns the row of a passage, and whether there is one.
	Row func(k Key) (uint32, bool)
	// Allowed reports whether the row may be found; nil allows all.
	Allowed func(row uint32) bool
	// Few are the rows that Allowed allows, where they are few; nil otherwise.
	Few iter.Seq[uint32]
	// Order decides between equal scores.
	Order topk.Order
}

// View opens a view of what was written until now. Close it.
func (x *Index) View() (*View, error) {
	snapshot, err := x.reader()
	if err != nil {
		return nil, err
	}
	v := &View{index: x, snapshot: snapshot}
	x.mu.Lock()
	defer x.mu.Unlock()
	first := uint32(0)
	for _, s := range snapshot.Segments() {
		p := placed{segment: x.segment(s), snapshot: s, base: v.span, first: first}
		first += uint32(len(p.lengths))
		if d := s.Deleted(); d != nil && !d.IsEmpty() {
			p.deleted, p.gone = d, uint32(d.GetCardinality())
		}
		v.span += uint32(p.blocks() * blockDocs)
		v.segments = append(v.segments, p)
	}
	slices.SortFunc(v.segments, func(a, b placed) int { return cmp.Compare(len(b.lengths), len(a.lengths)) })
	return v, nil
}

// segment returns what is remembered of a segment, for one more view; x.mu is
// held.
func (x *Index) segment(s *scorch.SegmentSnapshot) *segment {
	known := x.segments[s.Id()]
	if known == nil {
		known = &segment{
			index: x, id: s.Id(), entries: make(map[string]*entry),
			lengths: make([]atomic.Uint32, s.FullSize()),
		}
		x.segments[s.Id()] = known
	}
	known.views++
	return known
}

// Close releases the view.
func (v *View) Close() error {
	v.index.release(v.segments)
	if err := v.snapshot.Close(); err != nil {
		return fmt.Errorf("lexical index: close a view: %w", err)
	}
	return nil
}

func (x *Index) release(segments []placed) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range segments {
		if p.views--; p.views == 0 {
			delete(x.segments, p.id)
			x.cache.forget(p.segment)
		}
	}
}

// What is read beforehand: of segments of at least that size, at most so many
// terms, until they have so many postings.
const (
	preparedSegment  = 4096
	preparedTerms    = 1024
	preparedPostings = 1 << 22
)

// Prepare does what the first searches would have to wait for: it looks up the
// rows of new segments, and reads from large ones what was searched for last.
func (v *View) Prepare(rows Rows) error {
	var terms []string
	for i := range v.segments {
		p := &v.segments[i]
		if _, err := p.number(rows); err != nil {
			return err
		}
		if len(p.lengths) < preparedSegment || v.index.cache.has(p.segment) {
			continue
		}
		if terms == nil {
			terms = v.index.cache.recent(v.index, preparedTerms)
		}
		if err := p.prepare(terms); err != nil {
			return err
		}
	}
	return nil
}

func (p *placed) prepare(terms []string) error {
	postings := 0
	for _, t := range terms {
		for _, e := range p.index.cache.entries(nil, []placed{*p}, t) {
			l, err := p.postings(e)
			if err != nil {
				return err
			}
			postings += len(l.places)
		}
		if postings > preparedPostings {
			break
		}
	}
	return nil
}

// where returns the places of the rows.
func (v *View) where(rows Rows) ([]uint32, error) {
	if w := v.places.Load(); w != nil && w.layout == rows.Layout {
		return w.of, nil
	}
	w := &places{layout: rows.Layout, of: make([]uint32, v.span)}
	for i := range v.segments {
		p := &v.segments[i]
		numbers, err := p.number(rows)
		if err != nil {
			return nil, err
		}
		for doc, row := range numbers {
			if row == 0 || p.isDeleted(uint32(doc)) {
				continue
			}
			if int(row) > len(w.of) { // rows that are gone leave gaps
				w.of = append(w.of, make([]uint32, int(row)-len(w.of))...)
			}
			w.of[row-1] = p.base + uint32(doc) + 1
		}
	}
	v.places.Store(w)
	return w.of, nil
}

// Renumber prepares the view for rows that are about to get other numbers, while
// it is searched: what is known of rows under the layout from will be known under
// the layout to once done is called, when nobody may be searching. moved returns a
// row's number then, and false for one that is gone.
func (v *View) Renumber(from, to any, moved func(row uint32) (uint32, bool)) (done func()) {
	made := make([]*numbers, len(v.segments))
	for i := range v.segments {
		old := v.segments[i].numbers.Load()
		if old == nil || old.layout != from {
			continue
		}
		made[i] = &numbers{layout: to, rows: make([]uint32, len(old.rows))}
		for doc, row := range old.rows {
			if row == 0 {
				continue
			}
			if at, ok := moved(row - 1); ok {
				made[i].rows[doc] = at + 1
			}
		}
	}
	return func() {
		for i, n := range made {
			if n != nil {
				v.segments[i].numbers.Store(n)
			}
		}
	}
}
