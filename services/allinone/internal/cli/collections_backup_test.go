package cli

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// backupGateway gives a backup of one collection, a torn one of another, and
// tells of what is restored.
type backupGateway struct{ restored string }

func (g *backupGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	whole := strings.Repeat("backup ", 100_000)
	sum := sha256.Sum256([]byte(whole))
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/collections/c:backup":
		_, _ = io.WriteString(w, whole+string(sum[:]))
	case "GET /v1/collections/torn:backup":
		_, _ = io.WriteString(w, whole+string(sum[:10]))
	case "POST /v1/collections:restore":
		b, _ := io.ReadAll(r.Body)
		g.restored = string(b)
		_, _ = fmt.Fprintf(w, `{"id":%q,"document_count":3}`, r.URL.Query().Get("collection"))
	default:
		http.NotFound(w, r)
	}
}

func TestBackupIsWrittenWholeOrNotAtAll(t *testing.T) {
	g := new(backupGateway)
	dir := t.TempDir()
	path := filepath.Join(dir, "c.backup")
	if code, _, stderr := run(t, g, "", "collections", "backup", "c", path); code != 0 {
		t.Fatalf("%d, %s", code, stderr)
	}
	code, stdout, stderr := run(t, g, "", "collections", "restore", "copy", path, "-o", "json")
	if code != 0 || !strings.Contains(stdout, `"copy"`) || !strings.HasPrefix(g.restored, "backup ") || len(g.restored) != 700_000+sha256.Size {
		t.Errorf("%d, %s, %s; %d bytes", code, stdout, stderr, len(g.restored))
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"torn", "nowhere"} {
		if code, _, stderr := run(t, g, "", "collections", "backup", name, path); code != 1 || stderr == "" {
			t.Errorf("%s: %d, %s", name, code, stderr)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file was changed, %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are left", len(entries))
	}
	if code, stdout, _ := run(t, g, "", "collections", "backup", "c", "-"); code != 0 || stdout != string(before) {
		t.Errorf("%d, %d bytes", code, len(stdout))
	}
}
