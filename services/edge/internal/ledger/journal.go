package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/poterne/poterne/services/edge/internal/linefile"
)

const (
	linesSuffix = ".usage"
	holderFile  = "holder"
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
	lines    *linefile.Log // nil before Begin
	appended int64         // entries so far
	text     []byte        // of the last entry, whose memory the next one takes
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
	var batch []Entry
	torn, err := linefile.Read(path, func(object []byte) error {
		var e Entry
		if json.Unmarshal(object, &e) != nil || e.ID == "" {
			skipped++
			return nil //nolint:nilerr // it is counted
		}
		if batch = append(batch, e); len(batch) < maxBatch {
			return nil
		}
		full := batch
		batch = nil
		return ended(full)
	})
	if err == nil && len(batch) > 0 {
		err = ended(batch)
	}
	return skipped + torn, err
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
	j.lines = linefile.New(j.dir, "", linesSuffix)
	if err := j.lines.Begin(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
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
	j.linesMu.Lock()
	defer j.linesMu.Unlock()
	j.appended++
	if j.lines == nil {
		return j.appended, errors.New("ledger: the journal has not begun")
	}
	j.text = e.appendText(j.text[:0])
	if err := j.lines.Append(j.text, j.appended); err != nil {
		return j.appended, fmt.Errorf("ledger: write the journal: %w", err)
	}
	return j.appended, nil
}

// Failed returns why the last write failed; nil when it did not.
func (j *Journal) Failed() error {
	j.linesMu.Lock()
	defer j.linesMu.Unlock()
	if j.lines == nil {
		return nil
	}
	return j.lines.Failed()
}

// Written is told that the store has the entries up to last. It takes away what is not
// needed any more.
func (j *Journal) Written(last int64) error {
	j.linesMu.Lock()
	defer j.linesMu.Unlock()
	if j.lines == nil {
		return nil
	}
	if err := j.lines.Written(last); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

// Sync waits for the disk: entries survive a loss of power from then on.
func (j *Journal) Sync() error {
	j.linesMu.Lock()
	defer j.linesMu.Unlock()
	if j.lines == nil {
		return nil
	}
	if err := j.lines.Sync(); err != nil {
		return fmt.Errorf("ledger: write the journal to the disk: %w", err)
	}
	return nil
}

// Close closes the files, which stay. It may be called more than once.
func (j *Journal) Close() error {
	j.linesMu.Lock()
	defer j.linesMu.Unlock()
	var errs []error
	if j.lines != nil {
		errs = append(errs, j.lines.Close(false))
	}
	if j.lock != nil {
		errs = append(errs, j.lock.Close())
		j.lock = nil
	}
	return errors.Join(errs...)
}
