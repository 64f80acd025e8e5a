// Package archive is the file that a registry is moved in: a ZIP of the lines that
// the registry gives and, where wanted, the artifacts, with a manifest that names the
// format and has the SHA-256 of everything. docs/moving-in.md describes it. Start
// reading at Write and Open.
package archive

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Format names the form and its version. Files of the one before, which have a JSON
// document a model in place of the lines, can still be read.
const (
	Format    = "poterne.registry-archive/2"
	oldFormat = "poterne.registry-archive/1"
)

const (
	manifestName = "manifest.json"
	linesName    = "registry.ndjson"
	modelPrefix  = "models/"
	blobPrefix   = "artifacts/"
	// The bounds on what is read into memory: an archive may come from anywhere.
	maxManifest = 64 << 20
	maxModel    = 64 << 20
	maxEntries  = 1_000_000
)

// ErrDamaged says that an archive is not what its manifest says, or none.
var ErrDamaged = errors.New("the archive is damaged, or none")

// Manifest is what an archive says of itself.
type Manifest struct {
	Format string `json:"format"`
	// Created is when it was written.
	Created time.Time `json:"created"`
	// Revision is the registry's that it is of.
	Revision int64   `json:"revision"`
	Entries  []Entry `json:"entries"`
}

// Entry is one file of an archive.
type Entry struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Writer writes an archive. It is not safe for concurrent use.
type Writer struct {
	zip      *zip.Writer
	manifest Manifest
	seen     map[string]bool
}

// Write writes an archive to path by fn. The file is there whole or not at all.
func Write(path string, created time.Time, revision int64, fn func(*Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".archive-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone once renamed
	w := &Writer{zip: zip.NewWriter(f), manifest: Manifest{Format: Format, Created: created.UTC(), Revision: revision}, seen: map[string]bool{}}
	err = fn(w)
	if err == nil {
		err = w.finish()
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Lines adds what the registry gave.
func (w *Writer) Lines(in io.Reader) error { return w.add(linesName, in, zip.Deflate) }

// Artifact adds a file by its SHA-256, once, and refuses one that differs.
func (w *Writer) Artifact(sum string, in io.Reader) error {
	if w.seen[blobPrefix+sum] {
		return nil
	}
	if err := w.add(blobPrefix+sum, in, zip.Store); err != nil {
		return err
	}
	if got := w.manifest.Entries[len(w.manifest.Entries)-1].SHA256; got != sum {
		return fmt.Errorf("the file is %s, not %s: it has changed", got, sum)
	}
	return nil
}

func (w *Writer) add(name string, in io.Reader, method uint16) error {
	w.seen[name] = true
	out, err := w.zip.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: w.manifest.Created})
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), in)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.manifest.Entries = append(w.manifest.Entries, Entry{name, hex.EncodeToString(sum.Sum(nil)), n})
	return nil
}

func (w *Writer) finish() error {
	out, err := w.zip.Create(manifestName)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(w.manifest); err != nil {
		return err
	}
	return w.zip.Close()
}

// Reader reads an archive that was found to be whole.
type Reader struct {
	Manifest Manifest
	zip      *zip.ReadCloser
	files    map[string]*zip.File
}

// Open opens an archive and holds every entry against the manifest. Close it when
// done.
func Open(path string) (*Reader, error) {
	z, err := zip.OpenReader(path)
	if errors.Is(err, zip.ErrFormat) {
		return nil, fmt.Errorf("%w: %s is no ZIP file", ErrDamaged, path)
	}
	if err != nil {
		return nil, err
	}
	r := &Reader{zip: z, files: make(map[string]*zip.File, len(z.File))}
	if err := r.check(); err != nil {
		return nil, errors.Join(err, z.Close())
	}
	return r, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.zip.Close() }

func (r *Reader) check() error {
	if len(r.zip.File) > maxEntries {
		return fmt.Errorf("%w: it has more than %d entries", ErrDamaged, maxEntries)
	}
	for _, f := range r.zip.File {
		if r.files[f.Name] != nil {
			return fmt.Errorf("%w: %q comes twice", ErrDamaged, f.Name)
		}
		r.files[f.Name] = f
	}
	raw, err := r.read(manifestName, maxManifest)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &r.Manifest); err != nil {
		return fmt.Errorf("%w: the manifest cannot be read", ErrDamaged)
	}
	if r.Manifest.Format != Format && r.Manifest.Format != oldFormat {
		return fmt.Errorf("the archive's format is %q, and this program reads %q", r.Manifest.Format, Format)
	}
	if len(r.Manifest.Entries)+1 != len(r.files) {
		return fmt.Errorf("%w: it has %d entries, and the manifest names %d", ErrDamaged, len(r.files)-1, len(r.Manifest.Entries))
	}
	for _, e := range r.Manifest.Entries {
		if err := r.checkEntry(e); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) checkEntry(e Entry) error {
	f := r.files[e.Name]
	if f == nil {
		return fmt.Errorf("%w: %q is missing", ErrDamaged, e.Name)
	}
	in, err := f.Open()
	if err != nil {
		return fmt.Errorf("%w: %q: %w", ErrDamaged, e.Name, err)
	}
	defer func() { _ = in.Close() }()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(in, e.Size+1))
	if err != nil || n != e.Size || hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("%w: %q is not what the manifest says", ErrDamaged, e.Name)
	}
	return nil
}

func (r *Reader) read(name string, limit int64) ([]byte, error) {
	f := r.files[name]
	if f == nil {
		return nil, fmt.Errorf("%w: %q is missing", ErrDamaged, name)
	}
	in, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrDamaged, name, err)
	}
	defer func() { _ = in.Close() }()
	raw, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil || int64(len(raw)) > limit {
		return nil, fmt.Errorf("%w: %q cannot be read, or is larger than %d bytes", ErrDamaged, name, limit)
	}
	return raw, nil
}

// Lines opens what the registry gave; nil when the file is of the form before. The
// caller closes it.
func (r *Reader) Lines() (io.ReadCloser, error) {
	f := r.files[linesName]
	if f == nil {
		return nil, nil //nolint:nilnil // an older file has models
	}
	in, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrDamaged, linesName, err)
	}
	return in, nil
}

// Models returns the models of a file of the form before, by name.
func (r *Reader) Models() ([]json.RawMessage, error) {
	var names []string
	for name := range r.files {
		if strings.HasPrefix(name, modelPrefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var out []json.RawMessage
	for _, name := range names {
		raw, err := r.read(name, maxModel)
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	return out, nil
}

// Extract writes the artifacts into a directory, by their SHA-256, and returns
// where each is. What is there already is left.
func (r *Reader) Extract(dir string) (map[string]string, error) {
	out := map[string]string{}
	for name, f := range r.files {
		sum, ok := strings.CutPrefix(name, blobPrefix)
		raw, err := hex.DecodeString(sum)
		if !ok {
			continue
		}
		if err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("%w: %q is no artifact's name", ErrDamaged, name)
		}
		to := filepath.Join(dir, sum)
		if _, err := os.Stat(to); err != nil {
			if err := extract(f, to); err != nil {
				return nil, err
			}
		}
		out[sum] = to
	}
	return out, nil
}

func extract(f *zip.File, to string) error {
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.CreateTemp(filepath.Dir(to), ".artifact-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }() // gone once renamed
	_, err = io.Copy(out, in)                    //nolint:gosec // its size was held against the manifest
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}
