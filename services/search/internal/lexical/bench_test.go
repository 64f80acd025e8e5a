package lexical

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/texttest"
	"github.com/poterne/poterne/services/search/internal/topk"
)

// processors is how long the process has used them, which other work on the
// machine changes less than the time on the clock.
func processors(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSearch reports what searches take over a hundred thousand passages,
// or POTERNE_BENCH_CHUNKS, of which a part may be found; the first ones, whose
// lists are not there yet, by themselves.
func BenchmarkSearch(b *testing.B) {
	passages := 100_000
	if n, err := strconv.Atoi(os.Getenv("POTERNE_BENCH_CHUNKS")); err == nil {
		passages = n
	}
	x, err := Open(filepath.Join(b.TempDir(), "x"), NewCache(DefaultCacheBytes))
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	texts := texttest.New(rand.New(rand.NewPCG(1, 2)))
	stats := Stats{Passages: passages}
	var put []Entry
	for no := range passages {
		text := texts.Passage(100)
		stats.Terms += int64(analysis.Count(text))
		put = append(put, Entry{Key: Key{No: int64(no)}, Text: text})
		if len(put) == 1024 || no == passages-1 {
			if err := x.Write(put, nil); err != nil {
				b.Fatal(err)
			}
			put = put[:0]
		}
	}
	rows := Rows{
		Layout: new(int),
		Row:    func(k Key) (uint32, bool) { return uint32(k.No), true },
		Order:  topk.ByID(func(row uint32) string { return fmt.Sprintf("d%08d#0", row) }),
	}
	v, err := x.View()
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	if err := v.Prepare(rows); err != nil {
		b.Fatal(err)
	}
	questions, long := make([][]analysis.Term, 1000), make([][]analysis.Term, 1000)
	for i := range questions {
		questions[i], long[i] = analysis.Query(texts.Question()), analysis.Query(texts.Passage(60))
	}
	runtime.GC()
	b.Logf("%d segments", len(v.segments))
	for _, part := range []uint32{0, 1, 2, 10, 100, 1000, 3} {
		name, rows, questions := fmt.Sprint("one in ", part), rows, questions
		switch {
		case part == 0:
			name = "first"
		case part == 3:
			name, questions = "long", long
		case part > 1:
			rows.Allowed = func(row uint32) bool { return row*2654435761%part == 0 }
			if part > 16 {
				rows.Few = few(passages, rows.Allowed)
			}
		}
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			cpu := processors(b)
			for i := 0; b.Loop(); i++ {
				began := time.Now()
				if _, err := v.Search(b.Context(), questions[i%len(questions)], stats, rows, 100); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			b.ReportMetric(float64((processors(b)-cpu).Microseconds())/float64(len(took)), "cpu_us/op")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50_us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99_us")
		})
	}
	b.Logf("the cache has %d MB", x.cache.size>>20)
}
