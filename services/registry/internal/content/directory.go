package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/poterne/poterne/pkg/apierr"
)

// Directory keeps artifacts in files: whole ones under sha256, those that are
// being uploaded under uploads. Several processes may use it. It is safe for
// concurrent use.
type Directory struct {
	dir     string
	minFree int64
	free    func(dir string) (int64, error)
}

// The parts of the directory.
const (
	dirUploads = "uploads"
	dirWhole   = "sha256"
	copyBuffer = 256 << 10
)

// NewDirectory returns a store in dir, which the first upload makes, that leaves
// minFree bytes of the disk free; free tells how many are.
func NewDirectory(dir string, minFree int64, free func(dir string) (int64, error)) *Directory {
	return &Directory{dir: dir, minFree: minFree, free: free}
}

func (d *Directory) make() error {
	return diskError(os.MkdirAll(filepath.Join(d.dir, dirUploads), 0o700), "make the directory")
}

// MinPart is how many bytes a part must have that is not the last.
func (d *Directory) MinPart() int64 { return 1 }

// Room refuses what there is no room for.
func (d *Directory) Room(_ context.Context, size int64) error {
	if err := d.make(); err != nil {
		return err
	}
	free, err := d.free(d.dir)
	if err != nil {
		return diskError(err, "free space")
	}
	if free-size < d.minFree {
		return apierr.New(apierr.StorageFull, "there is no room for %d bytes: %d are free, of which %d are to stay free", size, free, d.minFree)
	}
	return nil
}

func (d *Directory) upload(id string) string { return filepath.Join(d.dir, dirUploads, id) }

// Begin makes the upload's file.
func (d *Directory) Begin(_ context.Context, id string) (handle string, err error) {
	if !plain.MatchString(id) {
		return "", fmt.Errorf("artifacts: %q is no id", id)
	}
	if err := d.make(); err != nil {
		return "", err
	}
	f, err := os.OpenFile(d.upload(id), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Close()
	}
	return "", diskError(err, "begin upload")
}

// Open takes the upload for one writer, among those of all processes; it is
// given back by closing. CONFLICT: another has it.
func (d *Directory) Open(_ context.Context, u Upload) (Writer, error) {
	f, err := os.OpenFile(d.upload(u.ID), os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errGone(u.ID)
	}
	if err != nil {
		return nil, diskError(err, "open upload")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errBusy(u.ID)
		}
		return nil, diskError(err, "lock upload")
	}
	return fileWriter{f}, nil
}

// Writer puts parts of one upload, one after the other.
type Writer interface {
	// Put keeps a part, whose bytes r gives and which is on the disk when it
	// returns. It counts once the caller has noted that; what is put anew at the
	// same offset takes its place.
	Put(ctx context.Context, p Part, r io.Reader) (tag string, err error)
	io.Closer
}

type fileWriter struct{ f *os.File }

func (w fileWriter) Put(_ context.Context, p Part, r io.Reader) (string, error) {
	in := &counted{Reader: io.LimitReader(r, p.Size)}
	// The buffer is ours: a file that read by itself would take what it likes.
	_, err := io.CopyBuffer(struct{ io.Writer }{io.NewOffsetWriter(w.f, p.Offset)}, struct{ io.Reader }{in}, make([]byte, copyBuffer))
	switch {
	case in.err != nil:
		return "", in.err
	case err != nil:
		return "", diskError(err, "write part")
	case in.n < p.Size:
		return "", errShort(p.Size, in.n)
	}
	return "", diskError(w.f.Sync(), "sync part")
}

func (w fileWriter) Close() error { return w.f.Close() }

// Finish moves the upload's file to its place. Doing it again changes nothing.
func (d *Directory) Finish(ctx context.Context, u Upload, _ []Part) (place string, err error) {
	place = filepath.ToSlash(filepath.Join(dirWhole, u.SHA256[:2], u.SHA256+"-"+u.ID))
	to := filepath.Join(d.dir, filepath.FromSlash(place))
	w, err := d.Open(ctx, u)
	if apierr.ReasonOf(err) == apierr.NotFound {
		if info, statErr := os.Stat(to); statErr == nil && info.Size() == u.Size {
			return place, nil
		}
	}
	if err != nil {
		return "", err
	}
	defer w.Close()
	if err := d.move(u, to); err != nil {
		return "", diskError(err, "finish upload")
	}
	return place, nil
}

// move renames a file that has its size and is on the disk.
func (d *Directory) move(u Upload, to string) error {
	from := d.upload(u.ID)
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.Size() != u.Size {
		return fmt.Errorf("the file has %d bytes, not %d", info.Size(), u.Size)
	}
	parent := filepath.Dir(to)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(syncDirectory(parent), syncDirectory(filepath.Dir(parent)))
}

func syncDirectory(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Discard removes what came of an upload, also if it was finished already.
func (d *Directory) Discard(_ context.Context, u Upload) error {
	if !plain.MatchString(u.ID) {
		return fmt.Errorf("artifacts: %q is no id", u.ID)
	}
	if err := d.gone(os.Remove(d.upload(u.ID))); err != nil {
		return err
	}
	finished, err := filepath.Glob(filepath.Join(d.dir, dirWhole, "??", "*-"+u.ID))
	for _, path := range finished {
		err = errors.Join(err, d.gone(os.Remove(path)))
	}
	return err
}

// Read opens what lies at a place, from an offset on.
func (d *Directory) Read(_ context.Context, place string, offset int64) (io.ReadCloser, error) {
	if !plain.MatchString(place) {
		return nil, errGone(place)
	}
	f, err := os.Open(filepath.Join(d.dir, filepath.FromSlash(place)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errGone(place)
	}
	if err != nil {
		return nil, diskError(err, "read artifact")
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(diskError(err, "read artifact"), f.Close())
	}
	return f, nil
}

// Remove removes what lies at a place.
func (d *Directory) Remove(_ context.Context, place string) error {
	if !plain.MatchString(place) {
		return fmt.Errorf("artifacts: %q is no place", place)
	}
	return d.gone(os.Remove(filepath.Join(d.dir, filepath.FromSlash(place))))
}

func (d *Directory) gone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return diskError(err, "remove")
}
