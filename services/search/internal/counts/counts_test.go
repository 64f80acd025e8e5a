package counts

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/store"
)

// fakeStore counts how often it is asked, which takes it some time.
type fakeStore struct {
	mu    sync.Mutex
	asked int
	takes time.Duration
	gives store.ReadableCounts
	err   error
}

func (f *fakeStore) CountReadable(ctx context.Context, _ store.Collection, _ []string) (store.ReadableCounts, error) {
	f.mu.Lock()
	f.asked++
	takes, gives, err := f.takes, f.gives, f.err
	f.mu.Unlock()
	if takes > 0 {
		select {
		case <-ctx.Done():
			return store.ReadableCounts{}, ctx.Err()
		case <-time.After(takes):
		}
	}
	return gives, err
}

type fixture struct {
	*Counts
	store *fakeStore
	notes map[Result]int
}

func newFixture(t *testing.T, size int) fixture {
	t.Helper()
	f := fixture{store: &fakeStore{gives: store.ReadableCounts{Documents: 2, Chunks: 3}}, notes: make(map[Result]int)}
	var mu sync.Mutex
	var err error
	f.Counts, err = New(Options{Store: f.store, Clock: clock.Real(), Size: size, Note: func(_ context.Context, r Result) {
		mu.Lock()
		defer mu.Unlock()
		f.notes[r]++
	}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func collection(uid string, generation int64) store.Collection {
	return store.Collection{UID: uid, Generation: generation, DocumentCount: 9, ChunkCount: 10}
}

func (f fixture) want(t *testing.T, col store.Collection, asked int, who ...string) {
	t.Helper()
	got, err := f.Of(t.Context(), col, who)
	if err != nil || got.DocumentCount != 2 || got.ChunkCount != 3 || got.UID != col.UID || f.store.asked != asked {
		t.Errorf("got %+v, %v after %d questions, want %d", got, err, f.store.asked, asked)
	}
}

func TestACountIsOfOneGenerationAndOneSetOfPrincipals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 0)
		f.want(t, collection("c", 1), 1, "a", "b")
		f.want(t, collection("c", 1), 1, "a", "b")
		f.want(t, collection("c", 1), 2, "ab")
		f.want(t, collection("c", 1), 3, "a")
		f.want(t, collection("d", 1), 4, "a")
		f.want(t, collection("c", 2), 5, "a")
		f.want(t, collection("c", 2), 5, "a")
		if got := fmt.Sprint(f.notes); got != "map[hit:2 made:5]" {
			t.Error(got)
		}
		if got, err := f.Of(t.Context(), store.Collection{UID: "empty", Generation: 4}, nil); err != nil || got.DocumentCount != 0 || f.store.asked != 5 {
			t.Errorf("an empty one: %+v, %v", got, err)
		}
	})
}

func TestACountEndsWithTheFirstDocumentThatDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 0)
		f.store.gives.Until = time.Now().Add(time.Minute)
		f.want(t, collection("c", 1), 1)
		<-time.After(time.Minute - time.Nanosecond)
		f.want(t, collection("c", 1), 1)
		<-time.After(time.Nanosecond)
		f.want(t, collection("c", 1), 2)
	})
}

// Those who ask together share one count, also when the one who counts leaves.
func TestOneCountsForAllWhoAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 0)
		f.store.takes = time.Second
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := f.Of(first, collection("c", 1), nil); !errors.Is(err, context.Canceled) {
				t.Errorf("who left: %v", err)
			}
		})
		synctest.Wait()
		for range 8 {
			wg.Go(func() {
				if got, err := f.Of(t.Context(), collection("c", 1), nil); err != nil || got.DocumentCount != 2 {
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
		synctest.Wait()
		leave()
		wg.Wait()
		if f.store.asked != 2 || f.notes[Hit] != 7 || f.notes[Made] != 1 || f.notes[Failed] != 1 {
			t.Errorf("%d questions, %v", f.store.asked, f.notes)
		}
	})
}

// What takes long is not counted after each write.
func TestASlowCountRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 0)
		f.store.takes = time.Second
		f.want(t, collection("c", 1), 1)
		<-time.After(restFactor*time.Second - time.Nanosecond)
		f.want(t, collection("c", 2), 1)
		<-time.After(time.Nanosecond)
		f.want(t, collection("c", 2), 2)
	})
}

func TestAFailureIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 0)
		f.store.err = errors.New("the store is away")
		if _, err := f.Of(t.Context(), collection("c", 1), nil); !errors.Is(err, f.store.err) {
			t.Error(err)
		}
		f.store.err = nil
		f.want(t, collection("c", 1), 2)
	})
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	f := newFixture(t, 10)
	for i := range 1000 {
		if _, err := f.Of(t.Context(), collection(fmt.Sprint(i), 1), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.known.Len(); n > 10 {
		t.Errorf("%d counts are remembered", n)
	}
}
