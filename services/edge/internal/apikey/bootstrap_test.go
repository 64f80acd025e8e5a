package apikey

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/poterne/poterne/pkg/config"
)

func TestBootstrap(t *testing.T) {
	dsn, dir := sqliteDSN(t), t.TempDir()
	path := filepath.Join(dir, "data", "admin.key")
	b := replica(t, dsn, func(c *Config) { c.Pepper = config.Secret(strings.Repeat("p", 32)) })
	created, err := b.Bootstrap(t.Context(), "default", path)
	if err != nil || !created {
		t.Fatalf("%v, %v", created, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := b.Verify(t.Context(), strings.TrimSpace(string(text)))
	if err != nil || rec.Tenant != "default" || rec.Subject != "admin" || rec.Access.Roles[0] != "admin" {
		t.Fatalf("%+v, %v", rec, err)
	}

	// Neither another start nor one after the key was revoked makes another key.
	if _, err := b.Revoke(t.Context(), rec.ID); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.key")
	created, err = replica(t, dsn, nil).Bootstrap(t.Context(), "default", other)
	if err != nil || created {
		t.Fatalf("again: %v, %v", created, err)
	}
	if _, err := os.Stat(other); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("a file was written for a key that does not exist")
	}
}

func TestBootstrapOfTwoReplicas(t *testing.T) {
	dsn, dir := sqliteDSN(t), t.TempDir()
	var wg sync.WaitGroup
	var created atomic.Int32
	for _, name := range []string{"one", "two", "three"} {
		b := replica(t, dsn, nil)
		wg.Go(func() {
			ok, err := b.Bootstrap(t.Context(), "default", filepath.Join(dir, name, "admin.key"))
			if err != nil {
				t.Error(err)
			}
			if ok {
				created.Add(1)
			}
		})
	}
	wg.Wait()
	files, err := filepath.Glob(filepath.Join(dir, "*", "admin.key"))
	if err != nil || len(files) != 1 || created.Load() != 1 {
		t.Fatalf("%d keys, files %v, %v", created.Load(), files, err)
	}
}

func TestBootstrapThatCannotWrite(t *testing.T) {
	b := replica(t, sqliteDSN(t), nil)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if created, err := b.Bootstrap(t.Context(), "default", filepath.Join(file, "admin.key")); created || err == nil {
		t.Fatalf("%v, %v", created, err)
	}
	if rev, err := b.store.Revision(t.Context()); rev != 0 || err != nil {
		t.Fatalf("a key that nobody knows was made: revision %d, %v", rev, err)
	}
}
