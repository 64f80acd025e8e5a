package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Journal keeps records in local files until the sink has them: a record is there
// once Append has returned, whatever becomes of this process. A loss of power it
// survives when it is told to wait for the disk. Its size follows the trail's queue,
// which is bounded. It is safe for concurrent use.
type Journal struct {
	dir   string
	chain string
	sync  bool
	lock  *os.File

	mu       sync.Mutex
	file     *os.File
	bytes    int64 // of file, whole lines only
	number   int
	last     int64 // the last sequence number in file
	segments []segment
	open     map[string][]byte // changes that were begun, by the record's id
	failed   error
	syncing  sync.Mutex
	synced   int64
}

// segment is a file that is full.
type segment struct {
	path string
	last int64
}

const (
	journalSuffix = ".journal"
	// segmentBytes is the size from which a new file is begun.
	segmentBytes = 4 << 20
)

// journalLine is one line: a record, or a change that was begun.
type journalLine struct {
	Record *Record `json:"record,omitempty"`
	Begun  *Record `json:"begun,omitempty"`
	// Content is that of Record.
	Content *Sealed `json:"content,omitempty"`
	// Decisions are those of Record, which is without them here: as bytes they cost
	// less than as what a reader understands.
	Decisions []byte `json:"decisions,omitempty"`
}

// OpenJournal opens the journal in dir, which is made when it is not there. Another
// process that has it open is an error. Before the first Append, Replay what is
// there.
func OpenJournal(dir string, wait bool) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: make the journal's directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit: open the journal: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("audit: another process has the journal in %s open: %w", dir, err), lock.Close())
	}
	return &Journal{dir: dir, sync: wait, lock: lock, last: -1, open: make(map[string][]byte)}, nil
}

// begin opens the first file, for the records of chain.
func (j *Journal) begin(chain string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.chain = chain
	return j.nextFile()
}

// nextFile begins a file with the changes that have no outcome yet, so that those
// before may go.
func (j *Journal) nextFile() error {
	path := filepath.Join(j.dir, fmt.Sprintf("%s-%06d%s", j.chain, j.number+1, journalSuffix))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("audit: begin a file of the journal: %w", err)
	}
	var begun []byte
	for _, line := range j.open {
		begun = append(begun, line...)
	}
	if len(begun) > 0 {
		if _, err := f.Write(begun); err != nil {
			return errors.Join(fmt.Errorf("audit: begin a file of the journal: %w", err), f.Close(), os.Remove(path))
		}
	}
	if j.file != nil {
		j.segments = append(j.segments, segment{path: j.file.Name(), last: j.last})
		_ = j.file.Close() // every line is written
	}
	j.file, j.bytes, j.synced, j.number = f, int64(len(begun)), 0, j.number+1
	return nil
}

// line returns the line of l.
func line(l journalLine) ([]byte, error) {
	out, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("audit: encode: %w", err)
	}
	return append(out, '\n'), nil
}

// Append keeps a record of the chain, and its content unless that is nil. Records
// must come in their order.
func (j *Journal) Append(rec *Record, content *Sealed) error {
	text, err := recordLine(rec, content)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(text); err != nil {
		return err
	}
	j.last = rec.Sequence
	delete(j.open, rec.ID)
	return nil
}

// Begin keeps a change whose outcome is to come, under the id that its record will
// have.
func (j *Journal) Begin(rec Record) error {
	text, err := line(journalLine{Begun: &rec})
	if err != nil {
		return err
	}
	j.mu.Lock()
	err = j.write(text)
	if err == nil {
		j.open[rec.ID] = text
	}
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.Sync()
}

func (j *Journal) write(text []byte) error {
	if j.file == nil {
		return errors.New("audit: the journal is closed")
	}
	if j.bytes >= segmentBytes {
		if err := j.nextFile(); err != nil {
			j.failed = err
			return err
		}
	}
	if _, err := j.file.WriteAt(text, j.bytes); err != nil {
		// What was written of the line is overwritten by the next one.
		j.failed = fmt.Errorf("audit: write the journal: %w", err)
		return errors.Join(j.failed, j.file.Truncate(j.bytes))
	}
	j.bytes += int64(len(text))
	j.failed = nil
	return nil
}

// Sync waits until what was appended survives a loss of power, if that is wanted.
// Many wait for one write to the disk.
func (j *Journal) Sync() error {
	if !j.sync {
		return nil
	}
	j.mu.Lock()
	number, goal := j.number, j.bytes
	j.mu.Unlock()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	file, end, done := j.file, j.bytes, j.number != number || j.synced >= goal
	j.mu.Unlock()
	if done || file == nil {
		return nil
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("audit: write the journal to the disk: %w", err)
	}
	j.mu.Lock()
	if j.number == number {
		j.synced = max(j.synced, end)
	}
	j.mu.Unlock()
	return nil
}

// Failed returns why the last write failed; nil when it did not.
func (j *Journal) Failed() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// Written is told that the sink has the records up to last. It deletes files that
// are not needed any more.
func (j *Journal) Written(last int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	if j.last <= last && (j.bytes >= segmentBytes/4 || j.failed != nil) {
		if err := j.nextFile(); err != nil {
			return err
		}
		j.failed = nil
	}
	for len(j.segments) > 0 && j.segments[0].last <= last {
		if err := os.Remove(j.segments[0].path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("audit: delete a file of the journal: %w", err)
		}
		j.segments = j.segments[1:]
	}
	return nil
}

// Close ends the journal. When the sink has everything, nothing is left of it.
func (j *Journal) Close(written int64) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lock == nil {
		return nil
	}
	var errs []error
	if j.file != nil {
		errs = append(errs, j.file.Close())
		if j.last <= written && len(j.open) == 0 && j.failed == nil {
			errs = append(errs, os.Remove(j.file.Name()))
			for _, s := range j.segments {
				errs = append(errs, os.Remove(s.path))
			}
		}
		j.file = nil
	}
	errs = append(errs, j.lock.Close())
	j.lock = nil
	return errors.Join(errs...)
}
