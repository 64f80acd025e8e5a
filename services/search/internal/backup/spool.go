package backup

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/poterne/poterne/pkg/apierr"
)

// Spool is a backup that is arriving, in a file until all of it is there. The
// file has no name: a process that is killed leaves no documents behind.
type Spool struct {
	file *os.File
	left int64
}

// NewSpool returns a spool of at most so many bytes, in a temporary file in dir;
// "" for the system's directory.
func NewSpool(dir string, most int64) (*Spool, error) {
	f, err := os.CreateTemp(dir, "poterne-restore-*")
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("backup: %w", err), f.Close())
	}
	return &Spool{file: f, left: most}, nil
}

// Write implements io.Writer.
func (s *Spool) Write(b []byte) (int, error) {
	if s.left -= int64(len(b)); s.left < 0 {
		return 0, apierr.New(apierr.PayloadTooLarge, "the backup is larger than this service restores")
	}
	n, err := s.file.Write(b)
	if err != nil {
		return n, fmt.Errorf("backup: keep what arrives: %w", err)
	}
	return n, nil
}

// Open returns the backup once all of it is written.
func (s *Spool) Open() (*Backup, error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return Open(s.file)
}

// Close gives the file back to the disk.
func (s *Spool) Close() error {
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}
