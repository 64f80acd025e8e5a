package apikey

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// BootstrapSubject is who holds the first key.
const BootstrapSubject = "admin"

// Bootstrap makes the first key, an administrator's of the given tenant, when
// the store has never had one, and writes its text to path, readable by its
// owner only. It reports whether it did. When several replicas start on one
// store, exactly one does. The file is there before the key holds: a crash
// between the two leaves a file that the next start replaces, never a key that
// nobody can use.
func (m *Manager) Bootstrap(ctx context.Context, tenant, path string) (bool, error) {
	rec, key, err := m.make(Wanted{Creator: BootstrapSubject, Name: "bootstrap", Tenant: tenant, Subject: BootstrapSubject, Roles: []string{"admin"}})
	if err != nil {
		return false, err
	}
	written := false
	created, err := m.store.CreateFirst(ctx, rec, func() error {
		written = true
		return writeSecret(path, key.Reveal()+"\n")
	})
	if err != nil && written {
		err = errors.Join(err, os.Remove(path))
	}
	return created, err
}

// writeSecret replaces the file at path in one step.
func writeSecret(path, text string) error {
	return placeSecret(path, text, os.Rename)
}

// addSecret makes the file at path in one step, and reports whether it did: one
// that is there stays.
func addSecret(path, text string) (bool, error) {
	err := placeSecret(path, text, os.Link)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// placeSecret writes text to a file that only its owner reads, and has place put it
// at path.
func placeSecret(path, text string, place func(from, to string) error) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("apikey: write %s: %w", filepath.Base(path), err)
	}
	f, err := os.CreateTemp(dir, ".secret-*") // created with mode 0600
	if err != nil {
		return fmt.Errorf("apikey: write %s: %w", filepath.Base(path), err)
	}
	defer func() {
		closed, removed := f.Close(), os.Remove(f.Name())
		if errors.Is(removed, fs.ErrNotExist) {
			removed = nil // it was moved
		}
		if err = errors.Join(err, closed, removed); err != nil {
			err = fmt.Errorf("apikey: write %s: %w", filepath.Base(path), err)
		}
	}()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return place(f.Name(), path)
}
