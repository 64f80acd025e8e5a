package follow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/store"
)

// fakeIndex holds numbers of versions, and fails when told to.
type fakeIndex struct {
	mu      sync.Mutex
	fail    error
	block   chan struct{} // Replace waits for it when it is not nil
	entered chan struct{} // told of every Replace
	colls   map[string]*fakeCollection
	anew    int
}

type fakeCollection struct {
	x    *fakeIndex
	at   int64
	held map[int64]bool
	// failed: only Replace leads on.
	failed bool
}

func (x *fakeIndex) set(fail error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fail = fail
}

func (x *fakeIndex) Open(_ context.Context, name string, _ ...index.Option) (index.Collection, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.colls[name] == nil {
		x.colls[name] = &fakeCollection{x: x}
	}
	return x.colls[name], nil
}

func (x *fakeIndex) Drop(_ context.Context, name string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.colls, name)
	return nil
}

func (x *fakeIndex) Names(context.Context) ([]string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []string
	for n := range x.colls {
		out = append(out, n)
	}
	return out, nil
}

func (x *fakeIndex) Close() error { return nil }

func (c *fakeCollection) Near(context.Context, []string, filter.Node, []index.Near) ([][]index.Neighbour, error) {
	return nil, nil
}

func (c *fakeCollection) Sequence() int64 {
	c.x.mu.Lock()
	defer c.x.mu.Unlock()
	return c.at
}

func (c *fakeCollection) Apply(_ context.Context, ch index.Changes) error {
	c.x.mu.Lock()
	defer c.x.mu.Unlock()
	if c.failed {
		return index.ErrReplace
	}
	if c.x.fail != nil {
		c.failed = true
		return c.x.fail
	}
	for _, d := range ch.Put {
		c.held[d.No] = true
	}
	for _, no := range ch.Remove {
		delete(c.held, no)
	}
	c.at = ch.Through
	return nil
}

func (c *fakeCollection) Replace(_ context.Context, through int64, docs iter.Seq2[index.Document, error]) error {
	c.x.mu.Lock()
	block, entered := c.x.block, c.x.entered
	c.x.anew++
	c.x.mu.Unlock()
	if block != nil {
		entered <- struct{}{}
		<-block
	}
	held := make(map[int64]bool)
	for d, err := range docs {
		if err != nil {
			return err
		}
		held[d.No] = true
	}
	c.x.mu.Lock()
	defer c.x.mu.Unlock()
	if c.x.fail != nil {
		return c.x.fail
	}
	c.at, c.held, c.failed = through, held, false
	return nil
}

func (c *fakeCollection) Search(context.Context, index.Query) (index.Legs, error) {
	return index.Legs{}, nil
}

func setup(t *testing.T) (*Follower, *fakeIndex, *store.Store, store.Collection) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.DefaultConfig("sqlite://"+filepath.Join(t.TempDir(), "truth.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	log := slog.New(slog.DiscardHandler)
	s, err := store.New(t.Context(), db, clock.Real(), log)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.CreateCollection(t.Context(), store.Collection{Tenant: "acme", ID: "c", UID: "uid", EmbeddingModel: "m", Analyser: 1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	x := &fakeIndex{colls: map[string]*fakeCollection{}}
	return New(Options{Store: s, Index: x, Clock: clock.Real(), Logger: log, Poll: time.Hour, Analyser: 1}), x, s, c
}

func write(t *testing.T, s *store.Store, c store.Collection, ids ...string) int64 {
	t.Helper()
	w := store.Write{By: store.Rights{All: true}, Digest: "d", Dimensions: 1}
	for _, id := range ids {
		w.Documents = append(w.Documents, store.Version{
			Document: store.Document{ID: id, Metadata: []byte("{}")}, Chunks: []store.Chunk{{Vector: []float32{1}}},
		})
	}
	_, g, err := s.Upsert(t.Context(), c, w)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestCatchUpFollowsManyPages(t *testing.T) {
	f, x, s, c := setup(t)
	f.page = 20
	if _, err := f.Collection(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range 3*f.page + 1 {
		ids = append(ids, fmt.Sprint("d", i))
	}
	write(t, s, c, ids...)
	g := write(t, s, c, ids[:10]...)
	if _, err := f.CatchUp(t.Context(), c, g); err != nil {
		t.Fatal(err)
	}
	if fc := x.colls["uid"]; fc.at != g || len(fc.held) != len(ids) || x.anew != 1 {
		t.Errorf("at %d of %d, %d held, made anew %d times", fc.at, g, len(fc.held), x.anew)
	}
}

func TestAFailedIndexIsMadeAnew(t *testing.T) {
	f, x, s, c := setup(t)
	if _, err := f.Collection(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	g := write(t, s, c, "a", "b")
	x.fail = errors.New("disk full")
	if _, err := f.CatchUp(t.Context(), c, g); !errors.Is(err, x.fail) {
		t.Fatalf("got %v", err)
	}
	x.fail = nil
	if _, err := f.CatchUp(t.Context(), c, g); err != nil || len(x.colls["uid"].held) != 2 {
		t.Errorf("%v, held %v", err, x.colls["uid"].held)
	}
}

func TestRunReportsWhileAnIndexFails(t *testing.T) {
	f, x, s, c := setup(t)
	reports := make(chan State)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- f.Run(ctx, func(now State) {
			select {
			case reports <- now:
			case <-ctx.Done():
			}
		})
	}()
	if got := <-reports; got.Indexes != nil || got.Store != nil || !got.Searchable || got.Collections != 1 || got.Behind != 0 || got.Lag != 0 {
		t.Fatalf("at first: %+v", got)
	}
	full := errors.New("disk full")
	x.set(full)
	g := write(t, s, c, "a")
	for range 2 { // as long as it lasts
		f.Notify()
		got := <-reports
		if apierr.ReasonOf(got.Indexes) != apierr.Unavailable || !errors.Is(got.Indexes, full) || got.Store != nil {
			t.Fatalf("got %+v", got)
		}
		// What was there before is still found.
		if !got.Searchable || got.Behind != 1 || got.Documents != 1 || got.Chunks != 1 {
			t.Errorf("got %+v", got)
		}
	}
	if _, err := f.CatchUp(t.Context(), c, g); apierr.ReasonOf(err) != apierr.Unavailable || !errors.Is(err, full) {
		t.Errorf("a caller gets %v", err)
	}
	x.set(nil)
	f.Notify()
	if got := <-reports; got.Indexes != nil || got.Behind != 0 || got.Lag != 0 {
		t.Errorf("afterwards: %+v", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWorkOutlivesTheCallThatBeganIt(t *testing.T) {
	f, x, s, c := setup(t)
	g := write(t, s, c, "a")
	x.block, x.entered = make(chan struct{}), make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := f.CatchUp(ctx, c, g)
		failed <- err
	}()
	<-x.entered
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(x.block)
	if ic, err := f.CatchUp(t.Context(), c, g); err != nil || ic.Sequence() != g || x.anew != 1 {
		t.Errorf("%v, made anew %d times", err, x.anew)
	}
}

func TestDeletedCollectionsAreForgotten(t *testing.T) {
	f, x, s, c := setup(t)
	if _, err := f.Collection(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteCollection(t.Context(), "acme", "c", store.Rights{All: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.CatchUp(t.Context(), c, 99); apierr.ReasonOf(err) != apierr.NotFound {
		t.Errorf("got %v", err)
	}
	if len(x.colls) != 0 {
		t.Error("its index is still there")
	}
}

func TestCloseEndsWorkInHand(t *testing.T) {
	f, x, s, c := setup(t)
	write(t, s, c, "a", "b")
	x.block, x.entered = make(chan struct{}), make(chan struct{}, 1)
	failed := make(chan error, 1)
	go func() {
		_, err := f.Collection(t.Context(), c)
		failed <- err
	}()
	<-x.entered
	closed := make(chan error, 1)
	go func() { closed <- f.Close() }()
	<-f.closed
	close(x.block)
	if err := <-failed; apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("got %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := f.CatchUp(t.Context(), c, 1); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("after the end: %v", err)
	}
}
