package querycache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/identity"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/modelwork"
)

const pinned = "e5@sha256:1"

// fakeEmbedder takes a second a call.
type fakeEmbedder struct {
	mu    sync.Mutex
	calls []string // model, tenant and text
	ended int      // before their time
	err   error
}

func (f *fakeEmbedder) Embed(ctx context.Context, model string, _ embedding.Kind, texts []string) (embedding.Vectors, error) {
	caller, _ := identity.FromContext(ctx)
	f.mu.Lock()
	f.calls = append(f.calls, fmt.Sprint(model, " ", caller.Tenant, " ", strings.Join(texts, "|")))
	err := f.err
	f.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		f.mu.Lock()
		f.ended++
		f.mu.Unlock()
		return embedding.Vectors{}, context.Cause(ctx)
	}
	modelwork.From(ctx).Note(modelwork.Embed, nil, &commonv1.TokenUsage{PromptTokens: 1}, 0)
	if err != nil {
		return embedding.Vectors{}, err
	}
	out := embedding.Vectors{Digest: "sha256:1"}
	for _, t := range texts {
		out.Values = append(out.Values, []float32{float32(len(t))})
	}
	return out, nil
}

func (f *fakeEmbedder) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

type rig struct {
	*testing.T
	*Cache
	embedder *fakeEmbedder
	mu       sync.Mutex
	notes    map[Result]int
}

func newRig(t *testing.T, bytes int64) *rig {
	t.Helper()
	r := &rig{T: t, embedder: &fakeEmbedder{}, notes: make(map[Result]int)}
	var err error
	r.Cache, err = New(Options{Embedder: r.embedder, Bytes: bytes, Note: func(_ context.Context, n Result) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.notes[n]++
	}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func of(ctx context.Context, tenant string) context.Context {
	return identity.NewContext(ctx, identity.Caller{Tenant: tenant, Subject: "x"})
}

func (r *rig) ask(ctx context.Context, model, text string) error {
	v, err := r.Embed(ctx, model, embedding.Query, []string{text})
	if err == nil && (len(v.Values) != 1 || v.Values[0][0] != float32(len(text)) || v.Digest != "sha256:1") {
		r.Errorf("%q has %v", text, v)
	}
	return err
}

// start asks beside the test.
func (r *rig) start(ctx context.Context, model, text string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- r.ask(ctx, model, text) }()
	synctest.Wait()
	return done
}

func (r *rig) want(calls int, notes map[Result]int) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.embedder.asked(); n != calls || !maps.Equal(r.notes, notes) {
		r.Errorf("%d calls, want %d; noted %v, want %v", n, calls, r.notes, notes)
	}
}

func TestQueriesAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1<<20)
		ctx := of(t.Context(), "acme")
		for _, q := range []string{"a", "a", "bb", "a"} {
			if err := r.ask(ctx, pinned, q); err != nil {
				t.Fatal(err)
			}
		}
		r.want(2, map[Result]int{Made: 2, Hit: 2})
		// Another version, another tenant, and a reference that may name another
		// version tomorrow are asked for themselves.
		for _, err := range []error{
			r.ask(ctx, "e5@sha256:2", "a"), r.ask(of(t.Context(), "evil"), pinned, "a"), r.ask(ctx, "e5", "a"), r.ask(ctx, "e5", "a"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		r.want(6, map[Result]int{Made: 6, Hit: 2})
	})
}

func TestWhatIsNoQueryIsHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1<<20)
		ctx := of(t.Context(), "acme")
		for range 2 {
			_, _ = r.Embed(ctx, pinned, embedding.Passage, []string{"a"})
			_, _ = r.Embed(ctx, pinned, embedding.Query, []string{"a", "b"})
			_, _ = r.Embed(t.Context(), pinned, embedding.Query, []string{"a"})
		}
		r.want(6, map[Result]int{})
	})
}

func TestIdenticalQueriesShareACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0) // sharing does not need the memory
		leaving, leave := context.WithCancel(of(t.Context(), "acme"))
		first := r.start(leaving, pinned, "a")
		second := r.start(of(t.Context(), "acme"), pinned, "a")
		other := r.start(of(t.Context(), "evil"), pinned, "a")
		hurried, cancel := context.WithTimeoutCause(of(t.Context(), "acme"), 100*time.Millisecond, context.DeadlineExceeded)
		defer cancel()
		third := r.start(hurried, pinned, "a")
		if err := <-third; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a deadline: %v", err)
		}
		leave()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the one who began it and left: %v", err)
		}
		if err := errors.Join(<-second, <-other); err != nil {
			t.Errorf("those who stayed: %v", err)
		}
		r.want(2, map[Result]int{Shared: 1, Made: 1, Dropped: 2})
		if len(r.flights) != 0 {
			t.Errorf("%d calls are kept", len(r.flights))
		}
	})
}

func TestACallThatNobodyWaitsForEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1<<20)
		ctx, leave := context.WithCancel(of(t.Context(), "acme"))
		one, two := r.start(ctx, pinned, "a"), r.start(ctx, pinned, "a")
		leave()
		synctest.Wait()
		again := r.start(of(t.Context(), "acme"), pinned, "a")
		if <-one == nil || <-two == nil {
			t.Error("who left was answered")
		}
		if err := <-again; err != nil {
			t.Errorf("who came after them: %v", err)
		}
		r.embedder.mu.Lock()
		defer r.embedder.mu.Unlock()
		if r.embedder.ended != 1 || len(r.embedder.calls) != 2 {
			t.Errorf("%d calls, of which %d ended early", len(r.embedder.calls), r.embedder.ended)
		}
	})
}

func TestErrorsAreNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1<<20)
		r.embedder.err = errors.New("no worker")
		ctx := of(t.Context(), "acme")
		one, two := r.start(ctx, pinned, "a"), r.start(ctx, pinned, "a")
		if <-one == nil || <-two == nil {
			t.Error("no error")
		}
		r.embedder.mu.Lock()
		r.embedder.err = nil
		r.embedder.mu.Unlock()
		if err := r.ask(ctx, pinned, "a"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		r.want(2, map[Result]int{Failed: 2, Made: 1})
	})
}

func TestTheMemoryIsBounded(t *testing.T) {
	const bytes = 100_000
	r := newRig(t, bytes)
	for i := range 2000 {
		text := fmt.Sprint(i, strings.Repeat("x", 1000))
		r.vectors.Set(key{"acme", pinned, text}, embedding.Vectors{Values: [][]float32{{1}}})
	}
	r.vectors.CleanUp()
	if n := r.vectors.WeightedSize(); n > bytes || n == 0 {
		t.Errorf("%d bytes are kept", n)
	}
}

// The work of a call that several share is told to one of them, who stays.
func TestSharedWorkIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1<<20)
		tenant := of(t.Context(), "acme")
		tallies := make([]*modelwork.Tally, 3)
		var done []<-chan error
		var leave context.CancelFunc
		for i := range tallies {
			ctx, tally := modelwork.NewContext(tenant)
			if tallies[i] = tally; i == 0 { // who began leaves
				ctx, leave = context.WithCancel(ctx)
			}
			done = append(done, r.start(ctx, pinned, "a"))
		}
		leave()
		for i, d := range done {
			if err := <-d; (err != nil) != (i == 0) {
				t.Errorf("%d: %v", i, err)
			}
		}
		r.want(1, map[Result]int{Shared: 2, Dropped: 1})
		counts := make([]int, len(tallies))
		for i, tally := range tallies {
			counts[i] = len(tally.Take())
		}
		if counts[0] != 0 || counts[1]+counts[2] != 1 {
			t.Errorf("the work was told %v times", counts)
		}
	})
}
