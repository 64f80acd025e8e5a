package ledger

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

const (
	linesSuffix = ".usage"
	holderFile  = "holder"
	// segmentBytes is the size from which a new file is begun.
	segmentBytes = 4 << 20
)

// Journal keeps in local files what the store does not have yet: the requests in
// hand, and the entries of those that ended. Both survive the end of the process,
// however it comes. It is safe for concurrent use.
type Journal struct {
	dir  string
	lock *os.File
	old  []string // files of processes before
	slots

	linesMu  sync.Mutex
	file     *os.File
	bytes    int64
	number   int
	appended int64 // entries so far
	segments []segment
	failed   error
}

// segment is a file that is full.
type segment struct {
	path string
	last int64
}

// OpenJournal opens the journal in dir, which is made when it is not there. Another
// process that has it open is an error. What is there is for Left; Begin comes next.
func OpenJournal(dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("ledger: make the journal's directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger: open the journal: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("ledger: another process has the journal in %s open: %w", dir, err), lock.Close())
	}
	return &Journal{dir: dir, lock: lock, slots: slots{dir: dir}}, nil
}

// Left is what a process before left in the journal.
type Left struct {
	// InHand is what was in hand when it ended, as far as engines had counted.
	InHand []Entry
	// Skipped is how many lines could not be read: the last one that a loss of power
	// cut.
	Skipped int
}

// OldHolder returns by what the process before held of budgets; empty when there was
// none.
func (j *Journal) OldHolder() (string, error) {
	holder, err := os.ReadFile(filepath.Join(j.dir, holderFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("ledger: read the journal: %w", err)
	}
	return strings.TrimSpace(string(holder)), nil
}

// Left calls ended with the entries of requests that had ended, some at once, and
// returns the others.
func (j *Journal) Left(ended func([]Entry) error) (Left, error) {
	var out Left
	lines, err := filepath.Glob(filepath.Join(j.dir, "*"+linesSuffix))
	if err != nil {
		return out, fmt.Errorf("ledger: look into the journal: %w", err)
	}
	slices.Sort(lines)
	for _, path := range lines {
		skipped, err := readLines(path, ended)
		if err != nil {
			return out, fmt.Errorf("ledger: read the journal: %w", err)
		}
		out.Skipped += skipped
	}
	var inHand []string
	out.InHand, inHand, err = leftInHand(j.dir)
	j.old = slices.Concat(lines, inHand)
	return out, err
}

func readLines(path string, ended func([]Entry) error) (skipped int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	var batch []Entry
	for {
		text, err := in.ReadBytes('\n')
		whole := err == nil
		if err != nil && !errors.Is(err, io.EOF) {
			return skipped, err
		}
		var e Entry
		switch {
		case len(text) == 0:
		case !whole || json.Unmarshal(text, &e) != nil || e.ID == "":
			skipped++
		default:
			batch = append(batch, e)
		}
		if len(batch) > 0 && (!whole || len(batch) == maxBatch) {
			if err := ended(batch); err != nil {
				return skipped, err
			}
			batch = nil
		}
		if !whole {
			return skipped, nil
		}
	}
}

// Begin begins the files of this process, which holds by the given name; what was
// left is deleted.
func (j *Journal) Begin(holder string) error {
	for _, path := range j.old {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("ledger: delete a file of the journal: %w", err)
		}
	}
	j.old = nil
	if err := os.WriteFile(filepath.Join(j.dir, holderFile), []byte(holder+"\n"), 0o600); err != nil {
		return fmt.Errorf("ledger: begin the journal: %w", err)
	}
	j.linesMu.Lock()
	defer j.linesMu.Unlock()
	return j.nextFile()
}

func (j *Journal) nextFile() error {
	path := filepath.Join(j.dir, fmt.Sprintf("%06d%s", j.number+1, linesSuffix))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("ledger: begin a file of the journal: %w", err)
	}
	if j.file != nil {
		j.segments = append(j.segments, segment{path: j.file.Name(), last: j.appended})
		_ = j.file.Close() // every line is written
	}
	j.file, j.bytes, j.number = f, 0, j.number+1
	return nil
}

// Take keeps a request that begins; nil, and why, when there is no room.
func (j *Journal) Take(e *Entry) (*Slot, error) {
	if j == nil {
		return nil, nil
	}
	return j.take(e)
}

// Append keeps an entry, and returns its number, from 1.
func (j *Journal) Append(e *Entry) (int64, error) {
	text := append(e.appendText(make([]byte, 0, usualText)), '\n')
	j.linesMu.Lock()
	defer j.linesMu.Unlock()
	j.appended++
	if err := j.write(text); err != nil {
		j.failed = err
		return j.appended, err
	}
	j.failed = nil
	return j.appended, nil
}

func (j *Journal) write(text []byte) error {
	if j.file == nil {
		return errors.New("ledger: the journal is closed")
	}
	if j.bytes >= segmentBytes {
		if err := j.nextFile(); err != nil {
			return err
		}
	}
	if _, err := j.file.WriteAt(text, j.bytes); err != nil {
		// What was written of the line is overwritten by the next one.
		return errors.Join(fmt.Errorf("ledger: write the journal: %w", err), j.file.Truncate(j.bytes))
	}
	j.bytes += int64(len(text))
	return nil
}

// Failed returns why the last write failed; nil when it did not.
func (j *Journal) Failed() error {
	j.linesMu.Lock()
	defer j.linesMu.Unlock()
	return j.failed
}

// Written is told that the store has the entries up to last. Files with no other
// entries are deleted or emptied.
func (j *Journal) Written(last int64) error {
	j.linesMu.Lock()
	defer j.linesMu.Unlock()
	for len(j.segments) > 0 && j.segments[0].last <= last {
		if err := os.Remove(j.segments[0].path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("ledger: delete a file of the journal: %w", err)
		}
		j.segments = j.segments[1:]
	}
	if j.appended > last || j.bytes == 0 || j.file == nil {
		return nil
	}
	j.failed = nil
	if err := j.file.Truncate(0); err != nil {
		return fmt.Errorf("ledger: empty a file of the journal: %w", err)
	}
	j.bytes = 0
	return nil
}

// Sync waits for the disk: entries survive a loss of power from then on.
func (j *Journal) Sync() error {
	j.linesMu.Lock()
	defer j.linesMu.Unlock()
	if j.file == nil || j.bytes == 0 {
		return nil
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("ledger: write the journal to the disk: %w", err)
	}
	return nil
}

// Close closes the files, which stay. It may be called more than once.
func (j *Journal) Close() error {
	j.linesMu.Lock()
	defer j.linesMu.Unlock()
	var errs []error
	if j.file != nil {
		errs = append(errs, j.file.Close())
		j.file = nil
	}
	if j.lock != nil {
		errs = append(errs, j.lock.Close())
		j.lock = nil
	}
	return errors.Join(errs...)
}
