package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func directory(t *testing.T, path string) *Directory {
	t.Helper()
	d, err := OpenDirectory(path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestDirectoryContents(t *testing.T) { testContents(t, directory(t, t.TempDir())) }

// testContents is what all of them must do.
func testContents(t *testing.T, c Contents) {
	t.Helper()
	ctx := t.Context()
	first, second := bytes.Repeat([]byte("a"), pieceBytes), []byte("the end\x00")
	for seq, data := range [][]byte{first, second} {
		if err := c.Put(ctx, "file-one", int64(seq), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Put(ctx, "file-two", 0, []byte("other")); err != nil {
		t.Fatal(err)
	}
	for seq, want := range [][]byte{first, second} {
		if got, err := c.Get(ctx, "file-one", int64(seq)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("piece %d: %d bytes, %v", seq, len(got), err)
		}
	}
	if err := c.Put(ctx, "file-one", 1, []byte("again")); err != nil {
		t.Error(err)
	}
	if got, err := c.Get(ctx, "file-one", 1); err != nil || string(got) != "again" {
		t.Errorf("a piece that was put again: %q, %v", got, err)
	}
	for _, of := range []struct {
		id  string
		seq int64
	}{{"file-one", 2}, {"file-none", 0}} {
		if _, err := c.Get(ctx, of.id, of.seq); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v: %v", of, err)
		}
	}
	for range 2 { // of what is not there, too; and of more than there is
		if err := c.Remove(ctx, "file-one", 3); err != nil {
			t.Error(err)
		}
	}
	for seq := range int64(2) {
		if _, err := c.Get(ctx, "file-one", seq); !errors.Is(err, ErrNotFound) {
			t.Errorf("piece %d is left: %v", seq, err)
		}
	}
	if got, err := c.Get(ctx, "file-two", 0); err != nil || string(got) != "other" {
		t.Errorf("another file: %q, %v", got, err)
	}
	const crowd = 8
	piece := func(i int64) []byte { return bytes.Repeat([]byte{byte(i)}, 1000) }
	if err := c.Put(ctx, "file-crowd", 0, piece(0)); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range int64(crowd) {
		for range 2 { // also by two at once
			all.Go(func() {
				if err := c.Put(ctx, "file-crowd", i, piece(i)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	for i := range int64(crowd) {
		if got, err := c.Get(ctx, "file-crowd", i); err != nil || !bytes.Equal(got, piece(i)) {
			t.Errorf("piece %d of many at once: %d bytes, %v", i, len(got), err)
		}
	}
}

func TestDirectoryKeepsPathsInside(t *testing.T) {
	root := t.TempDir()
	d := directory(t, filepath.Join(root, "files"))
	for _, id := range []string{"", "a", "..", "../x", "a/b", "file-\x00a", strings.Repeat("a", 129)} {
		if err := d.Put(t.Context(), id, 0, []byte("x")); err == nil {
			t.Errorf("%q is written", id)
		}
		if _, err := d.Get(t.Context(), id, 0); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%q is read: %v", id, err)
		}
		if err := d.Remove(t.Context(), id, 1); err == nil {
			t.Errorf("%q is removed", id)
		}
	}
	if err := d.Put(t.Context(), "file-a", 0, []byte("x")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A write that could not be finished leaves nothing that can be read, and what a
// killed process left goes with its file.
func TestDirectoryWritesWholePieces(t *testing.T) {
	root := t.TempDir()
	d := directory(t, root)
	if err := d.Put(t.Context(), "file-aa", 0, []byte("first")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "aa", "file-aa")
	if err := os.Mkdir(filepath.Join(dir, "1"), 0o700); err != nil { // so that the new name cannot be taken
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), "file-aa", 1, []byte("second")); err == nil {
		t.Error("it is said to be written")
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "2.KILLED.tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Get(t.Context(), "file-aa", 2); !errors.Is(err, ErrNotFound) {
		t.Errorf("half a piece is read: %v", err)
	}
	if err := d.Remove(t.Context(), "file-aa", 1); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestADirectoryThatIsNotMounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "files")
	if _, err := OpenDirectory(path, true); err == nil {
		t.Error("a directory that is known to have files is made anew")
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDirectory(path, true); err == nil || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("an empty one: %v", err)
	}
	d := directory(t, path)
	if d, err := OpenDirectory(path, true); err != nil {
		t.Error(err)
	} else {
		_ = d.Close()
	}
	if err := os.Remove(filepath.Join(path, marker)); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(t.Context(), "file-aa", 1); err == nil {
		t.Error("what cannot be seen is said to be removed")
	}
}

// stuck does not remove.
type stuck struct {
	Contents
	on bool
}

func (s *stuck) Remove(ctx context.Context, id string, pieces int64) error {
	if s.on {
		return errors.New("not now")
	}
	return s.Contents.Remove(ctx, id, pieces)
}

// A file whose pieces cannot be removed now is gone for callers, counts, keeps nothing
// else from going, and goes with the next purge.
func TestPiecesThatStay(t *testing.T) {
	db, ctx, now := openDB(t, sqlite(t)), t.Context(), time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	outside := &stuck{Contents: directory(t, t.TempDir()), on: true}
	o, room := Owner{"acme", "ada"}, Room{Files: 9, Bytes: 1 << 20}
	put := func(s *SQLStore, id string) File {
		t.Helper()
		w, err := NewWriter(ctx, s, Begin(o, id, now), room, 1<<20)
		if err == nil {
			err = w.Write(ctx, []byte("text of "+id))
		}
		if err != nil {
			t.Fatal(err)
		}
		f, err := w.Finished(ctx)
		if err == nil {
			f.Purpose, f.ExpireTime = PurposeBatch, now.Add(time.Hour)
			err = s.Finish(ctx, f)
		}
		if err == nil {
			f, err = s.Get(ctx, o, id, now)
		}
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	rows, mixed := NewSQLStore(db), NewSQLStore(db, Place{PlaceDirectory, outside}, Place{PlaceRows, nil})
	inRows, inDirectory := put(rows, "file-rows"), put(mixed, "file-directory")
	for _, f := range []File{inRows, inDirectory} {
		if data, err := io.ReadAll(Reader(ctx, mixed, f)); err != nil || string(data) != "text of "+f.ID {
			t.Errorf("%s: %q, %v", f.ID, data, err)
		}
	}
	if _, err := rows.Piece(ctx, inDirectory, 0); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a place that is not configured: %v", err)
	}
	if err := outside.Put(ctx, "file-directory", 0, []byte("text")); err != nil {
		t.Fatal(err)
	}
	if _, err := mixed.Piece(ctx, inDirectory, 0); !errors.Is(err, ErrDamaged) {
		t.Errorf("a piece that lost its end: %v", err)
	}
	if known, err := Known(ctx, db, PlaceDirectory); err != nil || !known {
		t.Errorf("known %v, %v", known, err)
	}
	if err := mixed.Delete(ctx, o, "file-directory", now); err == nil {
		t.Error("it is said to be deleted")
	}
	if _, err := mixed.Get(ctx, o, "file-directory", now); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is seen: %v", err)
	}
	left := func() (n int) {
		t.Helper()
		if err := db.QueryRowContext(ctx, `SELECT files FROM edge_file_totals WHERE tenant = 'acme'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n, err := mixed.Purge(ctx, now.Add(2*time.Hour), 9); n != 1 || err == nil || left() != 1 {
		t.Errorf("%d purged, %v; %d left", n, err, left())
	}
	outside.on = false
	if n, err := mixed.Purge(ctx, now.Add(2*time.Hour), 9); n != 1 || err != nil || left() != 0 {
		t.Errorf("%d purged, %v; %d left", n, err, left())
	}
	if _, err := outside.Get(ctx, "file-directory", 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("the piece: %v", err)
	}
}
