package content_test

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/registry/internal/content"
)

func directory(t *testing.T, free int64) (*content.Directory, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "artifacts")
	return content.NewDirectory(dir, 100, func(string) (int64, error) { return free, nil }), dir
}

func TestDirectory(t *testing.T) {
	s, dir := directory(t, 1<<40)
	suite(t, s)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s is left", path)
		}
		return err
	})
	check(t, err)
}

// Nothing is seen at the place of an artifact before it is whole, and a file of
// another size never gets there.
func TestTornFileIsNotFinished(t *testing.T) {
	s, dir := directory(t, 1<<40)
	_, err := s.Begin(t.Context(), "a")
	check(t, err)
	u := content.Upload{ID: "a", SHA256: sum, Size: 10}
	w, err := s.Open(t.Context(), u)
	check(t, err)
	_, err = w.Put(t.Context(), content.Part{Attempt: 1, Size: 4}, bytes.NewReader([]byte("1234")))
	check(t, err)
	if _, err := s.Open(t.Context(), u); apierr.ReasonOf(err) != apierr.Conflict {
		t.Errorf("a second writer: %v", err)
	}
	check(t, w.Close())
	if _, err := s.Finish(t.Context(), u, nil); err == nil {
		t.Error("4 bytes of 10 were finished")
	}
	found, err := filepath.Glob(filepath.Join(dir, "sha256", "*", "*"))
	check(t, err)
	if len(found) > 0 {
		t.Errorf("visible: %v", found)
	}
}

func TestFullDiskIsToldBefore(t *testing.T) {
	s, _ := directory(t, 1000)
	check(t, s.Room(t.Context(), 900))
	err := s.Room(t.Context(), 901)
	if apierr.ReasonOf(err) != apierr.StorageFull || !strings.Contains(err.Error(), "1000 are free") {
		t.Errorf("got %v", err)
	}
}
