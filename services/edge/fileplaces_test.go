package edge_test

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge"
)

// pieces counts what lies below dir, but for the directory's own mark.
func pieces(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), ".poterne") {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A batch is read from files in a directory and its results are written there; what is
// deleted leaves nothing.
func TestFilesInADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "files")
	g := open(t, func(c *edge.Config) { c.Files.Contents, c.Files.Directory = "directory", dir })
	mine, _ := g.batchKey("acme", "ada", "")
	id := g.batched(chatLine("1", "Hi"), mine...)
	b := g.ended(id, mine...)
	if b.at("status") != "completed" {
		t.Fatalf("%s", b.text)
	}
	if n := pieces(t, dir); n != 2 {
		t.Errorf("%d pieces of two files", n)
	}
	for _, member := range []string{"input_file_id", "output_file_id"} {
		path := "/v1/files/" + text(b.at(member))
		if a := g.do("GET", path+"/content", "", mine...); a.status != http.StatusOK || !strings.Contains(a.text, `"custom_id":"1"`) {
			t.Errorf("%s: HTTP %d: %s", member, a.status, a.text)
		}
		if a := g.do("DELETE", path, "", mine...); a.status != http.StatusOK {
			t.Errorf("%s: HTTP %d: %s", member, a.status, a.text)
		}
	}
	if n := pieces(t, dir); n != 0 {
		t.Errorf("%d pieces are left", n)
	}
	// One that is given up leaves nothing, either.
	if a := g.uploaded("empty.jsonl", "", mine...); a.status != http.StatusBadRequest {
		t.Errorf("HTTP %d: %s", a.status, a.text)
	}
	if n := pieces(t, dir); n != 0 {
		t.Errorf("%d pieces of a file that was refused", n)
	}
}

func TestPlacesOfFilesAreChecked(t *testing.T) {
	for field, change := range map[string]func(*edge.Config){
		"files.contents":                 func(c *edge.Config) { c.Files.Contents = "tape" },
		"files.directory":                func(c *edge.Config) { c.Files.Contents = "directory" },
		"files.bucket.name":              func(c *edge.Config) { c.Files.Contents = "bucket" },
		"files.bucket.endpoint":          func(c *edge.Config) { c.Files.Bucket.Name, c.Files.Bucket.Endpoint = "b", "ftp://x" },
		"files.bucket.access_key_id":     func(c *edge.Config) { c.Files.Bucket.Name = "b" },
		"files.bucket.secret_access_key": func(c *edge.Config) { c.Files.Bucket.Name = "b" },
	} {
		c := edge.DefaultConfig()
		change(c)
		if err := c.Complete(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestABucketNeedsAClient(t *testing.T) {
	c := edge.DefaultConfig()
	c.DataDir = t.TempDir()
	c.Files.Contents, c.Files.Bucket.Name, c.Files.Bucket.AccessKeyID, c.Files.Bucket.SecretAccessKey = "bucket", "b", "id", "secret"
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	if _, err := edge.New(t.Context(), *c, edge.WithTelemetry(telemetry.Discard())); err == nil || !strings.Contains(err.Error(), "files.bucket") {
		t.Errorf("without a client: %v", err)
	}
}
