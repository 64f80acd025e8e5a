package embedded

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/lexical"
	"github.com/poterne/poterne/services/search/internal/topk"
	"github.com/poterne/poterne/services/search/internal/vector/segment"
)

// errClosed is what a collection answers after it was dropped or closed.
var errClosed = errors.New("embedded index: the collection is closed")

// errNotReplaced is what a collection answers that has not followed the truth.
var errNotReplaced = errors.New("embedded index: the collection must be replaced first")

// collection is one collection's index.
type collection struct {
	words *lexical.Index
	*vectorFiles

	// writing is held by the one who changes the collection; mu only while what
	// searches see is exchanged.
	writing sync.Mutex
	// failed: a change was made in part, and the words hold more or less than
	// searches see. Under writing.
	failed  bool
	mu      sync.RWMutex
	memory  *memory
	view    *lexical.View
	through int64
	closed  bool
}

func newCollection(words *lexical.Index, files *vectorFiles) *collection {
	return &collection{words: words, vectorFiles: files, memory: newMemory()}
}

// Sequence implements index.Collection. It is 0 until the first Replace.
func (c *collection) Sequence() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.through
}

// Apply implements index.Collection. Vectors and words are written while
// searches go on with what they have; then words and memory change at once.
func (c *collection) Apply(ctx context.Context, ch index.Changes) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.usable(ctx); err != nil {
		return err
	}
	if c.through == 0 || c.failed { // only writers change them
		return index.ErrReplace
	}
	put := fresh(ch.Put, c.memory)
	rows, err := c.keep(put, c.memory)
	if errors.Is(err, segment.ErrNotWritten) {
		return err // nothing has changed, and searches go on
	}
	if err != nil {
		return c.broken(err)
	}
	var gone []lexical.Key
	for _, no := range ch.Remove {
		if n, ok := c.memory.byNo[no]; ok { // only writers change it
			gone = append(gone, keysOf(c.memory.slots[n])...)
		}
	}
	if err := c.words.Write(entries(put), gone); err != nil {
		return c.broken(err)
	}
	view, err := c.words.View()
	if err != nil {
		return c.broken(err)
	}
	if err := c.change(ch, put, rows, view); err != nil {
		return err
	}
	c.compact()
	c.tidy(ctx)
	return c.warm()
}

// change lets searches see a change whose words and vectors are written.
func (c *collection) change(ch index.Changes, put []index.Document, rows []segment.Version, view *lexical.View) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, no := range ch.Remove {
		c.memory.remove(no)
	}
	for i, d := range put {
		c.memory.add(d, rows[i].Key, c.memory.appendRows(rows[i]))
	}
	return c.exchange(c.memory, view, ch.Through)
}

// warm does for a new view, or for rows that have moved, what the first searches
// would wait for.
func (c *collection) warm() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed || c.view == nil {
		return nil
	}
	return c.view.Prepare(c.memory.rows())
}

// fresh returns the documents that memory does not have: numbers stand for the
// same content forever.
func fresh(docs []index.Document, m *memory) []index.Document {
	out := make([]index.Document, 0, len(docs))
	for _, d := range docs {
		if _, ok := m.byNo[d.No]; !ok {
			out = append(out, d)
		}
	}
	return out
}

// broken notes that the collection must be replaced before it changes again.
// Searches go on with the view that they have.
func (c *collection) broken(err error) error {
	c.failed = true
	return err
}

// exchange shows new contents to searches; c.mu is held.
func (c *collection) exchange(m *memory, view *lexical.View, through int64) error {
	old := c.view
	c.memory, c.view, c.through = m, view, through
	if old == nil {
		return nil
	}
	return old.Close()
}

// writeEvery is after how many passages those that wait are written to the
// words: the more at once, the less work it is.
const writeEvery = 1024

// Replace implements index.Collection: passages that the words have already
// are not written again, and those that the truth does not have are removed.
func (c *collection) Replace(ctx context.Context, through int64, docs iter.Seq2[index.Document, error]) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.usable(ctx); err != nil {
		return err
	}
	stale, err := c.keys()
	if err != nil {
		return c.broken(err)
	}
	l, err := c.loading()
	if err != nil {
		return c.broken(err)
	}
	var missing []index.Document
	waiting := 0 // their passages
	for d, err := range docs {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = l.add(d)
		}
		if err != nil {
			return c.broken(err)
		}
		if !known(d, stale) {
			if d.Kept {
				return c.broken(errNotKept)
			}
			missing = append(missing, d)
			waiting += len(d.Chunks)
		}
		if waiting >= writeEvery {
			if err := c.words.Write(entries(missing), nil); err != nil {
				return c.broken(err)
			}
			missing, waiting = missing[:0], 0
		}
	}
	m, err := l.done()
	if err != nil {
		return c.broken(err)
	}
	gone := make([]lexical.Key, 0, len(stale))
	for k := range stale {
		gone = append(gone, k)
	}
	if err := c.words.Write(entries(missing), gone); err != nil {
		return c.broken(err)
	}
	view, err := c.words.View()
	if err != nil {
		return c.broken(err)
	}
	c.failed = false
	if err := c.show(m, view, through); err != nil {
		return err
	}
	c.tidy(ctx)
	if m.stats.Passages >= freePassages {
		debug.FreeOSMemory()
	}
	return c.warm()
}

// freePassages is after how many passages the memory that a Replace needed is
// given back to the system at once: the next collection of garbage may be
// minutes away.
const freePassages = 1 << 17

// show shows new contents to searches.
func (c *collection) show(m *memory, view *lexical.View, through int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exchange(m, view, through)
}

// known reports whether the words have all of d, and takes its passages out of
// stale.
func known(d index.Document, stale map[lexical.Key]struct{}) bool {
	all := true
	for _, ch := range d.Chunks {
		k := lexical.Key{No: d.No, Chunk: uint32(ch.Number)}
		if _, ok := stale[k]; !ok {
			all = false
		}
		delete(stale, k)
	}
	return all
}

func entries(docs []index.Document) []lexical.Entry {
	var out []lexical.Entry
	for _, d := range docs {
		for _, ch := range d.Chunks {
			out = append(out, lexical.Entry{
				Key:  lexical.Key{No: d.No, Chunk: uint32(ch.Number)},
				Text: ch.Text,
			})
		}
	}
	return out
}

// Search implements index.Collection.
func (c *collection) Search(ctx context.Context, q index.Query) (index.Legs, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if err := c.searchable(ctx); err != nil {
		return index.Legs{}, err
	}
	legs := index.Legs{Sequence: c.through, Facets: noCounts(q.Facets)}
	found, err := c.scope(ctx, q)
	if err != nil || found.empty() {
		return legs, err
	}
	var g errgroup.Group // the legs look at nothing that the other changes
	if len(q.Terms) > 0 && c.view != nil {
		g.Go(func() (err error) {
			began := time.Now() //nolint:forbidigo // see since
			legs.Lexical, err = c.byWords(ctx, q, found)
			legs.LexicalTook = since(began)
			return err
		})
	}
	if len(q.Vector) > 0 && c.memory.vectors != nil {
		began := time.Now() //nolint:forbidigo // see since
		legs.Vector, err = c.byVector(q, found)
		legs.VectorTook = since(began)
	}
	if err := errors.Join(g.Wait(), err); err != nil {
		return index.Legs{}, err
	}
	legs.Facets, err = c.facets(ctx, q, found)
	return legs, err
}

// since returns how long ago something began; how long work takes is on the
// machine's clock.
func since(began time.Time) time.Duration { return time.Since(began) } //nolint:forbidigo // see there

// byWords is the lexical leg: ordered by score, or else over everything that has
// any of the terms.
func (c *collection) byWords(ctx context.Context, q index.Query, s scope) ([]index.Hit, error) {
	limit, rows := q.Limit, c.memory.allowing(s)
	if len(q.Order) > 0 {
		limit = c.memory.stats.Passages
		rows.Order = func(uint32, uint32) int { return 0 } // equal scores are parted below
	}
	found, err := c.view.Search(ctx, q.Terms, c.memory.stats, rows, limit)
	if err != nil {
		return nil, err
	}
	if len(q.Order) > 0 {
		found = c.memory.ordered(found, q.Order, q.Limit)
	}
	return c.hits(found), nil
}

func (c *collection) byVector(q index.Query, s scope) ([]index.Hit, error) {
	if got, want := len(q.Vector), c.memory.vectors.Width(); got != want {
		return nil, fmt.Errorf("embedded index: the query has %d dimensions, the collection %d", got, want)
	}
	found := c.memory.vectors.Nearest(c.question(q.Vector), s.ranges(c.memory), q.Limit, c.memory.chunkID)
	c.bound()
	return c.hits(found), nil
}

func (c *collection) hits(found []topk.Item) []index.Hit {
	out := make([]index.Hit, len(found))
	for i, it := range found {
		s := &c.memory.slots[c.memory.rowSlot[it.Key]]
		out[i] = index.Hit{No: s.no, Chunk: int(it.Key - s.first), ChunkID: c.memory.chunkID(it.Key), Score: it.Score}
	}
	return out
}

// usable reports why the collection cannot be changed.
func (c *collection) usable(ctx context.Context) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return errClosed
	}
	return ctx.Err()
}

// searchable reports why the collection cannot be searched; c.mu is held.
func (c *collection) searchable(ctx context.Context) error {
	switch {
	case c.closed:
		return errClosed
	case c.through == 0:
		return errNotReplaced
	default:
		return ctx.Err()
	}
}

// close waits for searches and the writer.
func (c *collection) close() error {
	err := c.shut()
	c.merges.Wait()
	return err
}

func (c *collection) shut() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.stopMerging()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	var err error
	if c.view != nil {
		err = c.view.Close()
	}
	return errors.Join(err, c.store.Close(), c.words.Close())
}
