package follow

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"

	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/store"
)

// An index holds terms as one version of the analyser made them, so its name
// says which, from the second on. What another version has made is searched
// until the present one's is complete: most words have the terms they had.

// versioned matches what is behind the names of indexes of later analysers.
var versioned = regexp.MustCompile(`\.a[0-9]+$`)

// base returns the name that an index has whatever the analyser.
func base(name string) string { return versioned.ReplaceAllString(name, "") }

func (f *Follower) analysed(name string) string {
	if f.o.Analyser == 1 {
		return name // as it was before there were others
	}
	return name + ".a" + strconv.Itoa(f.o.Analyser)
}

// openIndex opens the index of that name, or what another analyser has left of
// it. The caller has the handle's turn.
func (f *Follower) openIndex(ctx context.Context, h *handle, c store.Collection) (index.Collection, error) {
	name, metric := c.IndexName(), index.WithMetric(index.Metric(c.VectorMetric))
	kept, err := f.o.Index.Names(ctx)
	if err != nil {
		return nil, err
	}
	present := f.analysed(name)
	h.outdated = ""
	for _, k := range kept {
		switch {
		case k == present: // begun at least; the truth completes it
			h.outdated = ""
			return f.o.Index.Open(ctx, present, metric)
		case base(k) == name:
			h.outdated = k
		}
	}
	if h.outdated != "" {
		f.o.Logger.InfoContext(ctx, "the index is of another analyser and is made anew", slog.String("index", h.outdated))
		return f.o.Index.Open(ctx, h.outdated, metric)
	}
	return f.o.Index.Open(ctx, present, metric)
}

// dropAll removes the indexes of that name, of every analyser.
func (f *Follower) dropAll(ctx context.Context, name string) error {
	kept, err := f.o.Index.Names(ctx)
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	for _, k := range append(kept, f.analysed(name)) { // that one may be open and not kept yet
		if base(k) != name {
			continue
		}
		if err := f.o.Index.Drop(ctx, k); err != nil {
			return fmt.Errorf("follow: %w", err)
		}
	}
	return nil
}

// dropOutdated removes a kept index of another analyser than the present one's,
// unless it is still searched.
func (f *Follower) dropOutdated(ctx context.Context, name string) error {
	if name == f.analysed(base(name)) {
		return nil
	}
	h := f.handle(base(name))
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if h.get() == nil || h.outdated == name {
		return nil
	}
	if err := f.o.Index.Drop(ctx, name); err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	return nil
}

// renew makes a collection's outdated index anew in the background, from the
// truth, and then has searches ask that one. Run calls it, and the next time
// again when it failed.
func (f *Follower) renew(ctx context.Context, c store.Collection) {
	h := f.handle(c.IndexName())
	select {
	case h.turn <- struct{}{}:
	default:
		return
	}
	old := h.outdated
	<-h.turn
	if old == "" || !f.begin() {
		return
	}
	select {
	case f.renewing <- struct{}{}:
	default: // one at a time
		f.work.Done()
		return
	}
	ctx = context.WithoutCancel(ctx) // Close ends it
	go func() {
		defer f.work.Done()
		defer func() { <-f.renewing }()
		if err := f.replace(ctx, h, c); err != nil {
			f.o.Logger.WarnContext(ctx, "the index cannot be made anew", slog.String("index", c.IndexName()), telemetry.Err(err))
		}
	}()
}

func (f *Follower) replace(ctx context.Context, h *handle, c store.Collection) error {
	fresh, err := f.o.Index.Open(ctx, f.analysed(c.IndexName()), index.WithMetric(index.Metric(c.VectorMetric)))
	if err != nil {
		return err
	}
	began := f.o.Clock.Now()
	err = f.anew(ctx, fresh, c)
	f.o.Followed(true, f.o.Clock.Now().Sub(began), err)
	if err != nil {
		return err
	}
	// What was written meanwhile; then nobody writes to the old one.
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-f.closed:
		return errClosing
	}
	now := h.get()
	if now == nil { // removed meanwhile
		return nil
	}
	next := &ahead{f: f, c: c}
	defer next.end()
	for to := now.Sequence(); fresh.Sequence() < to; {
		if _, err := f.step(ctx, fresh, next, to); err != nil {
			return err
		}
	}
	old := h.outdated
	h.set(fresh)
	h.outdated = ""
	f.o.Logger.InfoContext(ctx, "the index was made anew", slog.String("index", c.IndexName()))
	return f.o.Index.Drop(ctx, old)
}

// Shower is an index that can show outside which of a collection's indexes
// serves. Searches do not go by it.
type Shower interface {
	// Show does that; both names are as of index.Index.
	Show(ctx context.Context, collection, name string) error
}

// present reports whether the index is of the present analyser; false as well
// while it is being changed.
func (h *handle) present() bool {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
		return h.outdated == ""
	default:
		return false
	}
}

// show shows what serves, where that has changed. An index that is being made
// anew is not waited for: others are to be followed meanwhile.
func (f *Follower) show(ctx context.Context, all []target) {
	s, ok := f.o.Index.(Shower)
	if !ok {
		return
	}
	for _, t := range all {
		c := t.collection
		if c.ServingSince == 0 {
			continue // not the one that serves
		}
		h := f.handle(c.IndexName())
		name := f.analysed(c.IndexName())
		if f.shown[c.UID] == name || h.get() == nil || !h.present() {
			continue
		}
		if err := s.Show(ctx, c.UID, name); err != nil {
			f.o.Logger.WarnContext(ctx, "it cannot be shown which index serves", slog.String("index", name), telemetry.Err(err))
			continue
		}
		f.shown[c.UID] = name
	}
}
