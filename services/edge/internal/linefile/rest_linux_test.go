package linefile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

// What rests is not resident, is in the file, and can be read and written as before.
func TestRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	f, mem, err := Map(path, 64<<12)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := bytes.Repeat([]byte("line\n"), len(mem)/5)
	copy(mem, want)
	before := testkit.Resident(t, path)
	Rest(mem)
	if now := testkit.Resident(t, path); before < len(mem) || now != 0 {
		t.Errorf("%d bytes of %d are resident, and %d at rest", before, len(mem), now)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(got, want) {
		t.Errorf("the file has lost what was written: %v", err)
	}
	if !bytes.HasPrefix(mem, want) {
		t.Error("the memory has lost what was written")
	}
	mem[0] = 'L'
	if got, err := os.ReadFile(path); err != nil || got[0] != 'L' {
		t.Errorf("the file begins with %q, %v", got[0], err)
	}
	if err := syscall.Munmap(mem); err != nil {
		t.Error(err)
	}
}

// Of the files of a log those stay resident that take turns, and the others rest.
func TestFilesThatAreFullRest(t *testing.T) {
	dir := t.TempDir()
	l := New(dir, "", ".lines")
	if err := l.Begin(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close(true) }()
	object := fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("x", 1000))
	n := int64(0)
	for len(files(t, dir)) < 8 {
		if err := l.Append(object, n); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if got := testkit.Resident(t, dir); got > (turns+1)*FileBytes {
		t.Errorf("%d KB of eight files are resident", got>>10)
	}
	if err := l.Written(n - 2); err != nil {
		t.Fatal(err)
	}
	if got := testkit.Resident(t, dir); got > (turns+1)*FileBytes {
		t.Errorf("%d KB are resident when the others are done with", got>>10)
	}
}

// As long as lines are soon done with, no page leaves memory: it would come back for the
// next one.
func TestFilesThatTakeTurnsDoNotRest(t *testing.T) {
	dir := t.TempDir()
	l := New(dir, "", ".lines")
	l.Keep = FileBytes
	if err := l.Begin(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close(true) }()
	object := fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("x", 1000))
	for n := range int64(4 * FileBytes / 1000) {
		if err := l.Append(object, n); err != nil {
			t.Fatal(err)
		}
		if n%100 == 0 {
			if err := l.Written(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := testkit.Resident(t, dir); got < 2*FileBytes-(64<<10) {
		t.Errorf("%d KB are resident", got>>10)
	}
}
