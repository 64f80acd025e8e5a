// Package embedded is the index that needs no server: postings (package lexical)
// and vectors (package segment) on disk, access lists and metadata in memory.
// What is in memory is loaded from the truth at every start, and what is on disk
// is compared with it, so a crash costs a little time and nothing else. Start
// reading at Index and collection.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/lexical"
)

// Index keeps each collection in a directory of its own. One process at a time
// may use it.
type Index struct {
	dir     string
	options options
	cache   *lexical.Cache

	mu   sync.Mutex
	open map[string]*collection
}

var _ index.Index = (*Index)(nil)

// New returns the index in dir, which is made when it is not there.
func New(dir string, opts ...Option) (*Index, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded index: %w", err)
	}
	return &Index{
		dir: dir, options: newOptions(opts), cache: lexical.NewCache(lexical.DefaultCacheBytes), open: make(map[string]*collection),
	}, nil
}

// vectorsDir is where, in a collection's directory, its vectors are.
const vectorsDir = "vectors"

// Open implements index.Index.
func (x *Index) Open(_ context.Context, name string, opts ...index.Option) (index.Collection, error) {
	path, err := x.path(name)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if c, ok := x.open[name]; ok {
		return c, nil
	}
	words, err := lexical.Open(path, x.cache)
	if err != nil {
		return nil, fmt.Errorf("embedded index: %w", err)
	}
	// After the words, which hold the directory against other processes.
	files, err := openVectors(filepath.Join(path, vectorsDir), x.options, index.NewSettings(opts).Metric)
	if err != nil {
		return nil, errors.Join(err, words.Close())
	}
	c := newCollection(words, files)
	x.open[name] = c
	return c, nil
}

// Drop implements index.Index.
func (x *Index) Drop(_ context.Context, name string) error {
	path, err := x.path(name)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if c, ok := x.open[name]; ok {
		delete(x.open, name)
		err = c.close()
	}
	if err := errors.Join(err, os.RemoveAll(path)); err != nil {
		return fmt.Errorf("embedded index: drop: %w", err)
	}
	return nil
}

// Names implements index.Index.
func (x *Index) Names(context.Context) ([]string, error) {
	entries, err := os.ReadDir(x.dir)
	if err != nil {
		return nil, fmt.Errorf("embedded index: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Close implements index.Index.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var errs []error
	for _, c := range x.open {
		errs = append(errs, c.close())
	}
	clear(x.open)
	return errors.Join(errs...)
}

// Postings returns how often the collections' lists of words were in memory.
func (x *Index) Postings() lexical.CacheStats { return x.cache.Stats() }

func (x *Index) path(name string) (string, error) {
	if !fs.ValidPath(name) || name == "." || filepath.Base(name) != name {
		return "", fmt.Errorf("embedded index: %q cannot name a collection", name)
	}
	return filepath.Join(x.dir, name), nil
}
