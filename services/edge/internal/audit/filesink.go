package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// FileSink keeps records in a file, one JSON object a line, and forces each
// batch to the disk. When something else renames the file, as log rotation
// does, it goes on in a new one. It cannot list: a file is for tools that read
// files. Only one process may write to it.
type FileSink struct {
	path string
	file *os.File
}

// OpenFileSink opens or makes the file, readable by its owner only.
func OpenFileSink(path string) (*FileSink, error) {
	s := &FileSink{path: path}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *FileSink) open() error {
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("audit: open the file: %w", err)
	}
	if err := endLine(f); err != nil {
		return errors.Join(fmt.Errorf("audit: open the file: %w", err), f.Close())
	}
	s.file = f
	return nil
}

// endLine ends a line that a crash left unfinished, so that the next record is
// on one of its own.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	_, err = f.Write([]byte{'\n'})
	return err
}

// Write appends batch. After a failure the next call begins on a new line, and
// records of the failed batch may then be in the file twice: the same id tells.
func (s *FileSink) Write(_ context.Context, batch []Record) error {
	if err := s.follow(); err != nil {
		return err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	for _, r := range batch {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("audit: encode: %w", err)
		}
	}
	_, err := s.file.Write(buf.Bytes())
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		// Opened again by the next call, which ends the line.
		err = errors.Join(err, s.Close())
		return fmt.Errorf("audit: write: %w", err)
	}
	return nil
}

// follow opens the file again when it is closed or no longer at its path.
func (s *FileSink) follow() error {
	if s.file == nil {
		return s.open()
	}
	there, err := os.Stat(s.path)
	if err == nil {
		var ours os.FileInfo
		if ours, err = s.file.Stat(); err == nil && os.SameFile(there, ours) {
			return nil
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("audit: look for the file: %w", err)
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("audit: close the file: %w", err)
	}
	return s.open()
}

// Close closes the file.
func (s *FileSink) Close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}
