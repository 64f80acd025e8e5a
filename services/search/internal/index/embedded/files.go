package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/lexical"
	"github.com/poterne/poterne/services/search/internal/vector"
	"github.com/poterne/poterne/services/search/internal/vector/segment"
)

// errNotKept is what Replace answers when it is told less of a version than it
// needs; it is told all the next time.
var errNotKept = errors.New("embedded index: a version is not kept")

// vectorFiles are a collection's vectors on disk. All but merges and turn is under the
// collection's writing.
type vectorFiles struct {
	dir      string
	logger   *slog.Logger
	metric   vector.Metric
	encoding vector.Encoding
	limits   limits
	mapped   int64         // see WithMapped
	turn     atomic.Uint32 // of the segments, in bound
	store    *segment.Store

	// stale are the words' keys as Kept has read them, for the next Replace.
	stale map[lexical.Key]struct{}

	merging *merging // nil: nothing is being merged
	merges  sync.WaitGroup
}

func openVectors(dir string, o options, metric index.Metric) (*vectorFiles, error) {
	store, err := segment.Open(dir, o.logger)
	if err != nil {
		return nil, fmt.Errorf("embedded index: %w", err)
	}
	return &vectorFiles{dir: dir, logger: o.logger, metric: vector.Metric(metric), encoding: o.encoding, limits: o.limits, mapped: o.mapped, store: store}, nil
}

// question returns the query as the vectors are compared with it.
func (c *vectorFiles) question(v []float32) []float32 {
	if c.metric == vector.Cosine {
		return vector.Normalized(v)
	}
	return v
}

// fits reports whether what the store has is kept as it should be.
func (c *vectorFiles) fits() bool {
	l, ok := c.store.Layout()
	return ok && l.Metric == c.metric && l.Encoding == c.encoding
}

// Kept implements index.Keeper.
func (c *collection) Kept(ctx context.Context) (func(no int64, chunks int) bool, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	if err := c.reopen(); err != nil {
		return nil, err
	}
	stale, err := c.keys()
	if err != nil || !c.fits() {
		return nil, err
	}
	words, rows := make(map[int64]int), make(map[int64]int)
	for k := range stale {
		words[k.No]++
	}
	for _, seg := range c.store.Segments() {
		for _, k := range seg.Keys() {
			rows[k.No] = int(k.Count)
		}
	}
	for _, k := range c.store.Tail() {
		rows[k.No] = int(k.Count)
	}
	c.stale = stale
	return func(no int64, chunks int) bool { return chunks > 0 && words[no] == chunks && rows[no] == chunks }, nil
}

// keys returns the keys of all words.
func (c *collection) keys() (map[lexical.Key]struct{}, error) {
	if stale := c.stale; stale != nil {
		c.stale = nil
		return stale, nil
	}
	stale := make(map[lexical.Key]struct{})
	err := c.words.Keys(func(k lexical.Key) bool { stale[k] = struct{}{}; return true })
	return stale, err
}

// keep makes the vectors of documents durable and returns them by document. It
// changes nothing that searches see, except that m gets a matrix when it has
// none. A store that has another layout is begun anew.
func (c *collection) keep(docs []index.Document, m *memory) ([]segment.Version, error) {
	if err := c.prepare(docs, m); err != nil {
		return nil, err
	}
	out := make([]segment.Version, len(docs))
	stored := make([]segment.Version, 0, len(docs))
	for i, d := range docs {
		if len(d.Chunks) == 0 {
			out[i].No = d.No
			continue
		}
		if err := checkVectors(d, m.vectors.Layout()); err != nil {
			return nil, err
		}
		out[i] = encoded(d, m.vectors.Layout())
		stored = append(stored, out[i])
	}
	if len(stored) == 0 {
		return out, nil
	}
	if err := c.store.Append(stored); err != nil {
		return nil, fmt.Errorf("embedded index: %w", err)
	}
	return out, nil
}

// prepare gives m a matrix for the documents when it has none.
func (c *collection) prepare(docs []index.Document, m *memory) error {
	if m.vectors != nil {
		return nil
	}
	for _, d := range docs {
		if len(d.Chunks) == 0 {
			continue
		}
		l := vector.Layout{Width: len(d.Chunks[0].Vector), Metric: c.metric, Encoding: c.encoding}
		if have, ok := c.store.Layout(); !ok || have != l {
			c.forget(m)
			if err := c.store.Reset(l); err != nil {
				return fmt.Errorf("embedded index: %w", err)
			}
		}
		c.mu.Lock()
		m.vectors = vector.New(l)
		c.mu.Unlock()
		return nil
	}
	return nil
}

// forget has searches see nothing, because the files are about to be closed,
// unless m is what they see, which has no vectors.
func (c *collection) forget(m *memory) {
	c.stopMerging()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.memory != m {
		c.memory, c.through = newMemory(), 0
	}
}
