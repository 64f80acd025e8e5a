// Package modelsource reads models as other tools leave them: a directory that
// MLflow logged, a Hugging Face directory or its cache, Ollama's store, a GGUF
// file. It says which specification they are and what of them has no place in
// one. Every file is read once, to take its SHA-256. It knows neither the registry
// nor its API; start reading at Read.
package modelsource

import (
	"context"
	"crypto/sha1" //nolint:gosec // what git names small files of a hub cache by
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// The bounds on what is read of a place.
const (
	// MaxFiles is how many files a place may have.
	MaxFiles = 4096
	// maxText bounds files that are read into memory: MLmodel, config.json,
	// manifests.
	maxText = 4 << 20
)

// ErrNotServed says that a place holds no model that an engine here can serve. Its
// text says why.
var ErrNotServed = errors.New("not served by any engine here")

// ErrChanged says that content is not what its name or its manifest says.
var ErrChanged = errors.New("the content is not what it is named after")

// File is a file of a place.
type File struct {
	// Path is relative, with slashes.
	Path string
	// Size in bytes; -1 when it is not told before it is read.
	Size int64
	// SHA256 and GitSHA1 are what the content must have, in lower-case hexadecimal
	// digits; empty when nobody says.
	SHA256, GitSHA1 string
}

// Place is where the files of a model are.
type Place interface {
	// List returns every file, at most MaxFiles and otherwise an error.
	List(ctx context.Context) ([]File, error)
	// Open opens a file of the list.
	Open(ctx context.Context, path string) (io.ReadCloser, error)
	// URI says where the file is for a worker.
	URI(path string) string
}

// Options bound and direct what is read.
type Options struct {
	// MaxBytes bounds one file; 0 is no bound.
	MaxBytes int64
	// Engine is asked for in place of the one that a directory of safetensors gets
	// by itself, vllm: sglang.
	Engine string
	// File names the one to take where a place has several GGUF models.
	File string
	// Task overrides what the files say.
	Task commonv1.Task
}

// Found is what a place holds.
type Found struct {
	Spec *commonv1.ModelSpec
	// Licence as it was told; empty when it was not.
	Licence string
	// Notes say, for people, what of it has no place in the specification.
	Notes []string
}

func (f *Found) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

func notServed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNotServed, fmt.Sprintf(format, args...))
}

// Read says what a place holds. Errors that wrap ErrNotServed or ErrChanged are
// about the content, others about reading it.
func Read(ctx context.Context, p Place, opts Options) (*Found, error) {
	files, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	r := &reader{place: p, opts: opts, files: files}
	switch {
	case r.has("MLmodel"):
		return r.mlflow(ctx)
	case r.has("config.json") && slices.ContainsFunc(files, isSafetensors):
		return r.transformer(ctx, "")
	case len(r.ggufs()) > 0:
		return r.gguf(ctx)
	default:
		return nil, notServed("there is no MLmodel, no config.json beside safetensors and no GGUF file")
	}
}

type reader struct {
	place Place
	opts  Options
	files []File
}

func (r *reader) file(name string) (File, bool) {
	i := slices.IndexFunc(r.files, func(f File) bool { return f.Path == name })
	if i < 0 {
		return File{}, false
	}
	return r.files[i], true
}

func (r *reader) has(name string) bool {
	_, ok := r.file(name)
	return ok
}

// text reads a small file.
func (r *reader) text(ctx context.Context, name string) ([]byte, error) {
	in, err := r.place.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = in.Close() }()
	raw, err := io.ReadAll(io.LimitReader(in, maxText+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(raw) > maxText {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrNotServed, name, maxText)
	}
	return raw, nil
}

// artifact reads a file to its end and returns it as an artifact.
func (r *reader) artifact(ctx context.Context, f File, role string) (*commonv1.Artifact, error) {
	in, err := r.place.Open(ctx, f.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	defer func() { _ = in.Close() }()
	limit := r.opts.MaxBytes
	if limit > 0 && f.Size > limit {
		return nil, notServed("%s has %d bytes, more than %d", f.Path, f.Size, limit)
	}
	sum, size, err := hash(ctx, in, limit, f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return &commonv1.Artifact{Uri: r.place.URI(f.Path), Sha256: sum, SizeBytes: size, Role: role}, nil
}

// hash reads in to its end and returns its SHA-256 and size, held against what the
// file says.
func hash(ctx context.Context, in io.Reader, limit int64, f File) (sum string, size int64, err error) {
	content := sha256.New()
	out := io.Writer(content)
	git := sha1.New() //nolint:gosec // see above
	if f.GitSHA1 != "" {
		fmt.Fprintf(git, "blob %d\x00", f.Size)
		out = io.MultiWriter(content, git)
	}
	if limit > 0 {
		in = io.LimitReader(in, limit+1)
	}
	size, err = io.Copy(out, contextReader{ctx, in})
	switch sum = hex.EncodeToString(content.Sum(nil)); {
	case err != nil:
		return "", 0, err
	case limit > 0 && size > limit:
		return "", 0, notServed("has more than %d bytes", limit)
	case f.Size >= 0 && size != f.Size:
		return "", 0, fmt.Errorf("%w: %d bytes came of %d", ErrChanged, size, f.Size)
	case f.SHA256 != "" && f.SHA256 != sum:
		return "", 0, fmt.Errorf("%w: SHA-256 is %s, not %s", ErrChanged, sum, f.SHA256)
	case f.GitSHA1 != "" && f.GitSHA1 != hex.EncodeToString(git.Sum(nil)):
		return "", 0, fmt.Errorf("%w: git's hash is not %s", ErrChanged, f.GitSHA1)
	}
	return sum, size, nil
}

// contextReader ends a long read when its caller leaves.
type contextReader struct {
	ctx context.Context //nolint:containedctx // it lives as long as one call
	in  io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.in.Read(b)
}

// Dir is a directory of this machine. Links are followed, but not out of Root.
type Dir struct {
	// Path is the absolute directory, Root the directory that no file may leave;
	// empty is Path.
	Path, Root string
}

// List implements Place. Of a file in a Hugging Face cache it says what its blob
// is named after.
func (d Dir) List(ctx context.Context) ([]File, error) {
	var out []File
	err := filepath.WalkDir(d.Path, func(at string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || e.IsDir() {
			return err
		}
		resolved, err := d.inside(at)
		if err != nil {
			return err
		}
		info, err := os.Stat(resolved)
		if err != nil || !info.Mode().IsRegular() {
			return err // what is neither a file nor a directory is no part of a model
		}
		rel, err := filepath.Rel(d.Path, at)
		if err != nil {
			return err
		}
		if len(out) == MaxFiles {
			return notServed("there are more than %d files", MaxFiles)
		}
		f := File{Path: filepath.ToSlash(rel), Size: info.Size()}
		if base := filepath.Base(resolved); resolved != at && filepath.Base(filepath.Dir(resolved)) == "blobs" {
			f.SHA256, f.GitSHA1 = named(base, 64), named(base, 40)
		}
		out = append(out, f)
		return nil
	})
	return out, err
}

// named returns a name that is a hash of so many hexadecimal digits, or "".
func named(name string, digits int) string {
	if _, err := hex.DecodeString(name); err != nil || len(name) != digits {
		return ""
	}
	return strings.ToLower(name)
}

// inside follows links and refuses to leave the root.
func (d Dir) inside(at string) (string, error) {
	root := d.Root
	if root == "" {
		root = d.Path
	}
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", err
	}
	resolved, err := filepath.EvalSymlinks(at)
	if err != nil {
		return "", err
	}
	if resolved != root && !strings.HasPrefix(resolved, strings.TrimSuffix(root, "/")+string(filepath.Separator)) {
		return "", notServed("%s leads out of %s", at, root)
	}
	return resolved, nil
}

// Open implements Place.
func (d Dir) Open(_ context.Context, name string) (io.ReadCloser, error) {
	resolved, err := d.inside(filepath.Join(d.Path, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	return os.Open(resolved)
}

// URI implements Place.
func (d Dir) URI(name string) string {
	u := url.URL{Scheme: "file", Path: path.Join(filepath.ToSlash(d.Path), name)}
	return u.String()
}

func isSafetensors(f File) bool { return strings.HasSuffix(f.Path, ".safetensors") }
