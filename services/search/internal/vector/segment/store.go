// Package segment keeps vectors in files: what comes is appended to a log and
// synced, full logs are sealed into segments, which never change and are mapped
// into memory, and segments are merged without what is gone. Every record and
// every block has a checksum (CRC-32C); a manifest, replaced at once, says which
// files count. A process may end at any moment: what Append has returned for is
// there at the next Open, and nothing is there that is not whole.
//
// The store holds rows by the number of a version and knows nothing of
// documents. It never forgets a version by itself: which ones are wanted is
// said when segments are merged. Start reading at Store.
package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/poterne/poterne/services/search/internal/vector"
)

// ErrNotWritten says that nothing was written, and the store goes on.
var ErrNotWritten = errors.New("vector store: nothing was written")

// errBroken is what a store answers after a failure that leaves open what is on
// disk: it must be opened again.
var errBroken = errors.New("vector store: it must be opened again")

// Store is the files of one directory. One process may have it open. Its methods
// are called by one goroutine at a time, Merge excepted.
type Store struct {
	dir    string
	files  files
	logger *slog.Logger

	manifest manifest // zero Log: there is no layout yet
	last     atomic.Uint64
	segments []*Segment
	log      file
	logSize  int64
	tail     []Key
	broken   bool
}

// Open opens the store in dir, which is made when it is not there. Files that
// are damaged are left out and said so in the log: the versions in them are
// unknown then.
func Open(dir string, logger *slog.Logger) (*Store, error) {
	return open(dir, directory(dir), logger)
}

func open(dir string, fs files, logger *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("vector store: %w", err)
	}
	s := &Store{dir: dir, files: fs, logger: logger}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("vector store: open: %w", err), s.Close())
	}
	return s, nil
}

// Layout returns the rows' layout; false before Reset.
func (s *Store) Layout() (vector.Layout, bool) { return s.manifest.Layout, s.manifest.Log != 0 }

// Broken reports whether the store must be opened again.
func (s *Store) Broken() bool { return s.broken }

// Segments returns the segments, in the order of their rows.
func (s *Store) Segments() []*Segment { return slices.Clone(s.segments) }

// Tail returns the versions in the log, in order. It must not be changed.
func (s *Store) Tail() []Key { return s.tail }

// TailRows returns how many rows are in the log.
func (s *Store) TailRows() int { return plan{keys: s.tail}.rows() }

// TailBytes returns how large the log is.
func (s *Store) TailBytes() int64 { return s.logSize }

// ReadTail calls yield for every version in the log. The rows are yield's until
// it returns.
func (s *Store) ReadTail(yield func(v Version) error) error {
	if s.broken || s.log == nil {
		return errBroken
	}
	left := len(s.tail)
	if _, err := readLog(filepath.Join(s.dir, logName(s.manifest.Log)), s.manifest.Layout, func(v Version) error {
		left--
		return yield(v)
	}); err != nil {
		return fmt.Errorf("vector store: read the log: %w", err)
	}
	if left != 0 {
		return fmt.Errorf("vector store: read the log: %w", damaged("%d versions are missing", left))
	}
	return nil
}

// Reset forgets everything and begins with a layout.
func (s *Store) Reset(l vector.Layout) error {
	if !l.Valid() {
		return fmt.Errorf("vector store: rows cannot be kept as %+v", l)
	}
	old := s.segments
	if err := s.exchange(manifest{Version: formatVersion, Layout: l, Log: s.next()}, nil, nil); err != nil {
		return err
	}
	return closeAll(old)
}

// Append adds versions; they are durable when it returns. After ErrNotWritten
// none is there, and the store goes on with what it had; after another error it
// must be opened again, and they may be there or not.
func (s *Store) Append(versions []Version) error {
	if s.broken || s.log == nil {
		return errBroken
	}
	if len(versions) == 0 {
		return nil
	}
	var b []byte
	for _, v := range versions {
		if int64(len(v.Rows)) != int64(v.Count)*int64(s.manifest.Layout.Stride()) {
			return fmt.Errorf("vector store: version %d has %d bytes for %d rows", v.No, len(v.Rows), v.Count)
		}
		b = appendRecord(b, v)
	}
	if _, err := s.log.Write(b); err != nil {
		// What was written must not stand before what comes next.
		if terr := s.log.Truncate(s.logSize); terr != nil {
			s.broken = true
			return fmt.Errorf("vector store: write the log: %w", errors.Join(err, terr))
		}
		return fmt.Errorf("%w: the log: %w", ErrNotWritten, err)
	}
	if err := s.log.Sync(); err != nil {
		s.broken = true // what of it is on disk is unknown, and syncing again would not tell
		return fmt.Errorf("vector store: sync the log: %w", err)
	}
	s.logSize += int64(len(b))
	for _, v := range versions {
		s.tail = append(s.tail, v.Key)
	}
	return nil
}

// Seal makes the log a segment and begins another log. It returns nil when the
// log is empty. After an error the store goes on as it was, or must be opened
// again.
func (s *Store) Seal() (*Segment, error) {
	if len(s.tail) == 0 {
		return nil, nil //nolint:nilnil // nothing to seal is no error
	}
	seg, err := s.write(plan{layout: s.manifest.Layout, keys: s.tail}, func(put func([]byte) error) error {
		return s.ReadTail(func(v Version) error { return put(v.Rows) })
	})
	if err != nil {
		return nil, err
	}
	m := s.manifest
	m.Segments, m.Log = append(slices.Clone(m.Segments), seg.seq), s.next()
	if err := s.exchange(m, append(s.Segments(), seg), nil); err != nil {
		return nil, errors.Join(err, seg.Close())
	}
	return seg, nil
}

// Merge writes the versions of segments that live wants into one segment, which
// does not count before Exchange. It returns nil when none is wanted. It may run
// beside the other methods, Close excepted, as long as nobody else exchanges the
// segments.
func (s *Store) Merge(ctx context.Context, from []*Segment, live func(no int64) bool) (*Segment, error) {
	p := plan{layout: from[0].layout}
	var runs [][]byte
	for _, seg := range from {
		at := 0
		data, stride := seg.data(), seg.layout.Stride()
		for _, k := range seg.keys {
			n := int(k.Count) * stride
			if live(k.No) {
				p.keys = append(p.keys, k)
				runs = append(runs, data[at:at+n])
			}
			at += n
		}
	}
	if len(p.keys) == 0 {
		return nil, nil //nolint:nilnil // nothing left is no error
	}
	return s.write(p, func(put func([]byte) error) error {
		for _, b := range runs {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := put(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// Exchange puts a merged segment, or none, in the place of those that it was
// made from. Their files are removed; closing them is the caller's, once nobody
// reads their rows any more.
func (s *Store) Exchange(from []*Segment, to *Segment) error {
	var segments []*Segment
	for _, seg := range s.segments {
		if !slices.Contains(from, seg) {
			segments = append(segments, seg)
		}
	}
	if to != nil {
		segments = append(segments, to)
	}
	m := s.manifest
	m.Segments = seqs(segments)
	return s.exchange(m, segments, s.log)
}

// Discard removes a merged segment that is not wanted after all.
func (s *Store) Discard(seg *Segment) error {
	return errors.Join(seg.Close(), s.files.Remove(segmentName(seg.seq)))
}

// Close closes the log and unmaps all segments.
func (s *Store) Close() error {
	err := closeAll(s.segments)
	s.segments = nil
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
		s.log = nil
	}
	return err
}

func closeAll(segments []*Segment) error {
	var errs []error
	for _, seg := range segments {
		errs = append(errs, seg.Close())
	}
	return errors.Join(errs...)
}

// next returns a number that no file has.
func (s *Store) next() uint64 { return s.last.Add(1) }

// write writes a segment and opens it, which reads it once: what does not say
// what was meant is noticed before it counts.
func (s *Store) write(p plan, rows func(put func([]byte) error) error) (*Segment, error) {
	seq := s.next()
	name := segmentName(seq)
	err := create(s.files, name, func(w io.Writer) error { return p.write(w, rows) })
	if err == nil {
		var seg *Segment
		if seg, err = openSegment(filepath.Join(s.dir, name), seq, p.layout); err == nil {
			return seg, nil
		}
	}
	if rerr := s.files.Remove(name); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return nil, fmt.Errorf("vector store: write a segment: %w", err)
}

// exchange makes a manifest count, with its segments. A nil log has a new one
// begun under the manifest's number.
func (s *Store) exchange(m manifest, segments []*Segment, log file) (err error) {
	if s.broken {
		return errBroken
	}
	begun := log == nil
	if begun {
		if log, err = s.begin(m); err != nil {
			return err
		}
	}
	if err := errors.Join(s.files.SyncDir(), m.write(s.files)); err != nil {
		s.broken = true // which manifest counts is unknown
		if begun {
			err = errors.Join(err, log.Close())
		}
		return fmt.Errorf("vector store: exchange files: %w", err)
	}
	old := s.manifest
	s.manifest, s.segments = m, segments
	if begun {
		if s.log != nil {
			err = s.log.Close()
		}
		s.log, s.logSize, s.tail = log, headerBytes, nil
	}
	s.removeUnnamed(old)
	return err
}

// begin makes the log that a manifest names.
func (s *Store) begin(m manifest) (file, error) {
	name := logName(m.Log)
	err := create(s.files, name, func(w io.Writer) error {
		_, err := w.Write(header{magic: logMagic, layout: m.Layout}.encode())
		return err
	})
	var f file
	if err == nil {
		f, err = s.files.Append(name)
	}
	if err != nil {
		return nil, fmt.Errorf("vector store: begin a log: %w", err)
	}
	return f, nil
}

func seqs(segments []*Segment) []uint64 {
	out := make([]uint64, len(segments))
	for i, seg := range segments {
		out[i] = seg.seq
	}
	return out
}
