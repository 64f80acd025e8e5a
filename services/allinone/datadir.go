package allinone

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dataDir is the directory that one process has for itself.
type dataDir struct {
	path string
	lock *os.File
	pid  string
}

// ErrInUse says that another process has the data directory.
var ErrInUse = errors.New("another poterne is using it")

// openDataDir makes the directory, readable by its owner only, and takes it. The
// lock goes with the process, however that ends. The pid file tells `make down`
// whom to stop.
func openDataDir(path string) (*dataDir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(abs, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d := &dataDir{path: abs, lock: lock, pid: filepath.Join(abs, "poterne.pid")}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(fmt.Errorf("data directory %s: %w", abs, err), lock.Close())
	}
	self, err := os.Executable()
	if err == nil {
		err = os.WriteFile(d.pid, fmt.Appendf(nil, "%d\n%s\n", os.Getpid(), self), 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data directory: %w", err), lock.Close())
	}
	return d, nil
}

func (d *dataDir) join(parts ...string) string {
	return filepath.Join(append([]string{d.path}, parts...)...)
}

// close gives the directory free.
func (d *dataDir) close() error {
	return errors.Join(os.Remove(d.pid), d.lock.Close())
}
