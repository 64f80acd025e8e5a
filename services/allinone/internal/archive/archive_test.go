package archive_test

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/allinone/internal/archive"
)

func written(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.zip")
	sum := sha256.Sum256([]byte("weights"))
	err := archive.Write(path, time.Unix(1, 0), 7, func(w *archive.Writer) error {
		return errors.Join(
			w.Lines(strings.NewReader("{}\n{}\n")),
			w.Artifact(hex.EncodeToString(sum[:]), strings.NewReader("weights")),
			w.Artifact(hex.EncodeToString(sum[:]), strings.NewReader("weights")))
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWrittenIsRead(t *testing.T) {
	r, err := archive.Open(written(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	lines, err := r.Lines()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(lines)
	if err = errors.Join(err, lines.Close()); err != nil || string(raw) != "{}\n{}\n" || r.Manifest.Revision != 7 {
		t.Errorf("got %s, %v, revision %d", raw, err, r.Manifest.Revision)
	}
	places, err := r.Extract(t.TempDir())
	if err != nil || len(places) != 1 {
		t.Fatalf("got %v, %v", places, err)
	}
	for _, place := range places {
		if raw, err := os.ReadFile(place); err != nil || string(raw) != "weights" {
			t.Errorf("got %q, %v", raw, err)
		}
	}
}

func TestAFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	err := archive.Write(filepath.Join(dir, "a.zip"), time.Unix(1, 0), 7, func(w *archive.Writer) error {
		return w.Artifact(strings.Repeat("0", 64), strings.NewReader("another"))
	})
	entries, _ := os.ReadDir(dir)
	if err == nil || len(entries) != 0 {
		t.Errorf("got %v, and %v stayed", err, entries)
	}
}

// Whatever is changed of an archive, it is refused.
func TestDamagedIsRefused(t *testing.T) {
	for name, change := range map[string]func(name, content string) (string, string, bool){
		"content": func(n, c string) (string, string, bool) { return n, strings.Replace(c, "{}\n{}", "{}\n[]", 1), true },
		"missing": func(n, c string) (string, string, bool) { return n, c, n != "registry.ndjson" },
		"renamed": func(n, c string) (string, string, bool) {
			return strings.Replace(n, "registry", "models/c", 1), c, true
		},
		"format": func(n, c string) (string, string, bool) {
			return n, strings.Replace(c, "archive/2", "archive/9", 1), true
		},
		"manifest": func(n, c string) (string, string, bool) { return n, c, n != "manifest.json" },
	} {
		t.Run(name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "b.zip")
			rewrite(t, written(t), to, change)
			if r, err := archive.Open(to); err == nil {
				_ = r.Close()
				t.Error("it was taken")
			}
		})
	}
	bad := filepath.Join(t.TempDir(), "c.zip")
	if err := os.WriteFile(bad, []byte("PK rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Open(bad); !errors.Is(err, archive.ErrDamaged) {
		t.Errorf("rubbish: %v", err)
	}
}

func rewrite(t *testing.T, from, to string, change func(name, content string) (string, string, bool)) {
	t.Helper()
	in, err := zip.OpenReader(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	out := zip.NewWriter(f)
	for _, entry := range in.File {
		r, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name, content, keep := change(entry.Name, string(raw))
		if !keep {
			continue
		}
		w, err := out.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
