package embedded

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/vectortest"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/vector"
)

// BenchmarkLarge reports, for collections of many passages of one word, how long
// a start takes that finds its files, the median latency and the recall of
// vector searches under filters of several widths, and what the process takes.
func BenchmarkLarge(b *testing.B) {
	for _, rows := range []int64{100_000, 1_000_000} {
		for _, e := range []vector.Encoding{vector.Float32, vector.Int8} {
			b.Run(fmt.Sprintf("%d rows/%s", rows, e), func(b *testing.B) { benchLarge(b, rows, e) })
		}
	}
}

func benchLarge(b *testing.B, rows int64, e vector.Encoding) {
	b.Helper()
	dir := b.TempDir()
	x, c := openLarge(b, dir, e)
	b.Logf("first: %v", replaceLarge(b, c, rows))
	if err := x.Close(); err != nil {
		b.Fatal(err)
	}
	x, c = openLarge(b, dir, e)
	defer x.Close()
	b.Logf("again: %v", replaceLarge(b, c, rows))
	b.Logf("at first: %s", memoryUse(b))
	model := vectortest.New(rand.New(rand.NewPCG(1, 1)), benchDimensions)
	for _, p := range []string{"all", "tens", "hundreds", "thousands"} {
		b.Run(p, func(b *testing.B) {
			var took []time.Duration
			right, total := 0, 0
			for b.Loop() {
				query := model.Next()
				start := time.Now()
				legs, err := c.Search(b.Context(), index.Query{Vector: query, Principals: []string{p}, Limit: 10})
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
				if len(took)%10 == 1 && len(took) < 400 {
					r, n := recallLarge(c.(*collection), query, p, legs) //nolint:errcheck,forcetypeassert // ours
					right, total = right+r, total+n
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50_ms")
			b.ReportMetric(float64(right)/float64(total), "recall")
		})
	}
	b.Logf("at last: %s", memoryUse(b))
}

func openLarge(b *testing.B, dir string, e vector.Encoding) (*Index, index.Collection) {
	b.Helper()
	x, err := New(dir, WithEncoding(e), WithMapped(1<<30))
	if err != nil {
		b.Fatal(err)
	}
	c, err := x.Open(b.Context(), "large")
	if err != nil {
		b.Fatal(err)
	}
	return x, c
}

// replaceLarge returns how long it took, without the making of vectors.
func replaceLarge(b *testing.B, c index.Collection, rows int64) time.Duration {
	b.Helper()
	start := time.Now()
	keeps, err := c.(*collection).Kept(b.Context()) //nolint:errcheck,forcetypeassert // ours
	if err != nil {
		b.Fatal(err)
	}
	model := vectortest.New(rand.New(rand.NewPCG(1, 1)), benchDimensions)
	made := time.Duration(0)
	var docs iter.Seq2[index.Document, error] = func(yield func(index.Document, error) bool) {
		for no := range rows {
			d := index.Document{No: no + 1, ID: fmt.Sprintf("d%07d", no), Principals: []string{"all"}, Chunks: []index.Chunk{{Text: "w", Terms: 1}}}
			for every, p := range map[int64]string{10: "tens", 100: "hundreds", 1000: "thousands"} {
				if no%every == 0 {
					d.Principals = append(d.Principals, p)
				}
			}
			if d.Kept = keeps != nil && keeps(no+1, 1); !d.Kept {
				began := time.Now()
				d.Chunks[0].Vector = model.Next()
				made += time.Since(began)
			}
			if !yield(d, nil) {
				return
			}
		}
	}
	if err := c.Replace(b.Context(), rows+1, docs); err != nil {
		b.Fatal(err)
	}
	return (time.Since(start) - made).Round(time.Millisecond)
}

// recallLarge compares with all rows of those who may be read.
func recallLarge(c *collection, query []float32, p string, legs index.Legs) (right, total int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	want := c.memory.vectors.Exact(c.question(query), c.memory.ranges(c.memory.allowed([]string{p}, nil)), 10, c.memory.chunkID)
	for _, it := range want {
		if slices.ContainsFunc(legs.Vector, func(h index.Hit) bool { return h.ChunkID == c.memory.chunkID(it.Key) }) {
			right++
		}
	}
	return right, len(want)
}

// memoryUse returns what the process has in memory, in MB: of its own, and of
// mapped files.
func memoryUse(b *testing.B) string {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown"
	}
	var out []string
	for line := range strings.Lines(string(status)) {
		for _, what := range []string{"VmRSS:", "RssAnon:", "RssFile:"} {
			if rest, ok := strings.CutPrefix(line, what); ok {
				kb, _ := strconv.Atoi(strings.Fields(rest)[0])
				out = append(out, fmt.Sprintf("%s %d MB", what, kb>>10))
			}
		}
	}
	return strings.Join(out, ", ")
}
