package follow

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/store"
)

// names waits until the index has these names.
func (x *fakeIndex) names(t *testing.T, want ...string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		got, _ := x.Names(t.Context())
		if slices.Sort(got); slices.Equal(got, want) {
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("there are %v, want %v", got, want)
		}
	}
}

// An index of another analyser is noticed, searched while it is made anew in the
// background, where it follows, and then removed.
func TestAnotherAnalyserMakesTheIndexAnew(t *testing.T) {
	f, x, s, c := setup(t)
	put := func(id string) int64 {
		_, g, err := s.Upsert(t.Context(), c, store.Write{By: store.Rights{All: true}, Digest: "d", Dimensions: 1, Documents: []store.Version{{
			Document: store.Document{ID: id, Title: id, Metadata: []byte(`{}`)},
			Chunks:   []store.Chunk{{Terms: 1, Vector: []float32{1}}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	first := put("one")
	if _, err := f.CatchUp(t.Context(), c, first); err != nil {
		t.Fatal(err)
	}
	x.names(t, "uid")

	// The process starts again with a later analyser.
	x.mu.Lock()
	x.block, x.entered = make(chan struct{}), make(chan struct{}, 1)
	x.mu.Unlock()
	o := f.o
	o.Analyser, o.Poll = 2, time.Millisecond
	f = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx, func(State) {}) }()
	<-x.entered
	old, err := f.Collection(ctx, c)
	if err != nil || old.Sequence() != first {
		t.Fatalf("the old one does not serve: %v", err)
	}
	second := put("two")
	if ic, err := f.CatchUp(ctx, c, second); err != nil || ic != old {
		t.Errorf("the old one does not follow: %v", err)
	}
	x.mu.Lock()
	close(x.block)
	x.block = nil
	x.mu.Unlock()
	x.names(t, "uid.a2")
	if ic, err := f.Collection(ctx, c); err != nil || ic == old || ic.Sequence() != second {
		t.Errorf("the new one does not serve: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	// Back to the analyser before: what the later one made is not wanted.
	o.Analyser = 1
	f = New(o)
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- f.Run(ctx, func(State) {}) }()
	x.names(t, "uid")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Terms are counted again when another analyser counted them.
func TestTermsAreCountedByTheAnalyser(t *testing.T) {
	v := store.Version{
		Document: store.Document{ID: "a", Title: "one two", Metadata: []byte(`{}`)},
		Chunks:   []store.Chunk{{Text: "three", Terms: 77}},
	}
	f := New(Options{Clock: clock.Real(), Analyser: 2})
	for analyser, want := range map[int]int{1: 5, 2: 77} {
		d, err := f.document(store.Collection{Analyser: analyser}, v)
		if err != nil || d.Chunks[0].Terms != want {
			t.Errorf("counted by %d: %d terms, want %d (%v)", analyser, d.Chunks[0].Terms, want, err)
		}
	}
}
