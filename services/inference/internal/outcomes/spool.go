package outcomes

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/protobuf/proto"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// ErrFull is returned when a batch does not fit into the spool.
var ErrFull = errors.New("the spool of outcomes is full")

// The files of a spool, besides one for each batch.
const (
	fileLock   = "lock"
	fileState  = "state.json"
	fileSuffix = ".batch"
	newSuffix  = ".new"
)

// Spool keeps batches until the registry has them, in the order in which they are
// numbered. In a directory they survive this process and a loss of power: a batch
// is there once Append has returned. Without a directory they live in memory. It is
// safe for concurrent use.
type Spool struct {
	dir      string
	maxBytes int64
	lock     *os.File
	replica  string
	epoch    int64

	mu       sync.Mutex
	sequence int64
	held     []entry
	bytes    int64
	broken   int // files that could not be read
	changed  chan struct{}
}

// entry is a batch that the spool holds.
type entry struct {
	epoch, sequence int64
	bytes           int64
	raw             []byte // without a directory
}

// state is what a spool remembers from one start to the next.
type state struct {
	Replica string `json:"replica"`
	Epoch   int64  `json:"epoch"`
}

// OpenSpool opens the spool in dir, which is made when it is not there, or one in
// memory when dir is empty. newID gives the replica its name at the first start.
// Another process that has it open is an error. maxBytes bounds what it holds.
func OpenSpool(dir string, maxBytes int64, newID func() string) (*Spool, error) {
	s := &Spool{dir: dir, maxBytes: maxBytes, replica: newID(), epoch: 1, changed: make(chan struct{}, 1)}
	if dir == "" {
		return s, nil
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("outcomes: %w", err), s.Close())
	}
	return s, nil
}

func (s *Spool) open() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, fileLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	s.lock = lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s is used by another process: %w", s.dir, err)
	}
	if err := s.begin(); err != nil {
		return err
	}
	return s.list()
}

// begin takes the next epoch. It is on the disk before a batch bears it.
func (s *Spool) begin() error {
	raw, err := os.ReadFile(filepath.Join(s.dir, fileState))
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	default:
		var was state
		if err := json.Unmarshal(raw, &was); err != nil || was.Replica == "" {
			return fmt.Errorf("%s is damaged: remove the directory to count under a new name", filepath.Join(s.dir, fileState))
		}
		s.replica, s.epoch = was.Replica, was.Epoch+1
	}
	raw, err = json.Marshal(state{s.replica, s.epoch})
	if err != nil {
		return err
	}
	return s.write(fileState, raw)
}

// list finds the batches that were left.
func (s *Spool) list() error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), newSuffix) { // a write that was cut off
			_ = os.Remove(filepath.Join(s.dir, f.Name()))
			continue
		}
		var e entry
		if _, err := fmt.Sscanf(f.Name(), "%d-%d"+fileSuffix, &e.epoch, &e.sequence); err != nil || f.Name() != e.name() {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return err
		}
		e.bytes = info.Size()
		s.bytes += e.bytes
		s.held = append(s.held, e)
	}
	slices.SortFunc(s.held, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.sequence, b.sequence))
	})
	if len(s.held) > 0 {
		s.wake()
	}
	return nil
}

func (e entry) name() string { return fmt.Sprintf("%010d-%010d%s", e.epoch, e.sequence, fileSuffix) }

// write puts a file there whole, or not at all.
func (s *Spool) write(name string, raw []byte) (err error) {
	path := filepath.Join(s.dir, name)
	f, err := os.OpenFile(path+newSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+newSuffix))
	}
	if err := os.Rename(path+newSuffix, path); err != nil {
		return err
	}
	return s.syncDir()
}

func (s *Spool) syncDir() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Append numbers a batch and keeps it. Once it has returned without an error the
// batch is not lost. ErrFull says that there is no room.
func (s *Spool) Append(b *registryv1.OutcomeBatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.Replica, b.Epoch, b.Sequence = s.replica, s.epoch, s.sequence+1
	raw, err := proto.Marshal(b)
	if err != nil {
		return fmt.Errorf("outcomes: %w", err)
	}
	e := entry{epoch: b.GetEpoch(), sequence: b.GetSequence(), bytes: int64(len(raw))}
	if s.bytes+e.bytes > s.maxBytes {
		return ErrFull
	}
	// A number that a failed write may have used is not used again.
	s.sequence++
	if s.dir == "" {
		e.raw = raw
	} else if err := s.write(e.name(), raw); err != nil {
		return fmt.Errorf("outcomes: %w", err)
	}
	s.held = append(s.held, e)
	s.bytes += e.bytes
	s.wake()
	return nil
}

func (s *Spool) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Oldest returns the first batches, at most n of them. One that cannot be read is
// passed over and removed; Broken counts it.
func (s *Spool) Oldest(n int) ([]*registryv1.OutcomeBatch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*registryv1.OutcomeBatch
	for len(out) < n && len(out) < len(s.held) {
		e := s.held[len(out)]
		raw, err := e.raw, error(nil)
		if s.dir != "" {
			raw, err = os.ReadFile(filepath.Join(s.dir, e.name()))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return out, fmt.Errorf("outcomes: %w", err)
		}
		b := new(registryv1.OutcomeBatch)
		if err != nil || proto.Unmarshal(raw, b) != nil || b.GetEpoch() != e.epoch || b.GetSequence() != e.sequence {
			s.broken++
			if err := s.remove(len(out)); err != nil {
				return out, err
			}
			continue
		}
		out = append(out, b)
	}
	return out, nil
}

// Done forgets the first n batches.
func (s *Spool) Done(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range min(n, len(s.held)) {
		if err := s.remove(0); err != nil {
			return err
		}
	}
	return nil
}

// remove forgets one batch. Losing power may bring its file back: the registry
// knows it then.
func (s *Spool) remove(i int) error {
	e := s.held[i]
	if s.dir != "" {
		if err := os.Remove(filepath.Join(s.dir, e.name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("outcomes: %w", err)
		}
	}
	s.held = slices.Delete(s.held, i, i+1)
	s.bytes -= e.bytes
	return nil
}

// Changed is sent to when there may be batches.
func (s *Spool) Changed() <-chan struct{} { return s.changed }

// Held is how many batches and bytes there are, and how many could not be read.
func (s *Spool) Held() (batches int, bytes int64, broken int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held), s.bytes, s.broken
}

// Close gives the directory back.
func (s *Spool) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}
