// Package durable keeps what lies on a disk whole: one worker at a time in a
// directory, and files that are there completely or not at all, however a worker
// ended. It knows nothing of what the files are; start reading at Lock.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrInUse is returned when another worker uses the directory.
var ErrInUse = errors.New("another worker uses this directory")

// FileLock is the file in a locked directory that holds its lock.
const FileLock = "lock"

// Lock keeps two workers from using one directory, which is there already: each
// takes what it finds there for its own. Closing the lock gives the directory back,
// and so does the end of this process, of which no child inherits it. The error is
// ErrInUse if another has it.
func Lock(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, FileLock), os.O_CREATE|os.O_RDWR, 0o600) // close-on-exec
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return lock, nil
}

// SyncDirectory makes renames in a directory survive a loss of power.
func SyncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// SuffixNew is how the name ends of a file that is to replace another.
const SuffixNew = ".new"

// Replace writes a file beside the one at path and moves it over, so that a crash
// of this process leaves a whole one: the old or the new. It is not synced: after a
// loss of power neither may be there. Callers do not replace one file at once.
func Replace(path string, data []byte) error {
	temp := path + SuffixNew
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
