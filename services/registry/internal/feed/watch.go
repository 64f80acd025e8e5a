package feed

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Send gives a watcher one message. It may block for as long as the watcher is
// slow; the message is not changed afterwards, and must not be.
type Send func(*registryv1.WatchResponse) error

// Wanted is what a watcher asks for.
type Wanted struct {
	// From is the last position that it has; the zero value for a snapshot first.
	From store.Position
	// Prompts says that it is sent prompts too.
	Prompts bool
}

// Watch sends every change after a position, in order, until ctx ends,
// sending fails, or the feed is closed: of several changes of one model that
// are read at once, only the last. From revision 0 a snapshot comes first. A heartbeat
// comes at once when there is nothing new, and then whenever nothing was sent
// for the heartbeat's time. Prompts are sent to those that want them only, each
// batch's before its models, so that an arm never names one that is not there.
func (f *Feed) Watch(ctx context.Context, want Wanted, send Send) error {
	w := &watcher{feed: f, send: send, position: want.From, prompts: want.Prompts, era: f.present().era}
	w.timer = f.opts.Clock.NewTimer(f.opts.Heartbeat)
	defer w.timer.Stop()
	if err := w.begin(ctx); err != nil {
		return err
	}
	for {
		now := f.present()
		if err := w.check(now); err != nil {
			return err
		}
		if w.position.Revision < now.at.Revision {
			if err := w.advance(ctx, now); err != nil {
				return err
			}
			continue
		}
		select {
		case <-now.changed:
		case <-w.timer.C():
			if err := w.deliver(w.heartbeat()); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type watcher struct {
	feed     *Feed
	send     Send
	position store.Position
	prompts  bool
	era      int
	timer    clock.Timer
}

// begin brings the watcher to a position from which changes lead on. It asks
// the store, because another replica may have given the watcher a revision that
// this feed has not seen.
func (w *watcher) begin(ctx context.Context) error {
	if err := w.check(w.feed.present()); err != nil {
		return err
	}
	if w.position.Revision == 0 {
		return w.snapshot(ctx)
	}
	batch, err := w.feed.source.Changes(ctx, w.position)
	if err != nil {
		return err
	}
	if len(batch.Changes) == 0 && (!w.prompts || len(batch.Prompts) == 0) {
		w.position = batch.To
		return w.deliver(w.heartbeat())
	}
	return w.apply(batch)
}

// check returns why the watch cannot go on.
func (w *watcher) check(now state) error {
	switch {
	case now.closed:
		return apierr.Wrap(apierr.Unavailable, errClosed, "this registry is ending; watch another")
	case now.err != nil:
		// Heartbeats would say that nothing happened, which nobody knows.
		return apierr.Wrap(apierr.Unavailable, now.err, "the registry's store does not answer; try again")
	case now.era != w.era:
		return apierr.New(apierr.OutOfRange, "the registry went back in time, or far ahead; begin again from 0").
			WithField("from_revision")
	default:
		return nil
	}
}

// advance gives the watcher what is new: the feed's batch when it is abreast of
// it, else its own reading.
func (w *watcher) advance(ctx context.Context, now state) error {
	batch := now.batch
	if batch == nil || batch.From != w.position {
		var err error
		if batch, err = w.feed.source.Changes(ctx, w.position); err != nil {
			return err
		}
	}
	return w.apply(batch)
}

func (w *watcher) apply(batch *store.Batch) error {
	told := w.position
	if w.prompts {
		for _, p := range batch.Prompts {
			m := &registryv1.WatchResponse{Revision: told.Revision, Etag: told.Etag, Event: &registryv1.WatchResponse_PromptChanged{PromptChanged: p}}
			if err := w.deliver(m); err != nil {
				return err
			}
		}
	}
	for _, c := range batch.Changes {
		m := &registryv1.WatchResponse{Revision: c.Revision, Etag: c.Etag}
		if c.State == nil {
			m.Event = &registryv1.WatchResponse_Removed{Removed: c.Model}
		} else {
			m.Event = &registryv1.WatchResponse_Changed{Changed: c.State}
		}
		if err := w.deliver(m); err != nil {
			return err
		}
		told = c.Position
	}
	w.position = batch.To
	if w.prompts && len(batch.Prompts) > 0 && told.Revision < batch.To.Revision {
		return w.deliver(w.heartbeat())
	}
	return nil
}

// snapshot sends all models page by page. The revision is read first: what
// changes while the pages are read is among the changes that follow, whose
// states are never older than those on the pages.
func (w *watcher) snapshot(ctx context.Context) error {
	at, err := w.feed.source.Position(ctx)
	if err != nil {
		return err
	}
	first := true
	for after := ""; w.prompts; first = false {
		page, err := w.feed.source.PromptPage(ctx, after)
		if err != nil {
			return err
		}
		if len(page.Prompts) > 0 {
			part := &registryv1.SnapshotPart{Prompts: page.Prompts, First: first, WithPrompts: true}
			if err := w.deliver(&registryv1.WatchResponse{Event: &registryv1.WatchResponse_Snapshot{Snapshot: part}}); err != nil {
				return err
			}
		}
		if page.Last {
			first = first && len(page.Prompts) == 0
			break
		}
		after = page.After
	}
	for after := ""; ; first = false {
		page, err := w.feed.source.Page(ctx, after)
		if err != nil {
			return err
		}
		m := &registryv1.WatchResponse{Event: &registryv1.WatchResponse_Snapshot{
			Snapshot: &registryv1.SnapshotPart{Models: page.Models, First: first, Last: page.Last, WithPrompts: w.prompts},
		}}
		if page.Last {
			// Until the snapshot is whole the watcher has nothing to resume from.
			m.Revision, m.Etag = at.Revision, at.Etag
		}
		if err := w.deliver(m); err != nil {
			return err
		}
		if page.Last {
			w.position = at
			return nil
		}
		after = page.After
	}
}

func (w *watcher) heartbeat() *registryv1.WatchResponse {
	return &registryv1.WatchResponse{
		Revision: w.position.Revision, Etag: w.position.Etag, Event: &registryv1.WatchResponse_Heartbeat{Heartbeat: &registryv1.Heartbeat{}},
	}
}

func (w *watcher) deliver(m *registryv1.WatchResponse) error {
	if err := w.send(m); err != nil {
		return err
	}
	w.timer.Reset(w.feed.opts.Heartbeat)
	return nil
}
