package lexical

import (
	"bytes"
	"slices"
	"sort"
	"sync/atomic"
)

// blockDocs is how many passages of a segment a block spans. Blocks have the
// same bounds in every list, so that the blocks of a query's words lie above
// each other (Dimopoulos, Nepomnyachiy and Suel, "Optimizing top-k document
// retrieval strategies for block-max indexes", WSDM 2013), and a passage's place
// in its block takes one byte.
const blockDocs = 256

// list holds the postings of one term in one segment: which passages have the
// term and how often. It is immutable.
type list struct {
	blocks []block
	places []uint8 // of passages in their blocks
	freqs  []uint8 // how often each has the term; manyTimes: see many
	many   []frequent
	// gone remembers how many of the passages are deleted: for how many deletions
	// of the segment, and the count, 32 bits each.
	gone atomic.Uint64
}

// block is where a list's postings for one block lie. Within it, those come
// first that no other beats: for each of the rest there is one of them that has
// the term as often or oftener and is as short or shorter, so the best score of
// the block is one of theirs whatever the average length is ("impacts" in
// Lucene; Ding and Suel, "Faster top-k document retrieval using block-max
// indexes", SIGIR 2011).
type block struct {
	number   uint32
	start    uint32
	unbeaten uint32
}

// frequent is a posting whose frequency does not fit into a byte.
type frequent struct{ posting, freq uint32 }

// manyTimes stands for a frequency that many has.
const manyTimes = 255

// end returns where the postings of the block end.
func (l *list) end(i int) uint32 {
	if i+1 < len(l.blocks) {
		return l.blocks[i+1].start
	}
	return uint32(len(l.places))
}

func (l *list) freq(posting uint32) float64 {
	f := l.freqs[posting]
	if f != manyTimes {
		return float64(f)
	}
	i := sort.Search(len(l.many), func(i int) bool { return l.many[i].posting >= posting })
	return float64(l.many[i].freq)
}

// find returns the posting of a place between two postings.
func (l *list) find(start, end uint32, place uint8) (uint32, bool) {
	i := bytes.IndexByte(l.places[start:end], place)
	return start + uint32(i), i >= 0
}

// memory returns about how many bytes the list takes.
func (l *list) memory() int64 {
	const header = 128
	return header + int64(12*cap(l.blocks)+cap(l.places)+cap(l.freqs)+8*cap(l.many))
}

// posting is one entry of a list while it is built.
type posting struct {
	doc, freq, length uint32
}

// builder makes a list of postings that are added in the order of passages.
type builder struct {
	list *list
	open []posting // of the last block
	best []posting // those that no other of open beats
}

func newBuilder(postings, blocks int) *builder {
	return &builder{
		list: &list{
			blocks: make([]block, 0, min(postings, blocks)),
			places: make([]uint8, 0, postings),
			freqs:  make([]uint8, 0, postings),
		},
		open: make([]posting, 0, min(postings, blockDocs)),
	}
}

func (b *builder) add(p posting) {
	if len(b.open) > 0 && b.open[0].doc/blockDocs != p.doc/blockDocs {
		b.flush()
	}
	b.open = append(b.open, p)
}

// flush writes the last block.
func (b *builder) flush() {
	if len(b.open) == 0 {
		return
	}
	b.best = b.best[:0]
	for _, p := range b.open {
		if slices.ContainsFunc(b.best, func(q posting) bool { return beats(q, p) }) {
			continue
		}
		b.best = append(slices.DeleteFunc(b.best, func(q posting) bool { return beats(p, q) }), p)
	}
	l := b.list
	l.blocks = append(l.blocks, block{
		number: b.open[0].doc / blockDocs, start: uint32(len(l.places)), unbeaten: uint32(len(b.best)),
	})
	for _, p := range b.best {
		b.put(p)
	}
	next := 0 // of best, which is in order
	for _, p := range b.open {
		if next < len(b.best) && b.best[next].doc == p.doc {
			next++
			continue
		}
		b.put(p)
	}
	b.open = b.open[:0]
}

// beats reports whether p scores as high as q or higher at any average length.
func beats(p, q posting) bool { return p.freq >= q.freq && p.length <= q.length }

func (b *builder) put(p posting) {
	l := b.list
	f := uint8(manyTimes)
	if p.freq < manyTimes {
		f = uint8(p.freq)
	} else {
		l.many = append(l.many, frequent{posting: uint32(len(l.places)), freq: p.freq})
	}
	l.places, l.freqs = append(l.places, uint8(p.doc%blockDocs)), append(l.freqs, f)
}

// done returns the list.
func (b *builder) done() *list {
	b.flush()
	if l := b.list; cap(l.blocks) > 2*len(l.blocks) {
		l.blocks = slices.Clone(l.blocks)
	}
	return b.list
}
