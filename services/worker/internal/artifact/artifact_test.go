package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLocate(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "a b"), "weights")
	write(t, filepath.Join(other, "x"), "weights")
	if err := os.Symlink(filepath.Join(other, "x"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	s, err := NewStore([]string{dir}, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		uri    string
		size   int64
		reason apierr.Reason
	}{
		{"file://" + dir + "/a%20b", 7, ""},
		{"file://" + dir + "/a%20b", 0, ""},
		{"file://" + dir + "/a%20b", 8, apierr.FailedPrecondition},
		{"file://" + dir + "/none", 0, apierr.FailedPrecondition},
		{"file://" + dir, 0, apierr.FailedPrecondition},
		{"file://" + other + "/x", 0, apierr.FailedPrecondition},
		{"file://" + dir + "/link", 0, apierr.FailedPrecondition},
		{"file://" + dir + "/../" + filepath.Base(other) + "/x", 0, apierr.FailedPrecondition},
		{"https://example.test/x", 0, apierr.InvalidArgument},
		{"file://host/x", 0, apierr.InvalidArgument},
		{"a b", 0, apierr.InvalidArgument},
	}
	for _, tt := range tests {
		_, err := s.Locate(&commonv1.Artifact{Uri: tt.uri, SizeBytes: tt.size}, 0)
		if got := apierr.ReasonOf(err); got != tt.reason {
			t.Errorf("%s (%d bytes): got %v", tt.uri, tt.size, err)
		}
	}
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	file, cache := filepath.Join(dir, "w"), filepath.Join(dir, "cache.json")
	write(t, file, "weights")
	changed := time.Unix(1_700_000_000, 0)
	if err := os.Chtimes(file, changed, changed); err != nil {
		t.Fatal(err)
	}
	store := func() *Store {
		s, err := NewStore(nil, cache, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if err := store().Verify(t.Context(), file, sum("weights")); err != nil {
		t.Fatal(err)
	}
	err := store().Verify(t.Context(), file, sum("other"))
	if apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), sum("other")) || !strings.Contains(err.Error(), file) {
		t.Fatalf("a wrong hash: %v", err)
	}
	if strings.Contains(err.Error(), sum("weights")) {
		t.Fatalf("the file's own hash is told: %v", err)
	}
	// Same size and time: the file is not read again, also after a restart.
	write(t, file, "w31ghts")
	if err := os.Chtimes(file, changed, changed); err != nil {
		t.Fatal(err)
	}
	if err := store().Verify(t.Context(), file, sum("weights")); err != nil {
		t.Fatalf("the file was read again: %v", err)
	}
	// Another time: it is.
	if err := os.Chtimes(file, changed, changed.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := store().Verify(t.Context(), file, sum("weights")); err == nil {
		t.Fatal("a changed file was taken for the old one")
	}
	write(t, cache, "not json")
	if err := store().Verify(t.Context(), file, sum("w31ghts")); err != nil {
		t.Fatalf("with a broken cache: %v", err)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "w")
	write(t, file, "weights")
	s, err := NewStore(nil, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Verify(ctx, file, sum("weights")); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// A disk that is full keeps nobody from starting a model that is there.
func TestACacheThatCannotBeWrittenIsNoFailure(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.gguf")
	write(t, path, "weights")
	s, err := NewStore(nil, filepath.Join(dir, "missing", "artifacts.json"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Verify(t.Context(), path, sum("weights")); err != nil {
			t.Error(err)
		}
	}
	if err := s.Verify(t.Context(), path, sum("others")); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("another hash: %v", err)
	}
}
