package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
)

// recover reads what an earlier process has left, and removes what it did not
// finish.
func (s *Store) recover() error {
	if err := s.count(); err != nil {
		return err
	}
	m, found, err := readManifest(s.dir)
	switch {
	case errors.Is(err, errDamaged):
		s.leaveOut(manifestName, err)
	case err != nil:
		return err
	case found:
		if err := s.recoverNamed(m); err != nil {
			return err
		}
	}
	return s.sweep()
}

func (s *Store) recoverNamed(m manifest) error {
	for _, seq := range m.Segments {
		seg, err := openSegment(filepath.Join(s.dir, segmentName(seq)), seq, m.Layout)
		if errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) {
			s.leaveOut(segmentName(seq), err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", segmentName(seq), err)
		}
		s.segments = append(s.segments, seg)
	}
	whole := len(s.segments) == len(m.Segments)
	m.Segments = seqs(s.segments)
	s.manifest = m
	err := s.recoverLog()
	switch {
	case errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist):
		s.leaveOut(logName(m.Log), err)
		m.Log = s.next()
		return s.exchange(m, s.segments, nil)
	case err == nil && !whole:
		return s.exchange(m, s.segments, s.log)
	}
	return err
}

// leaveOut tells of a file that does not count.
func (s *Store) leaveOut(name string, err error) {
	s.logger.Warn("a damaged file of vectors is left out; what was in it is taken from the documents again",
		slog.String("dir", s.dir), slog.String("file", name), slog.String("error", err.Error()))
}

// recoverLog reads the log, cuts off what is not whole, and opens it to be
// written.
func (s *Store) recoverLog() (err error) {
	name := logName(s.manifest.Log)
	path := filepath.Join(s.dir, name)
	good, err := readLog(path, s.manifest.Layout, func(v Version) error {
		s.tail = append(s.tail, v.Key)
		return nil
	})
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := s.files.Append(name)
	if err != nil {
		return err
	}
	if torn := info.Size() - good; torn > 0 {
		s.logger.Warn("the end of a log of vectors was not written whole and is cut off",
			slog.String("dir", s.dir), slog.String("file", name), slog.Int64("bytes", torn))
		if err := errors.Join(f.Truncate(good), f.Sync()); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	s.log, s.logSize = f, good
	return nil
}

// count finds the highest number of a file.
func (s *Store) count() error {
	entries, err := os.ReadDir(s.dir)
	for _, e := range entries {
		s.last.Store(max(s.last.Load(), seqOf(e.Name())))
	}
	return err
}

// sweep removes files of ours that the manifest does not name; nobody may be
// writing one.
func (s *Store) sweep() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		seq := seqOf(e.Name())
		switch {
		case e.Name() == manifestTemp:
		case e.Name() == manifestName && s.manifest.Log == 0:
		case seq == 0, e.Name() == logName(s.manifest.Log), e.Name() == segmentName(seq) && slices.Contains(s.manifest.Segments, seq):
			continue
		}
		if err := s.files.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// removeUnnamed removes the files that an earlier manifest names and the present
// one does not. What cannot be removed now is at the next Open.
func (s *Store) removeUnnamed(before manifest) {
	var names []string
	if before.Log != 0 && before.Log != s.manifest.Log {
		names = append(names, logName(before.Log))
	}
	for _, seq := range before.Segments {
		if !slices.Contains(s.manifest.Segments, seq) {
			names = append(names, segmentName(seq))
		}
	}
	for _, name := range names {
		if err := s.files.Remove(name); err != nil {
			s.logger.Warn("a file of vectors that is not needed any more cannot be removed",
				slog.String("dir", s.dir), slog.String("file", name), slog.String("error", err.Error()))
		}
	}
}
