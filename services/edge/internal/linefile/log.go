// Package linefile keeps objects of JSON in local files, one a line, until somebody
// else has them. The files are memory: a line survives the end of the process once
// Append has returned, and costs no call of the system (ADR 0071). It does not know
// what the objects are. Start reading at Log.
package linefile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// FileBytes is the usual size of a file.
const FileBytes = 256 << 10

// turns is how many files besides the one that is written to stay in memory while lines
// come and go: as many as a batch of the trail's lines has. To make and map a file anew
// costs more than all lines that fit into it, and so does a page that left memory.
const turns = 3

// Log is lines in files of one directory, which nobody else may write to. A few of these
// take turns as long as lines are done with. It is not safe for concurrent use.
type Log struct {
	// Head returns the objects with which each further file begins, so that those
	// before may go; nil: none.
	Head func() [][]byte
	// Keep is how many bytes of the file that is written to may stay after all of them are
	// done with.
	Keep int
	// Durable has a file survive a loss of power before the next one is begun, and stay
	// until Keep bytes came after it: who is done with it may not have it on the disk.
	Durable bool

	dir, prefix, suffix string
	number              int
	count               int64
	last                int64
	failed              error

	current *file
	broken  bool    // the disk does not take what is written to current
	full    []*file // the oldest first
	spare   []*file // empty ones
}

// New returns a log whose files are in dir, and called prefix, a number and suffix.
// Begin makes the first.
func New(dir, prefix, suffix string) *Log {
	return &Log{dir: dir, prefix: prefix, suffix: suffix, last: -1}
}

// Begin makes the first file.
func (l *Log) Begin() error { return l.next(0) }

// next goes on in another file, which has room for a line of so many bytes.
func (l *Log) next(room int) error {
	if l.current != nil && l.Durable {
		if err := l.current.Sync(); err != nil {
			return fmt.Errorf("write a file of the journal to the disk: %w", err)
		}
	}
	f, err := l.empty(room)
	if err != nil {
		return fmt.Errorf("begin a file of the journal: %w", err)
	}
	l.number++
	if l.current != nil {
		if n := len(l.full); n >= turns {
			Rest(l.full[n-1].mem) // nobody is done with it soon: the store is behind, or away
		}
		l.full = append(l.full, l.current)
	}
	l.current, l.broken = f, false
	return nil
}

// empty returns a file with nothing but the head.
func (l *Log) empty(room int) (*file, error) {
	var head [][]byte
	if l.Head != nil {
		head = l.Head()
	}
	for _, o := range head {
		room += len(o) + lineExtra
	}
	path := filepath.Join(l.dir, fmt.Sprintf("%s%06d%s", l.prefix, l.number+1, l.suffix))
	var f *file
	if n := len(l.spare) - 1; n >= 0 && len(l.spare[n].mem) >= room {
		f = l.spare[n]
		if err := os.Rename(f.path, path); err != nil {
			return nil, err
		}
		l.spare, f.path = l.spare[:n], path
	} else {
		var err error
		if f, err = makeFile(path, max(FileBytes, room)); err != nil {
			return nil, err
		}
	}
	for _, o := range head {
		if err := f.append(o); err != nil {
			return nil, errors.Join(err, f.remove())
		}
	}
	return f, nil
}

// Append adds an object, which must have a member, under a number: that of what it
// is, never lower than the one before, or -1 when Written will not tell of it. An error
// says that it may not survive the process.
func (l *Log) Append(object []byte, number int64) error {
	if l.current == nil {
		return errors.New("the journal is closed")
	}
	l.failed = l.append(object)
	if l.failed != nil {
		return l.failed
	}
	l.count++
	l.last, l.current.last = max(l.last, number), max(l.current.last, number)
	return nil
}

func (l *Log) append(object []byte) error {
	if l.broken || !l.current.fits(object) {
		if err := l.next(len(object) + lineExtra); err != nil {
			return err
		}
	}
	err := l.current.append(object)
	l.broken = err != nil
	return err
}

// Failed returns why the last Append failed; nil when it did not.
func (l *Log) Failed() error { return l.failed }

// Last is the highest number so far; -1 when there is none.
func (l *Log) Last() int64 { return l.last }

// Count is how many objects were appended.
func (l *Log) Count() int64 { return l.count }

// File is the one that is written to, for who waits for the disk by itself; nil after
// Close.
func (l *Log) File() *os.File {
	if l.current == nil {
		return nil
	}
	return l.current.File
}

// Sync has what was appended survive a loss of power.
func (l *Log) Sync() error {
	var errs []error
	for _, f := range l.full {
		errs = append(errs, f.Sync())
	}
	if l.current != nil && l.current.used > 0 {
		errs = append(errs, l.current.Sync())
	}
	return errors.Join(errs...)
}

// Written is told that somebody else has what was appended up to the number last. It
// takes away what is not needed any more.
func (l *Log) Written(last int64) error {
	if l.current == nil {
		return nil
	}
	if l.last <= last && (l.failed != nil || l.current.used > l.Keep) {
		if err := l.restart(); err != nil {
			return err
		}
		l.failed = nil
	}
	if l.last <= last && len(l.full) == 0 {
		return l.shrink()
	}
	for len(l.full) > 0 && l.full[0].last <= last && !l.stays() {
		f := l.full[0]
		l.full = l.full[1:]
		if err := l.release(f); err != nil {
			return fmt.Errorf("delete a file of the journal: %w", err)
		}
	}
	return nil
}

// shrink leaves one spare file: the others were for more lines at once.
func (l *Log) shrink() error {
	for n := len(l.spare) - 1; n > 0; n-- {
		f := l.spare[n]
		l.spare = l.spare[:n]
		if err := f.remove(); err != nil {
			return fmt.Errorf("delete a file of the journal: %w", err)
		}
	}
	return nil
}

// stays reports whether the oldest file, which is full and done with, is to stay.
func (l *Log) stays() bool {
	after := l.current.used
	for _, f := range l.full[1:] {
		after += f.used
	}
	return l.Durable && after < l.Keep
}

// restart begins anew, when all is done with.
func (l *Log) restart() error {
	if !l.broken && (l.Head == nil || len(l.Head()) == 0) && l.current.clear() == nil {
		return nil
	}
	return l.next(0)
}

// release keeps a file for later, or deletes it.
func (l *Log) release(f *file) error {
	enough := len(l.spare) > 0 && len(l.full)+len(l.spare) >= turns
	if enough || len(f.mem) > FileBytes || f.clear() != nil {
		return f.remove()
	}
	l.spare = append(l.spare, f)
	return nil
}

// Close ends the log; empty says that nothing of it is needed any more. It may be
// called more than once.
func (l *Log) Close(empty bool) error {
	if l.current == nil {
		return nil
	}
	var errs []error
	for _, f := range append(l.full, l.current) {
		if empty {
			errs = append(errs, f.remove())
		} else {
			errs = append(errs, f.end())
		}
	}
	for _, f := range l.spare {
		errs = append(errs, f.remove())
	}
	l.full, l.current, l.spare = nil, nil, nil
	return errors.Join(errs...)
}

// Read calls each with the objects of a file, which are its own only until it returns.
// It returns how many lines were torn: by the end of a process the last one at most.
func Read(path string, each func(object []byte) error) (torn int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return torn, err
		}
		whole := err == nil
		switch o := object(line); {
		case whole && len(o) > 0:
			if err := each(o); err != nil {
				return torn, err
			}
		case whole || len(o) > 0:
			torn++
		}
		if !whole {
			return torn, nil
		}
	}
}
