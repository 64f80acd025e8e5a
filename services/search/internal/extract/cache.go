package extract

import (
	"os"
	"path/filepath"
	"sync"
)

// sandboxCache finds a directory in which the compiled sandbox of PDFs can be kept.
type sandboxCache struct {
	wanted string

	mu   sync.Mutex
	path string // found; empty: not looked for yet, or there is none
	made bool   // it is ours, and goes with us
}

// dir returns the directory that was asked for, else one in the user's cache, else
// a temporary one that lasts as long as this process; empty when none can be
// written. It is this user's alone: whoever writes there decides what is run.
func (c *sandboxCache) dir() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.path != "" {
		return c.path
	}
	candidates := []string{c.wanted}
	if user, err := os.UserCacheDir(); err == nil {
		candidates = append(candidates, filepath.Join(user, "poterne", "pdf"))
	}
	for _, dir := range candidates {
		if dir != "" && writable(dir) {
			c.path = dir
			return dir
		}
	}
	if dir, err := os.MkdirTemp("", "poterne-pdf-"); err == nil {
		c.path, c.made = dir, true
	}
	return c.path
}

// writable makes the directory if need be, and tries.
func writable(dir string) bool {
	if os.MkdirAll(dir, 0o700) != nil {
		return false
	}
	f, err := os.CreateTemp(dir, "try-")
	if err != nil {
		return false
	}
	err = f.Close()
	return os.Remove(f.Name()) == nil && err == nil
}

// close removes what was made for this process.
func (c *sandboxCache) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.made {
		return nil
	}
	dir := c.path
	c.path, c.made = "", false
	return os.RemoveAll(dir)
}
