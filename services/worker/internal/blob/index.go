package blob

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/poterne/poterne/services/worker/internal/durable"
)

// scan finds what is in the directory. The index only adds what the files do
// not say themselves: without it they are read again before they are used.
func (c *Cache) scan() error {
	known := make(map[string]*entry)
	// What cannot be read is learnt again.
	if data, err := os.ReadFile(c.path(fileIndex)); err == nil && json.Unmarshal(data, &known) != nil {
		known = nil
	}
	err := each(c.path(dirBlobs), func(name string, info fs.FileInfo) {
		if !isSHA256(name) {
			return
		}
		if e := known[name]; e != nil {
			c.blobs[name] = e
			return
		}
		c.blobs[name] = &entry{Size: info.Size(), LastUse: info.ModTime()}
	})
	if err != nil {
		return err
	}
	err = each(c.path(dirPartials), func(name string, info fs.FileInfo) {
		if sha, ok := strings.CutSuffix(name, suffixPartial); ok && isSHA256(sha) {
			c.partials[sha] = &entry{Size: info.Size(), LastUse: info.ModTime()}
		}
	})
	if err != nil {
		return err
	}
	err = each(c.path(dirPartials), func(name string, _ fs.FileInfo) {
		sha, isJournal := strings.CutSuffix(name, suffixJournal)
		if strings.HasSuffix(name, durable.SuffixNew) || isJournal && c.partials[sha] == nil {
			_ = os.Remove(filepath.Join(c.path(dirPartials), name))
		}
	})
	if err != nil {
		return err
	}
	// No model is there yet: these are an earlier worker's.
	return errors.Join(os.RemoveAll(c.path(dirViews)), os.Mkdir(c.path(dirViews), 0o700))
}

func each(dir string, fn func(name string, info fs.FileInfo)) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range list {
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			fn(d.Name(), info)
		}
	}
	return nil
}

// save writes the index; c.mu is held.
func (c *Cache) save() error {
	data, err := json.Marshal(c.blobs)
	if err != nil {
		return fmt.Errorf("cache index: %w", err)
	}
	return durable.Replace(c.path(fileIndex), data)
}
