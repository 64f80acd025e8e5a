package apikey

import (
	"context"
	"errors"
	"fmt"
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
	rec, key, err := m.make(Wanted{Name: "bootstrap", Tenant: tenant, Subject: BootstrapSubject, Roles: []string{"admin"}})
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
func writeSecret(path, text string) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("apikey: write the first key: %w", err)
	}
	f, err := os.CreateTemp(dir, ".admin-key-*") // created with mode 0600
	if err != nil {
		return fmt.Errorf("apikey: write the first key: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("apikey: write the first key: %w", err), f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return f.Close()
}
