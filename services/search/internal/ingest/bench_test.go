package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/search/internal/chunk"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/index/embedded"
	"github.com/poterne/poterne/services/search/internal/store"
	"github.com/poterne/poterne/services/search/internal/texttest"
)

const (
	benchBatch      = 256
	benchDimensions = 384
	benchDocuments  = 20 * benchBatch
)

// instant is an embedder that takes no time.
type instant struct{ vector []float32 }

func (e instant) Embed(_ context.Context, _ string, _ embedding.Kind, texts []string) (embedding.Vectors, error) {
	v := embedding.Vectors{Digest: "d", Values: make([][]float32, len(texts))}
	for i := range v.Values {
		v.Values[i] = e.vector
	}
	return v, nil
}

// uncounted is a model without a tokeniser.
type uncounted struct{}

func (uncounted) Limit(context.Context, string, string) (int, bool) { return 0, false }

func (uncounted) Count(context.Context, string, []string) (counts []int, ok bool) { return nil, false }

// pipeline is everything that a document passes, but the model.
type pipeline struct {
	store      *store.Store
	index      *embedded.Index
	follower   *follow.Follower
	ingester   *Ingester
	collection store.Collection
	batches    [][]Input
}

func newPipeline(b *testing.B) *pipeline {
	b.Helper()
	db, err := sqldb.Open(b.Context(), sqldb.DefaultConfig("sqlite://"+filepath.Join(b.TempDir(), "truth.db")))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	log := slog.New(slog.DiscardHandler)
	p := &pipeline{}
	if p.store, err = store.New(b.Context(), db, clock.Real(), log); err != nil {
		b.Fatal(err)
	}
	if p.collection, err = p.store.CreateCollection(b.Context(), store.Collection{Tenant: "acme", ID: "c", UID: "uid", EmbeddingModel: "m"}, 1); err != nil {
		b.Fatal(err)
	}
	if p.index, err = embedded.New(b.TempDir()); err != nil {
		b.Fatal(err)
	}
	p.follower = follow.New(follow.Options{
		Store: p.store, Index: p.index, Clock: clock.Real(), Logger: log, Poll: time.Hour,
		Followed: func(bool, time.Duration, error) {},
	})
	b.Cleanup(func() { _ = p.follower.Close() })
	vector := make([]float32, benchDimensions)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range vector {
		vector[i] = rng.Float32()
	}
	p.ingester = New(Options{
		Store: p.store, Embedder: instant{vector}, Clock: clock.Real(), Counter: uncounted{}, Indexes: p.follower, Chunking: chunk.DefaultOptions(),
		MaxCollectionChunks: 10_000_000, GroupChunks: benchBatch,
	})
	texts := texttest.New(rng)
	for at := 0; at < benchDocuments; at += benchBatch {
		batch := make([]Input, benchBatch)
		for i := range batch {
			batch[i] = Input{ID: fmt.Sprintf("d%06d", at+i), Title: texts.Passage(5), Text: texts.Passage(95), Metadata: map[string]any{"n": float64(i)}}
		}
		p.batches = append(p.batches, batch)
	}
	return p
}

// measure reports how fast chunks pass work, and what that takes of processors.
func measure(b *testing.B, chunks int, work func()) {
	b.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start, cpu := time.Now(), used()
	work()
	took, cost := time.Since(start), used()-cpu
	b.ReportMetric(float64(chunks)/took.Seconds(), "chunks/s")
	b.ReportMetric(float64(cost.Microseconds())/float64(chunks), "cpu_us/chunk")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIngest sends documents of one chunk each, of about a hundred words,
// through everything but the model.
func BenchmarkIngest(b *testing.B) {
	for range b.N {
		p := newPipeline(b)
		if _, err := p.follower.Collection(b.Context(), p.collection); err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.follower.Run(ctx, func(follow.State) {}) }()
		measure(b, benchDocuments, func() {
			var last int64
			for _, batch := range p.batches {
				results, generation, err := p.ingester.Upsert(b.Context(), p.collection, store.Rights{All: true}, batch, false)
				if err != nil || results[0].Err != nil {
					b.Fatal(err, results[0].Err)
				}
				last = generation
			}
			if _, err := p.follower.CatchUp(b.Context(), p.collection, last); err != nil {
				b.Fatal(err)
			}
		})
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkIngestStages measures each of what BenchmarkIngest does by itself.
func BenchmarkIngestStages(b *testing.B) {
	p := newPipeline(b)
	groups := make([][]*item, len(p.batches))
	b.Run("check and cut", func(b *testing.B) {
		measure(b, benchDocuments, func() {
			for i, batch := range p.batches {
				var err error
				if groups[i], err = p.ingester.prepare(b.Context(), p.collection, store.Rights{All: true}, batch, make([]Result, len(batch))); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("store", func(b *testing.B) {
		measure(b, benchDocuments, func() {
			for _, group := range groups {
				if _, _, err := p.ingester.write(b.Context(), &p.collection, store.Rights{All: true}, group); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	var changes []store.Changes
	b.Run("read changes", func(b *testing.B) {
		measure(b, benchDocuments, func() {
			for since := int64(1); ; since = changes[len(changes)-1].Through {
				ch, err := p.store.Changes(b.Context(), p.collection, since, benchBatch)
				if err != nil {
					b.Fatal(err)
				}
				if len(ch.Versions) == 0 {
					break
				}
				changes = append(changes, ch)
			}
		})
	})
	b.Run("index", func(b *testing.B) {
		c, err := p.index.Open(b.Context(), "uid")
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Replace(b.Context(), 1, func(func(index.Document, error) bool) {}); err != nil {
			b.Fatal(err)
		}
		measure(b, benchDocuments, func() {
			for _, ch := range changes {
				out := index.Changes{Through: ch.Through}
				for _, v := range ch.Versions {
					fields, err := filter.Fields(map[string]any{"n": 1.0})
					if err != nil {
						b.Fatal(err)
					}
					d := index.Document{No: v.No, ID: v.ID, Principals: v.Principals, Fields: fields}
					for _, k := range v.Chunks {
						d.Chunks = append(d.Chunks, index.Chunk{Number: k.Number, Terms: k.Terms, Text: follow.Indexed(v.Title, k.Text), Vector: k.Vector})
					}
					out.Put = append(out.Put, d)
				}
				if err := c.Apply(b.Context(), out); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
