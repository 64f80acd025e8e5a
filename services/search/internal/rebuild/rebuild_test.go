package rebuild

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/store"
)

// parts are what a builder works with, in memory but for the store.
type parts struct {
	mu       sync.Mutex
	embedded map[string]int
	hang     chan struct{} // Embed waits for it when it is not nil
	hanging  chan struct{}
}

func (p *parts) Embed(ctx context.Context, model string, _ embedding.Kind, texts []string) (embedding.Vectors, error) {
	p.mu.Lock()
	hang := p.hang
	for _, t := range texts {
		p.embedded[t]++
	}
	p.mu.Unlock()
	if hang != nil {
		p.hanging <- struct{}{}
		select {
		case <-hang:
		case <-ctx.Done():
			return embedding.Vectors{}, context.Cause(ctx)
		}
	}
	v := embedding.Vectors{Digest: "two", Values: make([][]float32, len(texts))}
	for i := range v.Values {
		v.Values[i] = []float32{1, 2}
	}
	return v, nil
}

func (*parts) Fit(context.Context, store.Collection, string, []*store.Version) *apierr.Error {
	return nil
}

func (p *parts) Cut(_ store.Collection, v *store.Version) *apierr.Error {
	v.Chunks = []store.Chunk{{End: len(v.Text), Terms: 1, Text: v.Text}}
	return nil
}

func (p *parts) CatchUp(context.Context, store.Collection, int64) (index.Collection, error) {
	return nil, nil //nolint:nilnil // nobody looks at it
}

func (p *parts) Notify() {}

func setup(t *testing.T, documents int) (*store.Store, store.Collection, *parts) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.DefaultConfig("sqlite://"+filepath.Join(t.TempDir(), "truth.db")))
	check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	s, err := store.New(t.Context(), db, clock.Real(), slog.New(slog.DiscardHandler))
	check(t, err)
	c, err := s.CreateCollection(t.Context(), store.Collection{Tenant: "acme", ID: "c", UID: "uid", EmbeddingModel: "m", Analyser: 1}, 1)
	check(t, err)
	w := store.Write{By: store.Rights{All: true}, Digest: "one", Dimensions: 2}
	for i := range documents {
		text := fmt.Sprint("text ", i)
		w.Documents = append(w.Documents, store.Version{
			Document: store.Document{ID: fmt.Sprint(i), Text: text, Metadata: []byte(`{}`), TextHash: text},
			Chunks:   []store.Chunk{{Text: text, Terms: 1, Vector: []float32{2, 1}}},
		})
	}
	_, _, err = s.Upsert(t.Context(), c, w)
	check(t, err)
	c, err = s.Collection(t.Context(), "acme", "c")
	check(t, err)
	return s, c, &parts{embedded: map[string]int{}, hanging: make(chan struct{}, 10)}
}

func builder(s *store.Store, p *parts, holder string, change func(*Options)) *Builder {
	o := Options{
		Store: s, Embedder: p, Cutter: p, Indexes: p, Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler),
		Holder: holder, Poll: time.Millisecond, Lease: 100 * time.Millisecond, CallChunks: 2, GroupDocuments: 4, GroupBytes: 1 << 20, KeepRetired: time.Hour,
	}
	if change != nil {
		change(&o)
	}
	return New(o)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, s *store.Store, c store.Collection) int {
	t.Helper()
	g, err := s.CreateEmbeddingGeneration(t.Context(), c, store.EmbeddingGeneration{EmbeddingModel: "m", Analyser: 1, ServeWhenReady: true})
	check(t, err)
	return g.Number
}

// serves waits until an embedding generation serves.
func serves(t *testing.T, s *store.Store, c store.Collection, number int) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		g, err := s.EmbeddingGeneration(t.Context(), c, number)
		check(t, err)
		if g.State == store.Serving {
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("%+v", g)
		}
	}
}

// start runs a builder and returns what ends it.
func start(t *testing.T, b *Builder) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A process that dies within its work is replaced once its lease has ended, and
// what it has written is not done again; were it only slow, it writes no more.
func TestAnotherProcessGoesOn(t *testing.T) {
	s, c, p := setup(t, 30)
	number := create(t, s, c)
	live, err := s.Live(t.Context())
	check(t, err)
	dead := builder(s, p, "dead", nil)
	lease, err := s.Lease(t.Context(), live[0].Collection, "dead", 100*time.Millisecond)
	check(t, err)
	for range 3 { // and then it dies, as after kill -9: nothing is given back
		_, err := dead.slice(t.Context(), live[0], lease, false)
		check(t, err)
	}
	stop := start(t, builder(s, p, "heir", nil))
	defer stop()
	serves(t, s, c, number)
	if err := s.Embed(t.Context(), lease, store.Embedded{Through: 1}); err == nil {
		t.Error("the dead one writes")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for text, n := range p.embedded {
		if n != 1 {
			t.Errorf("%q was embedded %d times", text, n)
		}
	}
	if len(p.embedded) != 30 {
		t.Errorf("%d of 30 were embedded", len(p.embedded))
	}
}

// Two processes side by side do the work once.
func TestOneProcessBuilds(t *testing.T) {
	s, c, p := setup(t, 60)
	number := create(t, s, c)
	for _, holder := range []string{"a", "b"} {
		t.Cleanup(start(t, builder(s, p, holder, func(o *Options) { o.Lease = time.Minute })))
	}
	serves(t, s, c, number)
	p.mu.Lock()
	defer p.mu.Unlock()
	for text, n := range p.embedded {
		if n != 1 {
			t.Errorf("%q was embedded %d times", text, n)
		}
	}
}

// A long call does not lose the lease, and ends with the service.
func TestTheLeaseIsRenewed(t *testing.T) {
	s, c, p := setup(t, 3)
	number := create(t, s, c)
	p.hang = make(chan struct{})
	stop := start(t, builder(s, p, "slow", nil))
	<-p.hanging
	<-time.After(300 * time.Millisecond) // three leases
	if _, err := s.Lease(t.Context(), c.At(number), "other", time.Minute); err == nil {
		t.Error("the lease was lost")
	}
	stop()
	if _, err := s.Lease(t.Context(), c.At(number), "other", time.Minute); err != nil {
		t.Errorf("the lease was not given back: %v", err)
	}
}

// The rate bounds what is embedded.
func TestTheRateHolds(t *testing.T) {
	s, c, p := setup(t, 40)
	number := create(t, s, c)
	began := time.Now()
	stop := start(t, builder(s, p, "a", func(o *Options) { o.ChunksPerSecond = 100 }))
	defer stop()
	serves(t, s, c, number)
	if took := time.Since(began); took < 350*time.Millisecond { // all but the last four
		t.Errorf("40 passages at 100 a second took %v", took)
	}
}

func TestCancellingEndsTheWork(t *testing.T) {
	s, c, p := setup(t, 3)
	number := create(t, s, c)
	p.hang = make(chan struct{})
	stop := start(t, builder(s, p, "a", nil))
	defer stop()
	<-p.hanging
	check(t, s.RemoveEmbeddingGeneration(t.Context(), c, number))
	deadline := time.After(10 * time.Second)
	for {
		_, err := s.EmbeddingGeneration(t.Context(), c, number)
		if err != nil && strings.Contains(err.Error(), "there is no embedding generation") {
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("it is still there: %v", err)
		}
	}
}
