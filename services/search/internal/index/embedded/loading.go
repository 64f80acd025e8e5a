package embedded

import (
	"errors"
	"fmt"

	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/vector"
	"github.com/poterne/poterne/services/search/internal/vector/segment"
)

// loadBytes is how many bytes of vectors are made durable at once while a
// collection is loaded.
const loadBytes = 4 << 20

// loading makes a memory that nobody sees yet: of the rows that the store has,
// and of those that it is given.
type loading struct {
	c *collection
	m *memory
	// at is where the store's versions are; nil when what it has is kept
	// otherwise.
	at map[int64]found

	pending []index.Document
	bytes   int
}

// found is where a version's rows are.
type found struct {
	segment.Key
	first uint32
}

// loading begins with the rows of the store.
func (c *collection) loading() (*loading, error) {
	c.stopMerging()
	if err := c.reopen(); err != nil {
		return nil, err
	}
	l := &loading{c: c, m: newMemory(), at: make(map[int64]found)}
	if !c.fits() {
		return l, nil
	}
	layout, _ := c.store.Layout()
	l.m.vectors = vector.New(layout)
	for _, seg := range c.store.Segments() {
		first := uint32(l.m.vectors.Attach(seg.Blocks()))
		seg.Unneeded()
		l.m.parts = append(l.m.parts, part{segment: seg, first: first})
		for _, k := range seg.Keys() {
			l.at[k.No] = found{k, first}
			first += k.Count
		}
	}
	l.m.tail = uint32(l.m.vectors.Rows())
	err := c.store.ReadTail(func(v segment.Version) error {
		l.at[v.No] = found{v.Key, l.m.appendRows(v)}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("embedded index: %w", err)
	}
	return l, nil
}

// reopen opens the store again after a failure that left open what is on disk.
func (c *collection) reopen() error {
	if !c.store.Broken() {
		return nil
	}
	c.forget(nil)
	err := c.store.Close()
	store, oerr := segment.Open(c.dir, c.logger)
	if oerr != nil {
		return errors.Join(err, fmt.Errorf("embedded index: %w", oerr))
	}
	c.store = store
	return nil
}

// add adds a version.
func (l *loading) add(d index.Document) error {
	at, ok := l.at[d.No]
	if ok && int(at.Count) == len(d.Chunks) && l.m.vectors != nil {
		l.m.add(d, at.Key, at.first)
		return nil
	}
	if d.Kept {
		return errNotKept
	}
	l.pending = append(l.pending, d)
	for _, ch := range d.Chunks {
		l.bytes += 4 * len(ch.Vector)
	}
	if l.bytes < loadBytes {
		return nil
	}
	return l.flush()
}

// flush makes what is pending durable.
func (l *loading) flush() error {
	if err := l.widen(); err != nil {
		return err
	}
	rows, err := l.c.keep(l.pending, l.m)
	if err != nil {
		return err
	}
	for i, d := range l.pending {
		l.m.add(d, rows[i].Key, l.m.appendRows(rows[i]))
	}
	l.pending, l.bytes = nil, 0
	if l.c.store.TailBytes() < l.c.limits.seal {
		return nil
	}
	seg, err := l.c.store.Seal()
	if err != nil {
		return fmt.Errorf("embedded index: %w", err)
	}
	if seg != nil {
		l.m.sealed(seg)
	}
	return nil
}

// widen begins anew when the vectors have other dimensions than what the store
// has, of which then nothing is wanted.
func (l *loading) widen() error {
	if l.m.vectors == nil || l.m.stats.Passages > 0 || len(l.pending) == 0 || len(l.pending[0].Chunks) == 0 ||
		len(l.pending[0].Chunks[0].Vector) == l.m.vectors.Width() {
		return nil
	}
	old := l.m
	l.m = newMemory()
	for it := old.live.Iterator(); it.HasNext(); { // versions without chunks
		s := old.slots[it.Next()]
		l.m.copy(old, s, s.first)
	}
	clear(l.at)
	return nil
}

// done returns the memory.
func (l *loading) done() (*memory, error) {
	if len(l.pending) > 0 {
		if err := l.flush(); err != nil {
			return nil, err
		}
	}
	for _, p := range l.m.parts { // sketches may have been made anew
		p.segment.Unneeded()
	}
	return l.m, nil
}
