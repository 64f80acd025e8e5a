//go:build real && linux

package search_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

// smallDisk names, in the environment of a process that this test starts, the
// directory that it mounts its disks on.
const smallDisk = "POTERNE_TEST_SMALL_DISK"

// TestRealDiskFull fills the disk of the documents, and that of the index, for
// real: each is a file system of a few megabytes, which a process of its own
// mounts where nobody else sees it.
func TestRealDiskFull(t *testing.T) {
	dir := os.Getenv(smallDisk)
	if dir == "" {
		inOwnMounts(t)
		return
	}
	t.Run("documents", func(t *testing.T) { theDocumentsDiskIsFull(newDisks(t, dir, "documents")) })
	t.Run("index", func(t *testing.T) { theIndexDiskIsFull(newDisks(t, dir, "index")) })
}

// inOwnMounts runs the test again in a process with mounts of its own.
func inOwnMounts(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestRealDiskFull$", "-test.v")
	cmd.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestRealDiskFull/index")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// disks is a service whose documents and index are each on a small disk.
type disks struct {
	*harness

	dir string
}

func newDisks(t *testing.T, dir, name string) disks {
	t.Helper()
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	d := disks{dir: filepath.Join(dir, name)}
	for _, disk := range []string{"documents", "index"} {
		path := filepath.Join(d.dir, disk)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=8m"); err != nil {
			t.Fatal(err)
		}
	}
	d.harness = newHarness(t, quickly, func(c *search.Config) {
		c.Store.DSN = config.SecretURL("sqlite://" + filepath.Join(d.dir, "documents", "truth.db"))
		c.Index.Dir = filepath.Join(d.dir, "index", "of")
		c.Chunking.MaxWords, c.Chunking.OverlapWords = 20, 0
	})
	return d
}

// fill takes all that is left of a disk.
func (d disks) fill(disk string) {
	d.t.Helper()
	f, err := os.Create(d.filler(disk))
	if err != nil {
		d.t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if closed := f.Close(); closed != nil || !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatalf("the disk is not full: %v, %v", err, closed)
	}
}

func (d disks) free(disk string) {
	d.t.Helper()
	if err := os.Remove(d.filler(disk)); err != nil {
		d.t.Fatal(err)
	}
}

func (d disks) filler(disk string) string { return filepath.Join(d.dir, disk, "filler") }

// large is a document that takes room wherever it is kept.
func large(id string) *searchv1.Document {
	var text strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, "word%d%s ", i, id)
	}
	return doc(id, "plan "+text.String())
}

// write writes one document and returns its result, and whether it is found later.
func (d disks) write(ctx context.Context, doc *searchv1.Document) (*searchv1.DocumentResult, bool) {
	d.t.Helper()
	resp, err := d.client.BatchUpsertDocuments(ctx, &searchv1.BatchUpsertDocumentsRequest{Collection: "c", Documents: []*searchv1.Document{doc}})
	if err != nil {
		d.t.Fatalf("%s: %v", doc.GetId(), err)
	}
	return resp.GetResults()[0], len(resp.GetWarnings()) > 0
}

// readsGoOn wants the documents to be there in every way that they can be read.
func (d disks) readsGoOn(ctx context.Context, ids []string) {
	d.t.Helper()
	for _, id := range ids {
		if got, err := d.get(ctx, id); err != nil || got.GetText() != large(id).GetText() {
			d.t.Fatalf("%s: %v", id, err)
		}
	}
	list, err := d.client.ListDocuments(ctx, &searchv1.ListDocumentsRequest{Collection: "c", PageSize: 1000})
	if err != nil || len(list.GetDocuments()) != len(ids) {
		d.t.Fatalf("%d documents are listed, want %d: %v", len(list.GetDocuments()), len(ids), err)
	}
	if c, err := d.client.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: "c"}); err != nil || int(c.GetCollection().GetDocumentCount()) != len(ids) {
		d.t.Fatalf("%v, %v", c, err)
	}
}

// found wants exactly the documents to be found, by words and by meaning.
func (d disks) found(ctx context.Context, ids []string) {
	d.t.Helper()
	for _, id := range ids {
		if got := chunkIDs(d.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "word7" + id, Mode: "lexical"})); !strings.HasPrefix(got, id+"#") {
			d.t.Fatalf("%s is not found by words: %q", id, got)
		}
	}
	resp := d.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "plan", Mode: "vector", TopK: 1, Facets: []*searchv1.FacetRequest{{Field: "none"}}})
	if n := resp.GetFacets()[0].GetMissingCount(); int(n) != len(ids) || len(resp.GetHits()) != 1 {
		d.t.Fatalf("by meaning %d documents can be found, want %d", n, len(ids))
	}
}

func theDocumentsDiskIsFull(d disks) {
	ctx := d.as("ada")
	d.create(ctx, "c")
	var kept []string
	keep := func(id string) {
		if r, _ := d.write(ctx, large(id)); r.GetStatus() != "created" {
			d.t.Fatalf("%s: %v", id, r)
		}
		kept = append(kept, id)
	}
	keep("before")
	d.fill("documents")
	var refused *searchv1.DocumentResult
	for i := 0; refused == nil; i++ { // there may be room left within the files
		id := fmt.Sprint("then", i)
		switch r, _ := d.write(ctx, large(id)); {
		case r.GetStatus() == "created" && i < 100:
			kept = append(kept, id)
		default:
			refused = r
		}
	}
	if e := refused.GetError(); e.GetCode() != string(apierr.Unavailable) || !strings.Contains(e.GetMessage(), "disk") || strings.Contains(e.GetMessage(), d.dir) {
		d.t.Errorf("the refusal is %v", refused)
	}
	_, err := d.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: strings.Repeat("x", 60), DisplayName: strings.Repeat("x", 256)})
	if err != nil {
		d.wantReason(err, apierr.Unavailable, "")
	}
	d.readsGoOn(ctx, kept)
	d.found(ctx, kept)
	if !d.service.Readiness().Report().Ready {
		d.t.Errorf("not ready: %+v", d.service.Readiness().Report())
	}
	d.stop()
	d.start() // also a start needs no room
	d.readsGoOn(ctx, kept)
	d.found(ctx, kept)
	d.free("documents")
	keep("after")
	d.readsGoOn(ctx, kept)
	d.found(ctx, kept)
}

func theIndexDiskIsFull(d disks) {
	ctx := d.as("ada")
	d.create(ctx, "c")
	kept := []string{"before"}
	if r, _ := d.write(ctx, large("before")); r.GetStatus() != "created" {
		d.t.Fatal(r)
	}
	d.found(ctx, kept)
	d.fill("index")
	for i := range 3 {
		r, later := d.write(ctx, large(fmt.Sprint("then", i)))
		if r.GetStatus() != "created" || !later {
			d.t.Fatalf("what is kept needs no index, and is found later (%v): %v", later, r)
		}
		kept = append(kept, r.GetId())
	}
	d.readsGoOn(ctx, kept)
	d.found(ctx, kept[:1]) // searches go on with what the index had
	d.free("index")
	deadline := time.After(20 * time.Second)
	for {
		resp, err := d.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "plan", Mode: "vector", Facets: []*searchv1.FacetRequest{{Field: "none"}}})
		if err == nil && int(resp.GetFacets()[0].GetMissingCount()) == len(kept) {
			break
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			d.t.Fatalf("with room again the index has not followed: %v, %v", resp, err)
		}
	}
	d.found(ctx, kept)
	d.stop()
	d.start()
	d.found(ctx, kept)
}
