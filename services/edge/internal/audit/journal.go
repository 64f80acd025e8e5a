package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/poterne/poterne/services/edge/internal/linefile"
)

// Journal keeps records in local files until the sink has them: a record is there
// once Append has returned, whatever becomes of this process. A loss of power it
// survives when it is told to wait for the disk. Its size follows the trail's queue,
// which is bounded. It is safe for concurrent use.
type Journal struct {
	dir  string
	sync bool
	lock *os.File

	mu    sync.Mutex
	lines *linefile.Log     // nil before begin
	open  map[string][]byte // changes that were begun, by the record's id
	text  []byte            // of the last record, whose memory the next one takes

	syncing sync.Mutex
	synced  int64 // objects that survive a loss of power
}

const (
	journalSuffix = ".journal"
	// keptDurable is how many bytes of what the sink has stay in a journal that waits for
	// the disk: a database may be set up not to.
	keptDurable = 1 << 20
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
	return &Journal{dir: dir, sync: wait, lock: lock, open: make(map[string][]byte)}, nil
}

// begin opens the first file, for the records of chain.
func (j *Journal) begin(chain string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = linefile.New(j.dir, chain+"-", journalSuffix)
	j.lines.Keep = linefile.FileBytes
	if j.sync {
		j.lines.Durable, j.lines.Keep = true, keptDurable
	}
	j.lines.Head = func() [][]byte { return slices.Collect(maps.Values(j.open)) }
	if err := j.lines.Begin(); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

var errClosed = errors.New("audit: the journal is closed")

// Append keeps a record of the chain, and its content unless that is nil. Records
// must come in their order.
func (j *Journal) Append(rec *Record, content *Sealed) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	text, err := appendRecordObject(j.text[:0], rec, content)
	if err != nil {
		return err
	}
	if cap(text) <= maxKeptText {
		j.text = text
	}
	if err := j.write(text, rec.Sequence); err != nil {
		return err
	}
	delete(j.open, rec.ID)
	return nil
}

// maxKeptText bounds the memory that is kept for the next record.
const maxKeptText = 64 << 10

// Begin keeps a change whose outcome is to come, under the id that its record will
// have.
func (j *Journal) Begin(rec Record) error {
	text, err := json.Marshal(journalLine{Begun: &rec})
	if err != nil {
		return fmt.Errorf("audit: encode: %w", err)
	}
	j.mu.Lock()
	err = j.write(text, -1)
	if err == nil {
		j.open[rec.ID] = text
	}
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.Sync()
}

func (j *Journal) write(text []byte, sequence int64) error {
	if j.lines == nil {
		return errClosed
	}
	if err := j.lines.Append(text, sequence); err != nil {
		return fmt.Errorf("audit: write the journal: %w", err)
	}
	return nil
}

// Sync waits until what was appended survives a loss of power, if that is wanted.
// Many wait for one write to the disk.
func (j *Journal) Sync() error {
	if !j.sync {
		return nil
	}
	goal, _ := j.end()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.synced >= goal {
		return nil
	}
	end, file := j.end()
	if file == nil {
		return nil
	}
	// One that was closed meanwhile is full, and so on the disk.
	if err := file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("audit: write the journal to the disk: %w", err)
	}
	j.synced = end
	return nil
}

// end returns how much was appended, and the file that the last of it is in.
func (j *Journal) end() (int64, *os.File) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lines == nil {
		return 0, nil
	}
	return j.lines.Count(), j.lines.File()
}

// Failed returns why the last write failed; nil when it did not.
func (j *Journal) Failed() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lines == nil {
		return nil
	}
	return j.lines.Failed()
}

// Written is told that the sink has the records up to last. It takes away what is not
// needed any more.
func (j *Journal) Written(last int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lines == nil {
		return nil
	}
	if err := j.lines.Written(last); err != nil {
		return fmt.Errorf("audit: %w", err)
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
	if j.lines != nil {
		errs = append(errs, j.lines.Close(j.lines.Last() <= written && len(j.open) == 0 && j.lines.Failed() == nil))
	}
	errs = append(errs, j.lock.Close())
	j.lock = nil
	return errors.Join(errs...)
}
