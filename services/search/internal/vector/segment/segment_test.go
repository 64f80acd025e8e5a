package segment

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/search/internal/vector"
)

func layout() vector.Layout {
	return vector.Layout{Width: 24, Metric: vector.Cosine, Encoding: vector.Float32}
}

// vectorOf is row i of a version: the same whoever asks.
func vectorOf(l vector.Layout, no int64, i int) []float32 {
	v := make([]float32, l.Width)
	for d := range v {
		v[d] = float32(math.Sin(float64(no)*(1.7+float64(d)) + float64(i)*0.37))
	}
	return v
}

func versionOf(l vector.Layout, no int64) Version {
	v := Version{Key: Key{No: no, Count: uint32(1 + no%4), Terms: uint32(no % 100)}}
	for i := range v.Count {
		v.Rows = l.Encode(v.Rows, vectorOf(l, no, int(i)))
	}
	return v
}

func openTest(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// held returns every version that the store has, after a look at every byte of
// its rows.
func held(tb testing.TB, s *Store) map[int64]bool {
	tb.Helper()
	out := make(map[int64]bool)
	l, ok := s.Layout()
	if !ok {
		return out
	}
	note := func(k Key, rows []byte) {
		want := versionOf(l, k.No)
		if k != want.Key || !bytes.Equal(rows, want.Rows) {
			tb.Fatalf("version %d is not what was written: %+v", k.No, k)
		}
		out[k.No] = true
	}
	for _, seg := range s.Segments() {
		data := seg.data()
		for _, k := range seg.Keys() {
			n := int(k.Count) * l.Stride()
			note(k, data[:n])
			data = data[n:]
		}
		if len(data) > 0 {
			tb.Fatalf("segment %d has %d bytes more", seg.seq, len(data))
		}
	}
	if err := s.ReadTail(func(v Version) error { note(v.Key, v.Rows); return nil }); err != nil {
		tb.Fatal(err)
	}
	return out
}

// dirOf returns a directory, in memory where the system has such: the disk tells
// nothing that a process that is killed would notice.
func dirOf(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "poterne-test-") //nolint:usetesting // not where TempDir is
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func appendAll(tb testing.TB, s *Store, from, to int64) {
	tb.Helper()
	l, _ := s.Layout()
	var batch []Version
	for no := from; no <= to; no++ {
		batch = append(batch, versionOf(l, no))
	}
	if err := s.Append(batch); err != nil {
		tb.Fatal(err)
	}
}

func wantHeld(tb testing.TB, s *Store, from, to int64, but ...int64) {
	tb.Helper()
	got := held(tb, s)
	for no := from; no <= to; no++ {
		want := true
		for _, b := range but {
			want = want && b != no
		}
		if got[no] != want {
			tb.Errorf("version %d is held: %v", no, got[no])
		}
		delete(got, no)
	}
	if len(got) > 0 {
		tb.Errorf("held besides: %v", got)
	}
}

func seal(tb testing.TB, s *Store) *Segment {
	tb.Helper()
	seg, err := s.Seal()
	if err != nil || seg == nil {
		tb.Fatalf("%v, %v", seg, err)
	}
	return seg
}

func TestWhatIsWrittenIsThereAfterwards(t *testing.T) {
	for _, e := range encodings() {
		for _, m := range metrics() {
			dir := dirOf(t)
			s := openTest(t, dir)
			l := vector.Layout{Width: 27, Metric: m, Encoding: e}
			if err := s.Append([]Version{versionOf(l, 1)}); err == nil {
				t.Error("a store without a layout takes versions")
			}
			if err := s.Reset(l); err != nil {
				t.Fatal(err)
			}
			appendAll(t, s, 1, 1200) // more than two blocks
			seal(t, s)
			appendAll(t, s, 1201, 1210)
			wantHeld(t, s, 1, 1210)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, dir)
			if got, ok := s.Layout(); !ok || got != l {
				t.Errorf("layout %+v", got)
			}
			wantHeld(t, s, 1, 1210)
			appendAll(t, s, 1211, 1215)
			wantHeld(t, s, 1, 1215)
			if err := s.Reset(layout()); err != nil {
				t.Fatal(err)
			}
			wantHeld(t, s, 1, 0)
		}
	}
}

func TestMergedSegmentsAreWithoutWhatIsGone(t *testing.T) {
	dir := dirOf(t)
	s := openTest(t, dir)
	if err := s.Reset(layout()); err != nil {
		t.Fatal(err)
	}
	for i := range int64(3) {
		appendAll(t, s, 10*i+1, 10*i+10)
		seal(t, s)
	}
	from := s.Segments()[:2]
	to, err := s.Merge(t.Context(), from, func(no int64) bool { return no != 4 && no != 15 })
	if err != nil {
		t.Fatal(err)
	}
	wantHeld(t, s, 1, 30) // not yet
	appendAll(t, s, 31, 32)
	if err := s.Exchange(from, to); err != nil {
		t.Fatal(err)
	}
	if err := closeAll(from); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, s, 1, 32, 4, 15)
	gone := s.Segments()
	none, err := s.Merge(t.Context(), gone, func(int64) bool { return false })
	if err != nil || none != nil {
		t.Fatalf("%v, %v", none, err)
	}
	if err := s.Exchange(gone, nil); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, s, 31, 32)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir)
	wantHeld(t, s, 31, 32)
	if names := filesOf(t, dir); len(names) != 2 {
		t.Errorf("files %v", names)
	}
}

func filesOf(tb testing.TB, dir string) (names []string) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Any byte of any file that is changed, or cut off, is noticed, and what is left
// is as it was written; held looks at all of it.
func TestDamageIsNoticed(t *testing.T) {
	dir := dirOf(t)
	s := openTest(t, dir)
	if err := s.Reset(layout()); err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, 1, 20)
	seal(t, s)
	appendAll(t, s, 21, 30)
	seal(t, s)
	appendAll(t, s, 31, 40)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range filesOf(t, dir) {
		whole, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(whole); at += 1 + len(whole)/40 {
			for _, cut := range []bool{false, true} {
				b := bytes.Clone(whole)
				b[at] ^= 0x10
				if cut {
					b = b[:at]
				}
				// Bytes between a segment's header and its rows mean nothing.
				padding := strings.HasSuffix(name, ".seg") && at >= headerBytes && at < dataAt && !cut
				broken := copyOf(t, dir, name, b)
				s := openTest(t, broken)
				got := held(t, s)
				if len(got) == 40 && !padding {
					t.Errorf("%s is changed at %d (cut: %v), and nothing is missing", name, at, cut)
				}
				if name != manifestName && len(got) < 20 {
					t.Errorf("%s is changed at %d (cut: %v), and only %d versions are left", name, at, cut, len(got))
				}
				if l, ok := s.Layout(); ok { // it goes on
					if err := s.Append([]Version{versionOf(l, 99)}); err != nil {
						t.Error(err)
					}
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func copyOf(tb testing.TB, dir, changed string, with []byte) string {
	tb.Helper()
	out := dirOf(tb)
	for _, name := range filesOf(tb, dir) {
		b := with
		if name != changed {
			var err error
			if b, err = os.ReadFile(filepath.Join(dir, name)); err != nil {
				tb.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(out, name), b, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

func FuzzReadLog(f *testing.F) {
	l := layout()
	whole := header{magic: logMagic, layout: l}.encode()
	whole = appendRecord(whole, versionOf(l, 1))
	whole = appendRecord(whole, versionOf(l, 2))
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x.log")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		good, err := readLog(path, l, func(Version) error { return nil })
		if err == nil && (good < headerBytes || good > int64(len(b))) {
			t.Errorf("%d good bytes of %d", good, len(b))
		}
		_, _ = decodeManifest(b)
		if s, err := openSegment(path, 1, l); err == nil {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
