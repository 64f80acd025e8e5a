package feed_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/feed"
	"github.com/poterne/poterne/services/registry/internal/store"
)

const (
	poll      = time.Second
	heartbeat = 2 * time.Second
)

// fakeSource is a store whose answers a test decides. Each change is that of a
// model of its own, named by its revision.
type fakeSource struct {
	mu       sync.Mutex
	revision int64
	floor    int64
	history  string // what the etags begin with
	err      error
	reads    int
	prompts  []*registryv1.PromptState // all of them
	changed  []*registryv1.PromptState // of every batch
	only     bool                      // nothing but prompts changes
}

func (s *fakeSource) set(change func(*fakeSource)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *fakeSource) readCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func (s *fakeSource) Position(context.Context) (store.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(s.revision), s.err
}

// at is a revision of the present history.
func (s *fakeSource) at(revision int64) store.Position {
	return store.Position{Revision: revision, Etag: fmt.Sprint(s.history, "/", revision)}
}

func (s *fakeSource) Changes(_ context.Context, from store.Position) (*store.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.err != nil {
		return nil, s.err
	}
	if from.Revision > s.revision || from.Revision < s.floor || from.Etag != "" && from != s.at(from.Revision) {
		return nil, apierr.New(apierr.OutOfRange, "out of range")
	}
	b := &store.Batch{From: s.at(from.Revision), To: s.at(s.revision), Prompts: s.changed}
	for r := from.Revision + 1; r <= s.revision && !s.only; r++ {
		b.Changes = append(b.Changes, store.Change{Position: s.at(r), Model: "m", State: &registryv1.ModelState{}})
	}
	return b, nil
}

func (s *fakeSource) PromptPage(context.Context, string) (*store.PromptPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &store.PromptPage{Prompts: s.prompts, Last: true}, nil
}

func (s *fakeSource) Page(context.Context, string) (*store.Page, error) {
	return &store.Page{Last: true}, nil
}

// rig is a feed that follows a fake source, in a bubble of synctest: its time is
// the test's alone, however busy the machine is.
type rig struct {
	t      *testing.T
	source *fakeSource
	feed   *feed.Feed
}

func newRig(t *testing.T, revision int64) *rig {
	t.Helper()
	r := &rig{t: t, source: &fakeSource{revision: revision}}
	r.feed = feed.New(r.source, feed.Options{Poll: poll, Heartbeat: heartbeat})
	if err := r.feed.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.feed.Follow(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// watch is a running watch, its messages and its end.
type watch struct {
	t        *testing.T
	messages chan *registryv1.WatchResponse
	ended    chan error
}

func (r *rig) watch(from int64) *watch { return r.watchFrom(store.Position{Revision: from}) }

func (r *rig) watchFrom(from store.Position) *watch { return r.watchFor(feed.Wanted{From: from}) }

func (r *rig) watchFor(want feed.Wanted) *watch {
	w := &watch{t: r.t, messages: make(chan *registryv1.WatchResponse), ended: make(chan error, 1)}
	ctx := r.t.Context()
	go func() {
		w.ended <- r.feed.Watch(ctx, want, func(m *registryv1.WatchResponse) error {
			select {
			case w.messages <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return w
}

func (w *watch) next() *registryv1.WatchResponse {
	w.t.Helper()
	select {
	case m := <-w.messages:
		return m
	case err := <-w.ended:
		w.t.Fatalf("the watch ended: %v", err)
		return nil
	}
}

func (w *watch) wantHeartbeat(revision int64) {
	w.t.Helper()
	if m := w.next(); m.GetHeartbeat() == nil || m.GetRevision() != revision {
		w.t.Fatalf("got %v, want a heartbeat at %d", m, revision)
	}
}

func (w *watch) wantChange(revision int64) {
	w.t.Helper()
	if m := w.next(); m.GetChanged() == nil || m.GetRevision() != revision {
		w.t.Fatalf("got %v, want a change at %d", m, revision)
	}
}

func (w *watch) wantEnd(reason apierr.Reason) {
	w.t.Helper()
	select {
	case err := <-w.ended:
		if apierr.ReasonOf(err) != reason {
			w.t.Fatalf("ended with %v, want %s", err, reason)
		}
	case m := <-w.messages:
		w.t.Fatalf("got %v, want the end with %s", m, reason)
	}
}

func TestWatchFromZeroBeginsWithASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 7)
		w := r.watch(0)
		m := w.next()
		if s := m.GetSnapshot(); s == nil || !s.GetFirst() || !s.GetLast() || m.GetRevision() != 7 {
			t.Fatalf("got %v, want a snapshot at 7", m)
		}
		r.source.set(func(s *fakeSource) { s.revision = 8 })
		r.feed.Wake()
		w.wantChange(8)
	})
}

func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3)
		w := r.watch(3)
		w.wantHeartbeat(3) // at once: the consumer knows that it is connected
		for range 3 {
			since := time.Now()
			w.wantHeartbeat(3)
			if waited := time.Since(since); waited != heartbeat {
				t.Errorf("a heartbeat came after %v, want %v", waited, heartbeat)
			}
		}
	})
}

func TestPollFindsWhatNobodyTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		w := r.watch(1)
		w.wantHeartbeat(1)
		r.source.set(func(s *fakeSource) { s.revision = 2 })
		since := time.Now()
		w.wantChange(2)
		if waited := time.Since(since); waited > poll {
			t.Errorf("the change came after %v, want %v at most", waited, poll)
		}
	})
}

// Watchers that are abreast share the follower's reading.
func TestAbreastWatchersDoNotReadTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var watches []*watch
		for range 10 {
			w := r.watch(1)
			w.wantHeartbeat(1)
			watches = append(watches, w)
		}
		before := r.source.readCount()
		r.source.set(func(s *fakeSource) { s.revision = 2 })
		r.feed.Wake()
		for _, w := range watches {
			w.wantChange(2)
		}
		if got := r.source.readCount() - before; got != 1 {
			t.Errorf("the store was read %d times for one change and 10 watchers", got)
		}
	})
}

// A watcher that does not read holds nobody up and misses nothing.
func TestSlowWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		slow, quick := r.watch(1), r.watch(1)
		slow.wantHeartbeat(1)
		quick.wantHeartbeat(1)
		for rev := int64(2); rev <= 20; rev++ {
			r.source.set(func(s *fakeSource) { s.revision = rev })
			r.feed.Wake()
			quick.wantChange(rev)
		}
		for rev := int64(2); rev <= 20; rev++ {
			slow.wantChange(rev)
		}
	})
}

func TestOutOfRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10)
		r.source.set(func(s *fakeSource) { s.floor = 5 })
		r.watch(4).wantEnd(apierr.OutOfRange)
		r.watch(11).wantEnd(apierr.OutOfRange)
		r.watch(5).wantChange(6)
	})
}

// A revision that only another replica's feed has seen is not in the future.
func TestWatcherAheadOfTheFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10)
		r.source.set(func(s *fakeSource) { s.revision = 12 })
		w := r.watch(12)
		w.wantHeartbeat(12)
		r.feed.Wake()
		r.source.set(func(s *fakeSource) { s.revision = 13 })
		r.feed.Wake()
		w.wantChange(13)
	})
}

func TestStoreThatDoesNotAnswer(t *testing.T) {
	var mu sync.Mutex
	var reports []error
	source := &fakeSource{revision: 1}
	clk := clock.NewFake(time.Unix(0, 0))
	f := feed.New(source, feed.Options{Clock: clk, Poll: poll, Heartbeat: heartbeat, Report: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, err)
	}})
	r := &rig{t: t, source: source, feed: f}
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Follow(ctx) }()

	w := r.watch(1)
	w.wantHeartbeat(1)
	away := errors.New("connection refused")
	source.set(func(s *fakeSource) { s.err = away })
	f.Wake()
	w.wantEnd(apierr.Unavailable)
	r.watch(1).wantEnd(apierr.Unavailable)

	source.set(func(s *fakeSource) { s.err, s.revision = nil, 2 })
	// The feed may not have looked yet: a client would try again, and so does this.
	for {
		clk.Advance(poll)
		w = r.watch(1)
		select {
		case m := <-w.messages:
			if m.GetRevision() != 2 {
				t.Errorf("got %v, want the change at 2", m)
			}
		case err := <-w.ended:
			if apierr.ReasonOf(err) != apierr.Unavailable {
				t.Fatal(err)
			}
			continue
		}
		break
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(reports) < 3 || reports[0] != nil || !errors.Is(reports[1], away) || reports[len(reports)-1] != nil {
		t.Errorf("reported %v", reports)
	}
}

func TestCloseEndsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		w := r.watch(1)
		w.wantHeartbeat(1)
		r.feed.Close()
		w.wantEnd(apierr.Unavailable)
		r.watch(1).wantEnd(apierr.Unavailable)
		r.watch(0).wantEnd(apierr.Unavailable)
	})
}

func TestSendingThatFailsEndsTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		gone := errors.New("the client is gone")
		err := r.feed.Watch(t.Context(), feed.Wanted{}, func(*registryv1.WatchResponse) error { return gone })
		if !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
	})
}
