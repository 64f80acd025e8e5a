package lexical

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestADamagedIndexIsMadeAnew changes files of an index on disk: what the disk
// has spoiled must not end the process that reads it, and what a kill has left
// half written must not cost the rest.
func TestADamagedIndexIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "x")
	store := filepath.Join(dir, "store")
	written := func() []string {
		names, err := filepath.Glob(filepath.Join(store, "*.zap"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	// kept reports whether the index will know what it wrote when it is opened.
	kept := func() bool {
		root, err := os.ReadFile(filepath.Join(store, "root.bolt"))
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(written(), func(name string) bool { return bytes.Contains(root, []byte(filepath.Base(name))) })
	}
	count := func() (n int) {
		x := open(t, dir)
		if err := x.Keys(func(Key) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	x := open(t, dir)
	put(t, x, "one", "two")
	for deadline := time.Now().Add(10 * time.Second); !kept(); {
		if time.Now().After(deadline) {
			t.Fatal("nothing was written")
		}
		<-time.After(5 * time.Millisecond)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(store, "0000000000ff.zap"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 2 {
		t.Fatalf("%d passages beside a file that is half written, want 2", n)
	}
	for _, name := range written() {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 0x55
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(); n != 0 {
		t.Errorf("a damaged index has %d passages", n)
	}
}
