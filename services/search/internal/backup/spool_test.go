package backup_test

import (
	"os"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/backup"
)

// TestSpoolHasNoName checks that what arrives is nowhere to be found, so that
// a process that is killed within a restore leaves nothing behind.
func TestSpoolHasNoName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := backup.NewSpool(dir, 8)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("12345678")); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the directory has %v (%v), want nothing", left, err)
	}
	if _, err := s.Write([]byte("9")); apierr.ReasonOf(err) != apierr.PayloadTooLarge {
		t.Errorf("beyond the limit: %v, want PAYLOAD_TOO_LARGE", err)
	}
	if _, err := s.Open(); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("Open of what is no backup: %v, want INVALID_ARGUMENT", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
