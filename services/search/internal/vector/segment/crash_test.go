package segment

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var errCrash = errors.New("crashed")

// crashing is files of which everything fails from one step on, as if the
// process had ended there, in the midst of a write. With power, what was not
// synced is lost then, names included.
type crashing struct {
	directory
	left  int // steps
	power bool
	rng   *rand.Rand

	sizes  map[string]*size
	undo   []func() // of what the directory was not synced after
	halted bool
}

type size struct{ written, synced int64 }

// step reports whether the next step is made.
func (c *crashing) step() bool {
	c.left--
	if c.left < 0 && !c.halted {
		c.halted = true
	}
	return !c.halted
}

// end does what the crash does to files.
func (c *crashing) end() {
	if !c.power {
		return
	}
	for name, s := range c.sizes {
		if lost := s.written - s.synced; lost > 0 {
			_ = os.Truncate(filepath.Join(string(c.directory), name), s.synced+c.rng.Int64N(lost+1))
		}
	}
	for _, undo := range slices.Backward(c.undo) {
		if c.rng.IntN(2) == 0 { // names may have come through by themselves
			undo()
		}
	}
}

func (c *crashing) path(name string) string { return filepath.Join(string(c.directory), name) }

func (c *crashing) Create(name string) (file, error) {
	if !c.step() {
		return nil, errCrash
	}
	f, err := c.directory.Create(name)
	c.sizes[name] = &size{}
	c.undo = append(c.undo, func() { _ = os.Remove(c.path(name)) })
	return &crashingFile{c, name, f}, err
}

func (c *crashing) Append(name string) (file, error) {
	if !c.step() {
		return nil, errCrash
	}
	f, err := c.directory.Append(name)
	return &crashingFile{c, name, f}, err
}

func (c *crashing) Rename(from, to string) error {
	if !c.step() {
		return errCrash
	}
	before, err := os.ReadFile(c.path(to))
	c.undo = append(c.undo, func() {
		_ = os.Remove(c.path(to))
		if err == nil {
			_ = os.WriteFile(c.path(to), before, 0o600)
		}
	})
	c.sizes[to] = c.sizes[from]
	delete(c.sizes, from)
	return c.directory.Rename(from, to)
}

func (c *crashing) Remove(name string) error {
	if !c.step() {
		return errCrash
	}
	before, err := os.ReadFile(c.path(name))
	if err == nil {
		c.undo = append(c.undo, func() { _ = os.WriteFile(c.path(name), before, 0o600) })
	}
	delete(c.sizes, name)
	return c.directory.Remove(name)
}

func (c *crashing) SyncDir() error {
	if !c.step() {
		return errCrash
	}
	c.undo = nil
	return nil
}

type crashingFile struct {
	c    *crashing
	name string
	file file
}

func (f *crashingFile) Write(b []byte) (int, error) {
	if f.c.halted {
		return 0, errCrash
	}
	if !f.c.step() {
		b = b[:f.c.rng.IntN(len(b)+1)]
	}
	n, err := f.file.Write(b)
	if s := f.c.sizes[f.name]; s != nil {
		s.written += int64(n)
	}
	if f.c.halted {
		err = errCrash
	}
	return n, err
}

func (f *crashingFile) Sync() error {
	if !f.c.step() {
		return errCrash
	}
	if s := f.c.sizes[f.name]; s != nil {
		s.synced = s.written
	}
	return nil
}

func (f *crashingFile) Truncate(n int64) error {
	if !f.c.step() {
		return errCrash
	}
	if s := f.c.sizes[f.name]; s != nil {
		s.written, s.synced = n, min(s.synced, n)
	}
	return f.file.Truncate(n)
}

func (f *crashingFile) Close() error { return f.file.Close() }

// script does everything that a store does, and returns what it was told is
// durable and what may be gone.
func script(s *Store) (acked []int64, err error) {
	l := layout()
	if _, ok := s.Layout(); !ok {
		if err := s.Reset(l); err != nil {
			return nil, err
		}
	}
	next := int64(1)
	write := func(n int) error {
		var batch []Version
		for range n {
			batch = append(batch, versionOf(l, next))
			next++
		}
		if err := s.Append(batch); err != nil {
			return err
		}
		for _, v := range batch {
			acked = append(acked, v.No)
		}
		return nil
	}
	for round := range 3 {
		for range 2 {
			if err := write(2 + round); err != nil {
				return acked, err
			}
		}
		if _, err := s.Seal(); err != nil {
			return acked, err
		}
	}
	from := s.Segments()[:2]
	to, err := s.Merge(context.Background(), from, wanted)
	if err != nil {
		return acked, err
	}
	if err := write(1); err != nil {
		return acked, errors.Join(err, to.Close())
	}
	if err := s.Exchange(from, to); err != nil {
		return acked, errors.Join(err, to.Close())
	}
	if err := closeAll(from); err != nil {
		return acked, err
	}
	return acked, write(3)
}

// wanted is what merges keep.
func wanted(no int64) bool { return no%5 != 0 }

// TestCrashAtEveryStep ends the store at each step that it makes on disk, with
// and without losing what was not synced, and again while it recovers.
func TestCrashAtEveryStep(t *testing.T) {
	crashes := 0
	for i, power := range []bool{false, true, true} {
		for at, done := 0, false; !done; at++ {
			dir := dirOf(t)
			rng := rand.New(rand.NewPCG(uint64(at), uint64(i)))
			c := &crashing{directory: directory(dir), left: at, power: power, rng: rng, sizes: map[string]*size{}}
			s, err := open(dir, c, slog.New(slog.DiscardHandler))
			var acked []int64
			if err == nil {
				acked, err = script(s)
				_ = s.Close()
			}
			if done = err == nil; !done {
				crashes++
			}
			c.end()
			// Recovery may be cut off, too, at any step.
			for again := range 3 {
				c := &crashing{directory: directory(dir), left: again, rng: rng, sizes: map[string]*size{}}
				if s, err := open(dir, c, slog.New(slog.DiscardHandler)); err == nil {
					_ = s.Close()
				}
			}
			checkAcked(t, dir, acked)
		}
	}
	if crashes < 150 {
		t.Errorf("only %d crashes", crashes)
	}
}

// checkAcked opens a store that was ended, and looks whether all that it
// acknowledged is there, and goes on writing.
func checkAcked(t *testing.T, dir string, acked []int64) {
	t.Helper()
	s := openTest(t, dir)
	got := held(t, s)
	for _, no := range acked {
		if !got[no] && wanted(no) {
			t.Fatalf("version %d was acknowledged and is lost; %d of %d are held; files %v", no, len(got), len(acked), filesOf(t, dir))
		}
	}
	if _, ok := s.Layout(); !ok {
		if err := s.Reset(layout()); err != nil {
			t.Fatal(err)
		}
	}
	appendAll(t, s, 1_000_001, 1_000_002)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir)
	if again := held(t, s); !again[1_000_002] || len(again) < len(got)+2 {
		t.Fatalf("%d versions are held, then %d", len(got), len(again))
	}
}

// A write that fails leaves nothing behind, and the store goes on.
func TestAFullDiskRefusesAndGoesOn(t *testing.T) {
	dir := dirOf(t)
	full := &fullDisk{directory: directory(dir)}
	s, err := open(dir, full, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Reset(layout()); err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, 1, 3)
	full.full = true
	if err := s.Append([]Version{versionOf(layout(), 4)}); !errors.Is(err, ErrNotWritten) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Seal(); err == nil {
		t.Fatal("sealed on a full disk")
	}
	wantHeld(t, s, 1, 3)
	full.full = false
	appendAll(t, s, 5, 6)
	wantHeld(t, s, 1, 6, 4)
	seal(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, openTest(t, dir), 1, 6, 4)
}

// fullDisk takes half of every write when it is full.
type fullDisk struct {
	directory
	full bool
}

func (d *fullDisk) Create(name string) (file, error) {
	f, err := d.directory.Create(name)
	return &fullFile{d, f}, err
}

func (d *fullDisk) Append(name string) (file, error) {
	f, err := d.directory.Append(name)
	return &fullFile{d, f}, err
}

type fullFile struct {
	d *fullDisk
	file
}

func (f *fullFile) Write(b []byte) (int, error) {
	if !f.d.full {
		return f.file.Write(b)
	}
	n, err := io.Copy(f.file, bytes.NewReader(b[:len(b)/2]))
	return int(n), errors.Join(err, errors.New("no space left"))
}
