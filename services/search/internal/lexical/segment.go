package lexical

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"
)

// segment is what is remembered of one of scorch's segments, which never
// change: it is kept as long as any view has the segment.
type segment struct {
	index *Index
	id    uint64
	views int // under index.mu

	entries map[string]*entry // under the cache's lock

	// lengths are those of passages in terms, known once a list with the passage
	// was read.
	lengths []atomic.Uint32

	numbering sync.Mutex // held by the one who numbers
	numbers   atomic.Pointer[numbers]
}

// numbers are the rows of a segment's passages, plus one; 0: none.
type numbers struct {
	layout any
	rows   []uint32
}

// placed is a segment in a view.
type placed struct {
	*segment
	snapshot *scorch.SegmentSnapshot
	// base is where its passages begin among those of the view; a multiple of
	// blockDocs.
	base uint32
	// first is scorch's own number of the first.
	first   uint32
	deleted *roaring.Bitmap // nil: none
	gone    uint32          // how many that are
}

func (p *placed) blocks() int { return (len(p.lengths) + blockDocs - 1) / blockDocs }

func (p *placed) isDeleted(doc uint32) bool { return p.deleted != nil && p.deleted.Contains(doc) }

// postings returns the list of an entry of this segment.
func (p *placed) postings(e *entry) (*list, error) {
	return p.index.cache.postings(e, func() (*list, error) { return p.read(e.term) })
}

// read reads a term's postings, those of deleted passages too.
func (p *placed) read(term string) (*list, error) {
	dict, err := p.snapshot.Segment().Dictionary(field)
	if err != nil {
		return nil, fmt.Errorf("lexical index: open a dictionary: %w", err)
	}
	found, err := dict.PostingsList([]byte(term), nil, nil)
	if err != nil {
		return nil, fmt.Errorf("lexical index: read a term: %w", err)
	}
	out := newBuilder(int(found.Count()), p.blocks())
	for it := found.Iterator(true, true, false, nil); ; {
		next, err := it.Next()
		if err != nil {
			return nil, fmt.Errorf("lexical index: read postings: %w", err)
		}
		if next == nil {
			return out.done(), nil
		}
		doc, length := next.Number(), lengthOf(next)
		if doc >= uint64(len(p.lengths)) {
			return nil, fmt.Errorf("lexical index: passage %d of %d", doc, len(p.lengths))
		}
		if known := &p.lengths[doc]; known.Load() == 0 {
			known.Store(length)
		}
		out.add(posting{doc: uint32(doc), freq: uint32(next.Frequency()), length: length})
	}
}

// lengthOf returns how many terms the passage of a posting has, as kept. The format has
// the number itself; its interface has 1/sqrt of it.
func lengthOf(p interface{ Norm() float64 }) uint32 {
	if exact, ok := p.(interface{ NormUint64() uint64 }); ok {
		return kept(uint32(exact.NormUint64()))
	}
	return kept(uint32(math.Round(1 / (p.Norm() * p.Norm()))))
}

// live returns how many passages of the list are not deleted.
func (p *placed) live(l *list) uint64 {
	all := uint64(len(l.places))
	if p.gone == 0 || all == 0 {
		return all
	}
	// A segment's passages are deleted one after another and never come back: as
	// many deletions are the same deletions.
	if known := l.gone.Load(); known>>32 == uint64(p.gone) {
		return all - known&math.MaxUint32
	}
	gone := p.deletedOf(l)
	l.gone.Store(uint64(p.gone)<<32 | gone)
	return all - gone
}

func (p *placed) deletedOf(l *list) (n uint64) {
	if int(p.gone) < len(l.places)/8 {
		i := 0
		for it := p.deleted.Iterator(); it.HasNext(); {
			doc := it.Next()
			for i < len(l.blocks) && l.blocks[i].number < doc/blockDocs {
				i++
			}
			if i == len(l.blocks) {
				break
			}
			if l.blocks[i].number == doc/blockDocs {
				if _, ok := l.find(l.blocks[i].start, l.end(i), uint8(doc%blockDocs)); ok {
					n++
				}
			}
		}
		return n
	}
	for i, bl := range l.blocks {
		for _, place := range l.places[bl.start:l.end(i)] {
			if p.deleted.Contains(bl.number*blockDocs + uint32(place)) {
				n++
			}
		}
	}
	return n
}

// number returns the rows of the segment's passages. They are looked up once
// for each layout.
func (p *placed) number(rows Rows) ([]uint32, error) {
	if n := p.numbers.Load(); n != nil && n.layout == rows.Layout {
		return n.rows, nil
	}
	p.numbering.Lock()
	defer p.numbering.Unlock()
	if n := p.numbers.Load(); n != nil && n.layout == rows.Layout {
		return n.rows, nil
	}
	n := &numbers{layout: rows.Layout, rows: make([]uint32, len(p.lengths))}
	for doc := range n.rows {
		id, err := p.snapshot.DocID(uint64(doc))
		if err != nil {
			return nil, fmt.Errorf("lexical index: read an id: %w", err)
		}
		k, ok := decode(id)
		if !ok {
			continue
		}
		if row, ok := rows.Row(k); ok {
			n.rows[doc] = row + 1
		}
	}
	p.numbers.Store(n)
	return n.rows, nil
}
