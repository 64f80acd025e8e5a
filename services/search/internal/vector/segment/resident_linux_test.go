package segment

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// mappedKB returns how much of a mapped file counts as the process's memory, in
// KiB; false when it is not mapped.
func mappedKB(tb testing.TB, path string) (resident int, mapped bool) {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		tb.Fatal(err)
	}
	within := false
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 0 && !strings.HasSuffix(fields[0], ":"):
			within = fields[len(fields)-1] == path
			mapped = mapped || within
		case within && fields[0] == "Rss:":
			kb, err := strconv.Atoi(fields[1])
			if err != nil {
				tb.Fatal(err)
			}
			resident += kb
		}
	}
	return resident, mapped
}

// Neither a start nor a merge leaves the rows that it has read in the process's
// memory, and they are the same when they are read again.
func TestRowsThatWereReadAreNotKept(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	if err := s.Reset(layout()); err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, 1, 3000)
	look := func(seg *Segment, after string) {
		t.Helper()
		kb, mapped := mappedKB(t, filepath.Join(dir, segmentName(seg.seq)))
		if !mapped || kb > 16 {
			t.Errorf("after %s %d KiB are kept (mapped: %v)", after, kb, mapped)
		}
	}
	look(seal(t, s), "sealing")
	to, err := s.Merge(t.Context(), s.Segments(), wanted)
	if err != nil {
		t.Fatal(err)
	}
	look(to, "merging")
	from := s.Segments()
	if err := s.Exchange(from, to); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(closeAll(from), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir)
	seg := s.Segments()[0]
	look(seg, "opening")
	held(t, s) // reads all
	if kb, _ := mappedKB(t, filepath.Join(dir, segmentName(seg.seq))); kb < 100 {
		t.Errorf("only %d KiB of what was read are in memory", kb)
	}
	seg.Unneeded()
	look(seg, "saying so")
	if got := held(t, s); len(got) != 2400 {
		t.Errorf("%d versions are held", len(got))
	}
}
