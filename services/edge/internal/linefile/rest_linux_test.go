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

// Of the files of a log only the one that is written to is resident.
func TestFilesThatAreFullRest(t *testing.T) {
	dir := t.TempDir()
	l := New(dir, "", ".lines")
	if err := l.Begin(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close(true) }()
	object := fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("x", 1000))
	n := int64(0)
	for len(files(t, dir)) < 4 {
		if err := l.Append(object, n); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if got := testkit.Resident(t, dir); got > FileBytes {
		t.Errorf("%d KB of four files are resident", got>>10)
	}
	if err := l.Written(n - 2); err != nil {
		t.Fatal(err)
	}
	if got := testkit.Resident(t, dir); got > FileBytes {
		t.Errorf("%d KB are resident when the others are done with", got>>10)
	}
}
