package lexical

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/topk"
)

func open(t *testing.T, dir string) *Index {
	t.Helper()
	x, err := Open(dir, NewCache(DefaultCacheBytes))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func put(t *testing.T, x *Index, texts ...string) {
	t.Helper()
	var entries []Entry
	for i, s := range texts {
		entries = append(entries, Entry{Key: Key{No: int64(i + 1)}, Text: s})
	}
	if err := x.Write(entries, nil); err != nil {
		t.Fatal(err)
	}
}

func rowsByNo() Rows {
	return Rows{
		Row:   func(k Key) (uint32, bool) { return uint32(k.No), true },
		Order: cmp.Compare[uint32],
	}
}

func search(t *testing.T, x *Index, query string, stats Stats, rows Rows) []topk.Item {
	t.Helper()
	v, err := x.View()
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Search(t.Context(), analysis.Query(query), stats, rows, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestScoresAreBM25(t *testing.T) {
	x := open(t, filepath.Join(t.TempDir(), "x"))
	defer x.Close()
	texts := []string{"wing flow wing", "flow over cylinder body", "heat", "boundary layer flow flow flow transition point"}
	put(t, x, texts...)
	stats := Stats{Passages: len(texts)}
	lengths := make([]float64, len(texts))
	for i, s := range texts {
		lengths[i] = float64(len(analysis.Analyze(s)))
		stats.Terms += int64(lengths[i])
	}
	bm25 := func(doc int, tf, df float64) float64 {
		n, avg := float64(stats.Passages), float64(stats.Terms)/float64(stats.Passages)
		return math.Log(1+(n-df+0.5)/(df+0.5)) * tf / (tf + 1.2*(0.25+0.75*lengths[doc]/avg))
	}
	want := map[uint32]float64{
		1: bm25(0, 2, 1) + bm25(0, 1, 3),
		2: bm25(1, 1, 3),
		4: bm25(3, 3, 3),
	}
	got := search(t, x, "wings flow", stats, rowsByNo())
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for _, it := range got {
		if math.Abs(it.Score-want[it.Key]) > 1e-6 {
			t.Errorf("passage %d scores %v, want %v", it.Key, it.Score, want[it.Key])
		}
	}
}

func TestScoresDoNotDependOnHowItWasWritten(t *testing.T) {
	texts := []string{"alpha beta", "beta gamma gamma", "alpha alpha delta", "gamma"}
	stats := Stats{Passages: 4, Terms: 9}
	once := open(t, filepath.Join(t.TempDir(), "once"))
	defer once.Close()
	put(t, once, texts...)
	often := open(t, filepath.Join(t.TempDir(), "often"))
	defer often.Close()
	for round := range 3 {
		for i, s := range texts {
			other := []Entry{{Key: Key{No: int64(100*round + i + 10)}, Text: s + " alpha"}}
			if err := often.Write(append(other, Entry{Key: Key{No: int64(i + 1)}, Text: s}), nil); err != nil {
				t.Fatal(err)
			}
			if err := often.Write(nil, []Key{other[0].Key}); err != nil {
				t.Fatal(err)
			}
		}
	}
	a := search(t, once, "alpha gamma", stats, rowsByNo())
	b := search(t, often, "alpha gamma", stats, rowsByNo())
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("once %v, often %v", a, b)
	}
}

func TestOnlyAllowedRowsTakePlaces(t *testing.T) {
	x := open(t, filepath.Join(t.TempDir(), "x"))
	defer x.Close()
	texts := make([]string, 300)
	for i := range texts {
		texts[i] = strings.Repeat("word ", 1+i%7) + "other"
	}
	put(t, x, texts...)
	rows := rowsByNo()
	rows.Allowed = func(row uint32) bool { return row%30 == 1 }
	got := search(t, x, "word", Stats{Passages: 300, Terms: 1500}, rows)
	if len(got) != 10 {
		t.Fatalf("%d hits, want a full page", len(got))
	}
	for _, it := range got {
		if !rows.Allowed(it.Key) {
			t.Errorf("row %d was found", it.Key)
		}
	}
}

func TestReopenedAndBrokenIndexes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	x := open(t, dir)
	put(t, x, "kept", "gone")
	if err := x.Write(nil, []Key{{No: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	count := func(x *Index) (n int) {
		if err := x.Keys(func(Key) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	x = open(t, dir)
	if n := count(x); n > 1 { // what was not written in time is written anew by who knows the truth
		t.Errorf("%d passages", n)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index_meta.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	defer x.Close()
	if n := count(x); n != 0 {
		t.Errorf("a broken index has %d passages", n)
	}
	put(t, x, "works")
	if got := search(t, x, "works", Stats{Passages: 1, Terms: 1}, rowsByNo()); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

// An index that is open already, in another process perhaps, is not taken for a
// broken one and made anew.
func TestAnIndexIsOpenOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	cache := NewCache(DefaultCacheBytes)
	x, err := Open(dir, cache)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if again, err := Open(dir, cache); err == nil {
		t.Error("it was opened twice")
		_ = again.Close()
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "store")); err != nil || len(entries) == 0 {
		t.Errorf("what was open is gone: %v, %v", entries, err)
	}
}
