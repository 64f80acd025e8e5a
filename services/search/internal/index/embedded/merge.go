package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/vector/segment"
)

// mergeCount is how many small segments are merged.
const mergeCount = 4

// merging is a merge in the background.
type merging struct {
	from   []*segment.Segment
	cancel context.CancelFunc
	// read is closed when the segments are not read any more.
	read chan struct{}
}

// tidy seals a log that has become large and begins a merge when there is
// something to merge. Neither is needed for anything to be found: a failure is
// told, and tried again after the next change.
func (c *collection) tidy(ctx context.Context) {
	if c.store.TailBytes() >= c.limits.seal {
		if err := c.seal(); err != nil {
			c.logger.WarnContext(ctx, "a log of vectors cannot be sealed", slog.String("dir", c.dir), telemetry.Err(err))
		}
	}
	if c.merging == nil {
		c.merge(ctx)
	}
}

// seal makes the log a segment.
func (c *collection) seal() error {
	seg, err := c.store.Seal()
	if err != nil || seg == nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory.sealed(seg)
	return nil
}

// merge begins a merge in the background, if one is worth it. It outlives the
// change that began it.
func (c *collection) merge(ctx context.Context) {
	from := pick(c.memory.parts, c.limits.merge, c.memory.stride()) // only writers change them
	if len(from) == 0 {
		return
	}
	live := make(map[int64]bool)
	for _, seg := range from {
		for _, k := range seg.Keys() {
			if _, ok := c.memory.byNo[k.No]; ok {
				live[k.No] = true
			}
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m := &merging{from: from, cancel: cancel, read: make(chan struct{})}
	c.merging = m
	store := c.store
	c.merges.Go(func() {
		defer cancel()
		to, err := store.Merge(ctx, from, func(no int64) bool { return live[no] })
		close(m.read)
		if err == nil {
			err = c.merged(m, store, to)
		}
		if err != nil && ctx.Err() == nil {
			c.logger.WarnContext(ctx, "segments of vectors cannot be merged", slog.String("dir", c.dir), telemetry.Err(err))
		}
	})
}

// merged puts what was merged in its place, unless the merge was stopped
// meanwhile.
func (c *collection) merged(m *merging, store *segment.Store, to *segment.Segment) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.merging != m {
		if to == nil {
			return nil
		}
		return store.Discard(to)
	}
	c.merging = nil
	if err := c.seal(); err != nil { // rows come after those of segments
		if to != nil {
			err = errors.Join(err, store.Discard(to))
		}
		return err
	}
	if err := c.store.Exchange(m.from, to); err != nil {
		if to != nil {
			err = errors.Join(err, to.Close())
		}
		return fmt.Errorf("embedded index: %w", err)
	}
	c.move(c.memory.moving(m.from, to))
	if err := c.warm(); err != nil {
		return err
	}
	// Nobody reads them any more: who searched has let go of c.mu since.
	for _, seg := range m.from {
		if err := seg.Close(); err != nil {
			return fmt.Errorf("embedded index: %w", err)
		}
	}
	return nil
}

// move gives rows their other numbers, for which searches wait.
func (c *collection) move(v *moving) {
	renumbered := c.renumber(v.layout, v.row)
	c.mu.Lock()
	defer c.mu.Unlock()
	v.apply(c.memory)
	renumbered()
}

// renumber prepares the words for rows with other numbers.
func (c *collection) renumber(to *layout, moved func(row uint32) (uint32, bool)) (done func()) {
	if c.view == nil {
		return func() {}
	}
	return c.view.Renumber(c.memory.layout, to, moved) // only writers change them
}

// compact leaves behind what is gone, when it is much.
func (c *collection) compact() {
	m, moved := c.memory.compacted()
	if m == c.memory {
		return
	}
	renumbered := c.renumber(m.layout, moved)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory = m
	renumbered()
}

// stopMerging ends a merge and waits until it does not read segments any more.
func (c *vectorFiles) stopMerging() {
	if c.merging == nil {
		return
	}
	c.merging.cancel()
	<-c.merging.read
	c.merging = nil
}

// pick returns the segments to be merged into one: those of which more than half
// is gone, and small ones when there are several, smallest first.
func pick(parts []part, most int64, stride int) []*segment.Segment {
	var some []part
	size := func(p part) int64 { return int64(p.live) * int64(stride) }
	worn := func(p part) bool { return 2*p.live < p.segment.Rows() }
	for _, p := range parts {
		if worn(p) || size(p) <= most/2 {
			some = append(some, p)
		}
	}
	slices.SortStableFunc(some, func(a, b part) int { return cmp.Compare(a.live, b.live) })
	var out []*segment.Segment
	total, wanted := int64(0), false
	for _, p := range some {
		if total += size(p); total > most && len(out) > 0 {
			break
		}
		out, wanted = append(out, p.segment), wanted || worn(p)
	}
	if !wanted && len(out) < mergeCount {
		return nil
	}
	return out
}
