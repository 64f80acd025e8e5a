package blob

import (
	"fmt"
	"os"
	"path/filepath"
)

// View is where Link puts the files of a model, by a key of letters and digits.
func (c *Cache) View(key string) string { return filepath.Join(c.path(dirViews), key) }

// Link makes a directory in which the files, by name, are links to those in the
// cache: engines that read folders, or find the parts of a model by their names,
// see what they expect. Names may hold slashes, and must have been checked.
func (c *Cache) Link(key string, files map[string]string) error {
	dir := c.View(key)
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	for name, sha := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
		if err := os.Symlink(c.Path(sha), path); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
	}
	return nil
}

// Unlink removes the directory that Link made.
func (c *Cache) Unlink(key string) error {
	if err := os.RemoveAll(c.View(key)); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	return nil
}
