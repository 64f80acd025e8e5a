package segment

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// file is one that is being written.
type file interface {
	io.Writer
	Sync() error
	Truncate(size int64) error
	Close() error
}

// files is what the store changes on disk by, so that tests can have any step
// fail. Names are of one directory.
type files interface {
	// Create makes a file, empty also when there was one.
	Create(name string) (file, error)
	// Append opens a file to be written at its end.
	Append(name string) (file, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes what was created, renamed and removed durable.
	SyncDir() error
}

// directory is files on disk.
type directory string

func (d directory) Create(name string) (file, error) {
	return os.OpenFile(filepath.Join(string(d), name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
}

func (d directory) Append(name string) (file, error) {
	return os.OpenFile(filepath.Join(string(d), name), os.O_WRONLY|os.O_APPEND, 0o600)
}

func (d directory) Rename(from, to string) error {
	return os.Rename(filepath.Join(string(d), from), filepath.Join(string(d), to))
}

func (d directory) Remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }

func (d directory) SyncDir() (err error) {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}

// create writes a whole file and makes it durable, its name excepted.
func create(fs files, name string, write func(w io.Writer) error) (err error) {
	f, err := fs.Create(name)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
