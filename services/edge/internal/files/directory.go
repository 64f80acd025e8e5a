package files

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
)

// Directory keeps pieces as files below a directory, of this machine or mounted:
// ab/file-…ab/0, ab/file-…ab/1, …, ab being the last two characters of the file's id,
// so that no directory becomes large. They are readable by the edge's user alone, and
// not encrypted. It is safe for concurrent use, also by several edges that have the
// directory in common.
type Directory struct{ root *os.Root }

var _ Contents = (*Directory)(nil)

const (
	directoryMode = 0o700
	pieceMode     = 0o600
)

// marker is a file that says that a directory is one of ours. It tells a mount that is
// missing from a directory that is new.
const marker = ".poterne-files"

// plainID is an id that can be part of a path.
var plainID = regexp.MustCompile(`^[A-Za-z0-9_-]{2,128}$`)

// OpenDirectory opens dir; it is made where it is not there. known says that files are
// known to lie in it already: then it must be the directory that it was.
func OpenDirectory(dir string, known bool) (*Directory, error) {
	if !known {
		if err := os.MkdirAll(dir, directoryMode); err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	d := &Directory{root: root}
	if err := d.mark(known); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return d, nil
}

func (d *Directory) mark(known bool) error {
	_, err := d.root.Stat(marker)
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("files: %w", err)
	case known:
		return fmt.Errorf("files: %s is not the directory where the files are (it has no %s): is it mounted?", d.root.Name(), marker)
	}
	return d.write(marker, []byte("Files of Poterne's edges. Their names are in its store.\n"))
}

// Close closes the directory.
func (d *Directory) Close() error { return d.root.Close() }

// home is where the pieces of a file lie.
func home(id string) (string, error) {
	if !plainID.MatchString(id) {
		return "", fmt.Errorf("files: %.64q is no id", id)
	}
	return id[len(id)-2:] + "/" + id, nil
}

// Put implements Contents.
func (d *Directory) Put(_ context.Context, id string, seq int64, data []byte) error {
	dir, err := home(id)
	if err != nil {
		return err
	}
	if seq == 0 {
		if err := d.root.MkdirAll(dir, directoryMode); err != nil {
			return fmt.Errorf("files: %w", err)
		}
		for _, parent := range []string{".", path.Dir(dir)} {
			if err := d.sync(parent); err != nil {
				return err
			}
		}
	}
	return d.write(dir+"/"+strconv.FormatInt(seq, 10), data)
}

// write makes a file that is whole on the disk when it has its name, and has it for
// good when this returns.
func (d *Directory) write(name string, data []byte) (err error) {
	tmp := name + "." + rand.Text() + ".tmp"
	f, err := d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, pieceMode)
	if err != nil {
		return fmt.Errorf("files: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.root.Rename(tmp, name)
	}
	if err != nil {
		return fmt.Errorf("files: %w", errors.Join(err, d.root.Remove(tmp)))
	}
	return d.sync(path.Dir(name))
}

// sync has the names in a directory outlast the machine's power.
func (d *Directory) sync(name string) error {
	dir, err := d.root.Open(name)
	if err != nil {
		return fmt.Errorf("files: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("files: %w", err)
	}
	return nil
}

// Get implements Contents.
func (d *Directory) Get(_ context.Context, id string, seq int64) ([]byte, error) {
	dir, err := home(id)
	if err != nil {
		return nil, err
	}
	data, err := d.root.ReadFile(dir + "/" + strconv.FormatInt(seq, 10))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	return data, nil
}

// Remove implements Contents. What a process left that was killed goes with it.
func (d *Directory) Remove(_ context.Context, id string, _ int64) error {
	dir, err := home(id)
	if err != nil {
		return err
	}
	// While the directory is not there, nothing can be said to be removed.
	if _, err := d.root.Stat(marker); err != nil {
		return fmt.Errorf("files: %w", err)
	}
	if err := d.root.RemoveAll(dir); err != nil {
		return fmt.Errorf("files: %w", err)
	}
	return nil
}
