package linefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func begun(t *testing.T, dir string) *Log {
	t.Helper()
	l := New(dir, "a-", ".lines")
	if err := l.Begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(false) })
	return l
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.lines"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// read returns what the next process finds: the files as they are, with nothing of this
// process.
func read(t *testing.T, dir string) (out []string, torn int) {
	t.Helper()
	for _, path := range files(t, dir) {
		n, err := Read(path, func(o []byte) error { out = append(out, string(o)); return nil })
		if err != nil {
			t.Fatal(err)
		}
		torn += n
	}
	return out, torn
}

func add(t *testing.T, l *Log, from, to int) (out []string) {
	t.Helper()
	for i := from; i < to; i++ {
		o := fmt.Sprintf(`{"n":%d,"crc":%q}`, i, strings.Repeat("x", 4000))
		if err := l.Append([]byte(o), int64(i)); err != nil {
			t.Fatal(err)
		}
		out = append(out, o)
	}
	return out
}

func TestLinesAreThereAsSoonAsTheyAreAppended(t *testing.T) {
	dir := t.TempDir()
	l := begun(t, dir)
	want := add(t, l, 0, 1000)
	if got, torn := read(t, dir); !slices.Equal(got, want) || torn != 0 || len(files(t, dir)) < 4 {
		t.Fatalf("%d of %d lines in %d files, %d torn", len(got), len(want), len(files(t, dir)), torn)
	}
	if err := l.Close(false); err != nil {
		t.Fatal(err)
	}
	if got, torn := read(t, dir); !slices.Equal(got, want) || torn != 0 {
		t.Errorf("after the end: %d of %d lines, %d torn", len(got), len(want), torn)
	}
	if err := l.Append([]byte(`{"n":1}`), 1); err == nil {
		t.Error("a log that is closed takes a line")
	}
}

// Files take turns: what was in one before is never seen again.
func TestFilesTakeTurns(t *testing.T) {
	dir := t.TempDir()
	l := begun(t, dir)
	for i := range 40 {
		kept := add(t, l, 100*i, 100*i+100)
		if err := l.Written(int64(100*i + 49)); err != nil {
			t.Fatal(err)
		}
		got, torn := read(t, dir)
		if len(got) < 50 || !slices.Equal(got[len(got)-50:], kept[50:]) || torn != 0 || len(files(t, dir)) > turns+1 {
			t.Fatalf("%d lines in %d files, %d torn", len(got), len(files(t, dir)), torn)
		}
	}
	if err := l.Written(l.Last()); err != nil {
		t.Fatal(err)
	}
	if got, torn := read(t, dir); len(got) != 0 || torn != 0 {
		t.Errorf("%d lines are left, %d torn", len(got), torn)
	}
	add(t, l, 4000, 4001)
	if err := l.Close(true); err != nil || len(files(t, dir)) != 0 {
		t.Errorf("%v are left, %v", files(t, dir), err)
	}
}

func TestTheHeadIsInEachFile(t *testing.T) {
	dir := t.TempDir()
	l := begun(t, dir)
	l.Head = func() [][]byte { return [][]byte{[]byte(`{"head":1}`), []byte(`{"head":2}`)} }
	add(t, l, 0, 600)
	if err := l.Written(599); err != nil {
		t.Fatal(err)
	}
	if got, torn := read(t, dir); !slices.Equal(got, []string{`{"head":1}`, `{"head":2}`}) || torn != 0 {
		t.Errorf("%d lines, %d torn", len(got), torn)
	}
}

// Some bytes may stay, so that what the next start reads is more and there is less to do.
func TestWhatIsKept(t *testing.T) {
	dir := t.TempDir()
	l := begun(t, dir)
	l.Keep = 100_000
	add(t, l, 0, 20)
	if err := l.Written(19); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, dir); len(got) != 20 {
		t.Errorf("%d lines are kept", len(got))
	}
	add(t, l, 20, 30)
	if err := l.Written(29); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, dir); len(got) != 0 {
		t.Errorf("%d lines are kept", len(got))
	}
}

// What must survive a loss of power stays until more came after it: who is done with it
// may not have it on the disk.
func TestDurableFilesStay(t *testing.T) {
	dir := t.TempDir()
	l := begun(t, dir)
	l.Durable, l.Keep = true, 3*FileBytes
	lines := add(t, l, 0, 1000)
	if err := l.Written(999); err != nil {
		t.Fatal(err)
	}
	got, torn := read(t, dir)
	bytes := 0
	for _, line := range got {
		bytes += len(line)
	}
	if torn != 0 || bytes < l.Keep || bytes > l.Keep+2*FileBytes || !slices.Equal(got, lines[len(lines)-len(got):]) {
		t.Errorf("%d lines of %d bytes are kept, %d torn", len(got), bytes, torn)
	}
}

// Lines that come while the store takes a batch go into the same few files again and
// again; when they are fewer, the room is given back.
func TestABatchOfFilesTakesTurns(t *testing.T) {
	dir := t.TempDir()
	l := begun(t, dir)
	l.Keep = FileBytes
	used := make(map[*file]bool)
	n := 0
	for range 20 {
		for range 150 { // files have 65 of these
			add(t, l, n, n+1)
			n++
			used[l.current] = true
		}
		if err := l.Written(int64(n - 30)); err != nil {
			t.Fatal(err)
		}
	}
	if len(used) > turns+1 || len(files(t, dir)) <= 2 {
		t.Errorf("%d files took turns, of which %d are there", len(used), len(files(t, dir)))
	}
	for range 2 {
		if err := l.Written(l.Last()); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(files(t, dir)); got > 2 {
		t.Errorf("%d files stay", got)
	}
}

func TestALineMayBeLongerThanAFile(t *testing.T) {
	dir := t.TempDir()
	l := begun(t, dir)
	want := add(t, l, 0, 1)
	long := `{"n":"` + strings.Repeat("y", 3*FileBytes) + `"}`
	if err := l.Append([]byte(long), 1); err != nil {
		t.Fatal(err)
	}
	want = append(append(want, long), add(t, l, 2, 3)...)
	if got, torn := read(t, dir); !slices.Equal(got, want) || torn != 0 {
		t.Fatalf("%d lines, %d torn", len(got), torn)
	}
	if err := l.Written(2); err != nil || len(l.spare) != 1 || len(l.spare[0].mem) != FileBytes {
		t.Errorf("a file of unusual size is kept, %v", err)
	}
}

// Whatever of a line is on the disk, it is the whole of it or none: also when the rest of
// its place is what was there before.
func TestATornLineIsNoLine(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.lines")
	line := func(n int) []byte {
		f, err := makeFile(path, 4096)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.remove() }()
		for _, o := range []string{fmt.Sprintf(`{"n":%d,"kept":true,"again":%d}`, n, n), fmt.Sprintf(`{"m":%d,"text":%q,"again":%d}`, n, strings.Repeat("z", 20), n)} {
			if err := f.append([]byte(o)); err != nil {
				t.Fatal(err)
			}
		}
		return slices.Clone(f.mem[:f.used])
	}
	before, after := line(11), line(22)
	for cut := range after {
		for _, rest := range [][]byte{before[cut:], make([]byte, len(after)-cut), nil} {
			if err := os.WriteFile(path, slices.Concat(after[:cut], rest), 0o600); err != nil {
				t.Fatal(err)
			}
			var got []string
			torn, err := Read(path, func(o []byte) error { got = append(got, string(o)); return nil })
			if err != nil || len(got)+torn > 2 {
				t.Fatalf("%d: %v, %d, %v", cut, got, torn, err)
			}
			for _, o := range got {
				if strings.Contains(o, "11") && strings.Contains(o, "22") || !strings.HasSuffix(o, "}") {
					t.Fatalf("%d: %s", cut, o)
				}
			}
		}
	}
}

// An earlier version wrote lines without checksums.
func TestLinesOfAnEarlierVersion(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.lines"), []byte("{\"n\":1}\n{\"n\":2}\n{\"n\""), 0o600); err != nil {
		t.Fatal(err)
	}
	got, torn := read(t, dir)
	if len(got) != 2 || strings.TrimSpace(got[1]) != `{"n":2}` || torn != 1 {
		t.Errorf("%q, %d torn", got, torn)
	}
}

// A disk that breaks is an error, and the next line goes into another file.
func TestADiskThatBreaksIsAnError(t *testing.T) {
	dir := t.TempDir()
	l := begun(t, dir)
	add(t, l, 0, 3)
	if err := os.Truncate(files(t, dir)[0], 0); err != nil {
		t.Fatal(err)
	}
	if err := l.Append([]byte(`{"n":3}`), 3); err == nil || l.Failed() == nil {
		t.Fatal("no error")
	}
	want := add(t, l, 4, 6)
	if got, _ := read(t, dir); !slices.Equal(got, want) || l.Failed() != nil {
		t.Errorf("%v, %v", got, l.Failed())
	}
	if err := l.Written(5); err != nil {
		t.Error(err)
	}
}

// Room that is not there is an error, too; and when there is some again, all goes on.
func TestAFullDiskIsAnError(t *testing.T) {
	dir := t.TempDir()
	l := begun(t, dir)
	blocked := filepath.Join(dir, "a-000002.lines")
	if err := os.Mkdir(blocked, 0o700); err != nil { // no other file can be made
		t.Fatal(err)
	}
	n := 0
	for ; l.Failed() == nil; n++ {
		_ = l.Append([]byte(`{"n":"`+strings.Repeat("x", 4000)+`"}`), int64(n))
	}
	if n < 60 {
		t.Fatalf("%d lines", n)
	}
	if err := l.Append([]byte(`{"n":"x"}`), int64(n)); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	if err := l.Written(l.Last()); err != nil || l.Failed() != nil {
		t.Fatalf("with room in the first: %v, %v", err, l.Failed())
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	add(t, l, n, n+500)
	if len(files(t, dir)) < 2 {
		t.Error("there is no other file")
	}
}
