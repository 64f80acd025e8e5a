package feed_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/sqldb"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/feed"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// replica is a store and its feed, as one registry process has them.
type replica struct {
	store *store.Store
	feed  *feed.Feed
}

// listener tells a replica of commits elsewhere.
type listener func(ctx context.Context, wake func()) error

// newReplicas starts replicas on one database. Without a listener each tells
// all others of its commits, in this process.
func newReplicas(t *testing.T, n int, cfg sqldb.Config, listen listener) []*replica {
	t.Helper()
	var all []*replica
	committed := func(store.Commit) {
		for _, r := range all {
			r.feed.Wake()
		}
	}
	if listen != nil {
		committed = nil
	}
	for range n {
		s := storetest.Open(t, cfg, store.Options{KeepChanges: 15, Committed: committed})
		all = append(all, &replica{store: s, feed: feed.New(s, feed.Options{Listen: listen})})
	}
	for _, r := range all {
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
	}
	return all
}

// consumer keeps the registry's state from what it is sent, as every consumer
// does.
type consumer struct {
	revision int64
	etag     string
	models   map[string]*registryv1.ModelState
	building bool
}

func (c *consumer) apply(m *registryv1.WatchResponse) error {
	switch ev := m.GetEvent().(type) {
	case *registryv1.WatchResponse_Snapshot:
		if ev.Snapshot.GetFirst() == c.building {
			return fmt.Errorf("part of a snapshot out of place: first %t", ev.Snapshot.GetFirst())
		}
		if ev.Snapshot.GetFirst() {
			c.models = make(map[string]*registryv1.ModelState)
		}
		for _, st := range ev.Snapshot.GetModels() {
			c.models[st.GetModel().GetName()] = st
		}
		c.building = !ev.Snapshot.GetLast()
		c.revision, c.etag = m.GetRevision(), m.GetEtag()
		return nil
	case *registryv1.WatchResponse_Changed:
		c.models[ev.Changed.GetModel().GetName()] = ev.Changed
	case *registryv1.WatchResponse_Removed:
		delete(c.models, ev.Removed)
	}
	if m.GetRevision() < c.revision || c.building {
		return fmt.Errorf("revision %d after %d", m.GetRevision(), c.revision)
	}
	c.revision, c.etag = m.GetRevision(), m.GetEtag()
	return nil
}

var errCut = errors.New("the connection was cut")

// run watches until the consumer has the revision that final gives, from
// replica to replica, cut after a random number of messages each time.
func (c *consumer) run(ctx context.Context, rnd *rand.Rand, replicas []*replica, final func() int64) (resets int, err error) {
	for {
		left := rnd.IntN(30)
		err := replicas[rnd.IntN(len(replicas))].feed.Watch(ctx, feed.Wanted{From: store.Position{Revision: c.revision, Etag: c.etag}}, func(m *registryv1.WatchResponse) error {
			if err := c.apply(m); err != nil {
				return err
			}
			if end := final(); !c.building && end > 0 && c.revision == end {
				return errDone
			}
			if left--; left < 0 {
				return errCut
			}
			return nil
		})
		switch {
		case errors.Is(err, errDone):
			return resets, nil
		case errors.Is(err, errCut):
			c.building = false
			if rnd.IntN(4) == 0 {
				if err := stayAway(ctx, replicas[0], final); err != nil {
					return resets, err
				}
			}
		case apierr.ReasonOf(err) == apierr.OutOfRange:
			resets++
			c.revision = 0
		default:
			return resets, err
		}
	}
}

// stayAway returns once much has happened that nobody took note of.
func stayAway(ctx context.Context, r *replica, final func() int64) error {
	missed := 0
	err := r.feed.Watch(ctx, feed.Wanted{}, func(m *registryv1.WatchResponse) error {
		if missed++; missed > 25 || final() > 0 {
			return errDone
		}
		return nil
	})
	if errors.Is(err, errDone) || apierr.ReasonOf(err) == apierr.OutOfRange {
		return nil
	}
	return err
}

var errDone = errors.New("everything was seen")

// mutate makes one random change; one that is refused is as good.
func mutate(ctx context.Context, t *testing.T, s *store.Store, rnd *rand.Rand) error {
	t.Helper()
	model := fmt.Sprintf("m%d", rnd.IntN(6))
	var err error
	switch rnd.IntN(16) {
	case 0, 1:
		_, err = s.CreateModel(ctx, "", &registryv1.Model{Name: model})
	case 2:
		err = s.DeleteModel(ctx, "", model)
	case 3, 4, 5:
		_, err = s.CreateVersion(ctx, "", storetest.Version(t, model, rnd.IntN(30)))
	case 6, 7:
		_, err = s.SetAlias(ctx, "", model, fmt.Sprintf("a%d", rnd.IntN(3)), 1+rnd.Int32N(4), store.AnyEtag)
	case 8:
		err = s.DeleteAlias(ctx, "", model, fmt.Sprintf("a%d", rnd.IntN(3)), store.AnyEtag)
	case 9, 10:
		w := rnd.Int32N(store.WholeSplit)
		_, err = s.SetSplit(ctx, "", model, []*registryv1.Arm{
			{Name: "a", Version: 1, Weight: w}, {Name: "b", Version: 2, Weight: store.WholeSplit - w},
		}, store.AnyEtag)
	case 11:
		err = s.DeleteSplit(ctx, "", model, store.AnyEtag)
	case 12, 13, 14:
		v := storetest.Variant(t, model, fmt.Sprintf("q%d", rnd.IntN(3)), rnd.IntN(3))
		if rnd.IntN(2) == 0 {
			v.Quality = &registryv1.Quality{Perplexity: 1 + rnd.Float64(), SourcePerplexity: 1}
		}
		_, err = s.CreateVariant(ctx, "", store.VersionKey{Number: 1 + rnd.Int32N(3)}, v)
	case 15:
		err = s.DeleteVariant(ctx, "", model, store.VersionKey{Number: 1 + rnd.Int32N(3)}, fmt.Sprintf("q%d", rnd.IntN(3)))
	}
	switch apierr.ReasonOf(err) {
	case "", apierr.AlreadyExists, apierr.NotFound, apierr.ModelNotFound, apierr.FailedPrecondition:
		return nil
	default:
		return err
	}
}

// watchersAgree lets writers on two replicas change models at random while
// watchers disconnect and resume anywhere, some after what they need was
// forgotten. Each must end with exactly the store's state.
func watchersAgree(t *testing.T, cfg sqldb.Config, listen listener) {
	t.Helper()
	const writers, changes, watchers = 4, 80, 5
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	replicas := newReplicas(t, 2, cfg, listen)

	for m := range 6 {
		name := fmt.Sprintf("m%d", m)
		_, err := replicas[0].store.CreateModel(t.Context(), "", &registryv1.Model{Name: name})
		for seed := 0; seed < 4 && err == nil; seed++ {
			_, err = replicas[0].store.CreateVersion(t.Context(), "", storetest.Version(t, name, seed))
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	var final atomic.Int64 // the last revision, once the writers are done
	var resets atomic.Int64
	consumers := make([]*consumer, watchers)
	var watching, writing sync.WaitGroup
	for i := range consumers {
		consumers[i] = new(consumer)
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		watching.Go(func() {
			n, err := consumers[i].run(t.Context(), rnd, replicas, final.Load)
			resets.Add(int64(n))
			if err != nil {
				t.Errorf("watcher %d: %v", i, err)
			}
		})
	}
	for w := range writers {
		rnd := rand.New(rand.NewPCG(seed, uint64(100+w)))
		writing.Go(func() {
			for range changes {
				if err := mutate(t.Context(), t, replicas[w%2].store, rnd); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	writing.Wait()
	// One change more, so that watchers who have everything are told of the end.
	end, err := replicas[0].store.Revision(t.Context())
	if err == nil {
		final.Store(end + 1)
		_, err = replicas[0].store.CreateModel(t.Context(), "", &registryv1.Model{Name: "the-end"})
	}
	if err != nil {
		t.Fatal(err)
	}
	watching.Wait()
	want := states(t, replicas[1].store)
	for _, c := range consumers {
		compare(t, want, c.models)
	}
	t.Logf("%d revisions, %d snapshots after falling behind", end+1, resets.Load())
}

func states(t *testing.T, s *store.Store) map[string]*registryv1.ModelState {
	t.Helper()
	out := make(map[string]*registryv1.ModelState)
	for after := ""; ; {
		page, err := s.Page(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range page.Models {
			out[st.GetModel().GetName()] = st
		}
		if page.Last {
			return out
		}
		after = page.After
	}
}

func TestWatchersAgreeOnSQLite(t *testing.T) { watchersAgree(t, storetest.SQLite(t), nil) }

func compare(t *testing.T, want, got map[string]*registryv1.ModelState) {
	t.Helper()
	if a, b := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)); !slices.Equal(a, b) {
		t.Fatalf("the watcher has the models %v, the store %v", b, a)
	}
	for name, st := range want {
		if !proto.Equal(st, got[name]) {
			t.Errorf("model %s\nwatcher %v\n  store %v", name, got[name], st)
		}
	}
}
