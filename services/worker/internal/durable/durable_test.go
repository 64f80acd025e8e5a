package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestLock(t *testing.T) {
	dir := t.TempDir()
	lock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := Lock(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("a second: %v, %v", other, err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if lock, err = Lock(dir); err != nil {
		t.Fatalf("when it was given back: %v", err)
	}
	_ = lock.Close()
	if _, err := Lock(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInUse) {
		t.Errorf("no directory: %v", err)
	}
}

func TestSyncDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := SyncDirectory(dir); err != nil {
		t.Error(err)
	}
	if err := SyncDirectory(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	holds := func(want string) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil || string(data) != want {
			t.Errorf("it holds %q, %v, want %q", data, err, want)
		}
	}
	for _, content := range []string{"a long one", "short", ""} {
		if err := Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		holds(content)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("there are %v, %v", list, err)
	}
	// What cannot be written leaves the old one.
	if err := os.Mkdir(path+SuffixNew, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("another")); err == nil {
		t.Error("a file was written over a directory")
	}
	holds("")
}
