package embedded

import (
	"context"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/vectortest"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/vector"
)

// world is an index whose files are small, and what it should hold.
type world struct {
	t     *testing.T
	dir   string
	opts  []Option
	x     *Index
	c     *collection
	model *vectortest.Model
	docs  map[int64]index.Document
	no    int64
}

func newWorld(t *testing.T, opts ...Option) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), docs: make(map[int64]index.Document),
		opts:  append([]Option{withLimits(limits{seal: 16 << 10, merge: 128 << 10})}, opts...),
		model: vectortest.New(rand.New(rand.NewPCG(1, 1)), recallWidth),
	}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.x, err = New(w.dir, w.opts...); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.x.Close() })
	c, err := w.x.Open(w.t.Context(), "c")
	if err != nil {
		w.t.Fatal(err)
	}
	w.c = c.(*collection) //nolint:errcheck,forcetypeassert // ours
}

// replace has the collection compared with the truth, and returns how many
// versions it had kept.
func (w *world) replace() (kept int) {
	w.t.Helper()
	keeps, err := w.c.Kept(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var docs iter.Seq2[index.Document, error] = func(yield func(index.Document, error) bool) {
		for _, no := range slices.Sorted(maps.Keys(w.docs)) {
			d := w.docs[no]
			if keeps != nil && keeps(no, len(d.Chunks)) {
				kept++
				d.Kept = true
				d.Chunks = make([]index.Chunk, len(d.Chunks))
				for i := range d.Chunks {
					d.Chunks[i].Number = i
				}
			}
			if !yield(d, nil) {
				return
			}
		}
	}
	if err := w.c.Replace(w.t.Context(), w.no+1, docs); err != nil {
		w.t.Fatal(err)
	}
	w.no++
	return kept
}

// change removes about a share of the documents and adds some.
func (w *world) change(rng *rand.Rand, share float64, add int) {
	w.t.Helper()
	var ch index.Changes
	for no := range w.docs {
		if rng.Float64() < share {
			ch.Remove = append(ch.Remove, no)
			delete(w.docs, no)
		}
	}
	for range add {
		w.no++
		d := numbered(w.model, w.no)
		w.docs[d.No] = d
		ch.Put = append(ch.Put, d)
	}
	w.no++
	ch.Through = w.no
	if err := w.c.Apply(w.t.Context(), ch); err != nil {
		w.t.Fatal(err)
	}
}

// settle waits for merges.
func (w *world) settle() { w.c.merges.Wait() }

func (w *world) check() {
	w.t.Helper()
	for _, p := range []string{"all", "tens"} {
		query := w.model.Next()
		legs, err := w.c.Search(w.t.Context(), index.Query{Vector: query, Principals: []string{p}, Limit: 10})
		if err != nil {
			w.t.Fatal(err)
		}
		want := nearestOf(w.docs, query, 10, func(d index.Document) bool { return slices.Contains(d.Principals, p) })
		var got []string
		for _, h := range legs.Vector {
			got = append(got, h.ChunkID)
		}
		if !alike(w.docs, query, got, want) {
			w.t.Fatalf("%s: got %v, want %v", p, got, want)
		}
	}
	w.c.writing.Lock() // so that no merge ends meanwhile
	defer w.c.writing.Unlock()
	if w.c.memory.stats.Passages != 3*len(w.docs) {
		w.t.Fatalf("%d passages of %d documents", w.c.memory.stats.Passages, len(w.docs))
	}
	live := 0
	for _, p := range w.c.memory.parts {
		live += p.live
	}
	if tail := w.c.memory.stats.Passages - live; tail < 0 || tail > w.c.store.TailRows() {
		w.t.Fatalf("%d passages, %d of them in segments, %d in the log", w.c.memory.stats.Passages, live, w.c.store.TailRows())
	}
}

// Whatever is written, removed, merged and restarted, searches find what an
// exact scan of the truth finds.
func TestVectorsAgreeWithTheTruth(t *testing.T) {
	for seed := range uint64(2) {
		w := newWorld(t)
		rng := rand.New(rand.NewPCG(seed, 2))
		w.replace()
		merged := false
		for range 40 {
			switch rng.IntN(8) {
			case 0:
				if err := w.x.Close(); err != nil {
					t.Fatal(err)
				}
				w.open()
				w.wantOnDisk()
				w.replace() // words that came last may not have been written, and come again
			case 1:
				w.settle()
			case 2:
				w.replace()
			case 3:
				w.change(rng, 0.7, 5)
			default:
				w.change(rng, 0.1, 30)
			}
			w.check()
			merged = merged || w.dropped() > 0
		}
		w.settle()
		w.check()
		if !merged {
			t.Error("nothing was ever merged")
		}
		if gone := segmentRows(w) - w.c.memory.stats.Passages; gone > 2*w.c.memory.stats.Passages+compactRows {
			t.Errorf("%d rows are kept of versions that are gone", gone)
		}
	}
}

// onDisk returns the versions whose vectors are in files.
func (w *world) onDisk() map[int64]bool {
	have := make(map[int64]bool)
	for _, seg := range w.c.store.Segments() {
		for _, k := range seg.Keys() {
			have[k.No] = true
		}
	}
	for _, k := range w.c.store.Tail() {
		have[k.No] = true
	}
	return have
}

// wantOnDisk looks whether the files have the vectors of every version.
func (w *world) wantOnDisk() {
	w.t.Helper()
	have := w.onDisk()
	for no := range w.docs {
		if !have[no] {
			w.t.Fatalf("the vectors of version %d are lost", no)
		}
	}
}

// dropped returns how many rows were dropped by merges and not yet compacted.
func (w *world) dropped() int {
	w.c.writing.Lock()
	defer w.c.writing.Unlock()
	if w.c.memory.vectors == nil {
		return 0
	}
	return w.c.memory.vectors.Dropped()
}

func segmentRows(w *world) (n int) {
	for _, p := range w.c.memory.parts {
		n += p.segment.Rows()
	}
	return n
}

// Segments are merged and unmapped while others search.
func TestSearchesGoOnWhileSegmentsAreMerged(t *testing.T) {
	w := newWorld(t)
	w.replace()
	rng := rand.New(rand.NewPCG(5, 5))
	w.change(rng, 0, 200)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		query := w.model.Next()
		wg.Go(func() {
			for ctx.Err() == nil {
				legs, err := w.c.Search(t.Context(), index.Query{Vector: query, Principals: []string{"all"}, Limit: 10})
				if err != nil || len(legs.Vector) != 10 {
					t.Errorf("%d hits, %v", len(legs.Vector), err)
					return
				}
			}
		})
	}
	merged := false
	for i := range 12 {
		w.change(rng, 0.3, 60)
		if i%4 == 3 {
			w.settle()
		}
		merged = merged || w.dropped() > 0
	}
	cancel()
	wg.Wait()
	w.settle()
	if !merged {
		t.Error("nothing was merged")
	}
	w.check()
}

// Vectors that are damaged on disk are taken from the truth again, and only
// those.
func TestDamagedVectorsAreTakenFromTheTruth(t *testing.T) {
	w := newWorld(t)
	w.replace()
	for range 5 {
		w.change(rand.New(rand.NewPCG(6, 6)), 0, 40)
	}
	w.settle()
	if err := w.x.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(w.dir, "c", vectorsDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".seg") || damaged > 0 {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(filepath.Join(dir, e.Name()), b, 0o600); err != nil {
			t.Fatal(err)
		}
		damaged++
	}
	w.open()
	have := 0
	for no := range w.docs {
		if w.onDisk()[no] {
			have++
		}
	}
	if kept := w.replace(); damaged == 0 || have == 0 || have == len(w.docs) || kept > have {
		t.Errorf("%d files are damaged, those of %d of %d versions are left, %d are kept", damaged, have, len(w.docs), kept)
	}
	w.check()
}

// Another encoding is another layout: what was kept is made anew.
func TestAnotherEncodingIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.replace()
	w.change(rand.New(rand.NewPCG(7, 7)), 0, 100)
	if err := w.x.Close(); err != nil {
		t.Fatal(err)
	}
	w.opts = append(w.opts, WithEncoding(vector.Int8))
	w.open()
	if kept := w.replace(); kept != 0 {
		t.Errorf("%d versions are kept", kept)
	}
	w.change(rand.New(rand.NewPCG(7, 7)), 0, 100)
	checkRecall(t, w.c, w.model, w.docs)
}
